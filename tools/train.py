"""Train the steps of a scenario: all of them, or the one that --step or STEP names."""

from __future__ import annotations

import argparse
import os


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Train and evaluate the steps of a continual scenario, all of them by default.'
    )
    parser.add_argument('config', help='path of the config, or its name')
    parser.add_argument('--step', type=int, help='run this step only (as STEP=... does)')
    parser.add_argument('--work-dir', help='folder for the folders step0, step1, ... of the run')
    parser.add_argument(
        '--resume',
        action='store_true',
        help='skip finished steps and continue the unfinished one from its last checkpoint',
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='train steps anew that were begun in this folder, and remove their checkpoints',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument(
        '--teacher',
        metavar='CKPT',
        help='checkpoint to start from, of the step before the first one that runs; without '
        '--step, all steps after the checkpoint run',
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='launcher'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        default=[],
        help='settings that override the config, such as train_dataloader.batch_size=4',
    )
    parser.add_argument(
        '--verbose',
        action='store_true',
        help='print all that the log file holds: environment, config, hooks, every loss',
    )
    parser.add_argument('--debug', action='store_true', help='show where an error was raised')
    # torch.distributed.launch passes one spelling or the other
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    # a wrong command line is reported before the libraries are loaded
    from mmcomformer.engine.cli import command_errors, parse_options
    from mmcomformer.engine.driver import run
    from mmcomformer.engine.request import Request

    with command_errors(debug=args.debug):
        run(
            Request(
                config=args.config,
                step=args.step,
                work_dir=args.work_dir,
                resume=args.resume,
                overwrite=args.overwrite,
                amp=args.amp,
                teacher=args.teacher,
                launcher=args.launcher,
                cfg_options=parse_options(args.cfg_options),
                verbose=args.verbose,
            )
        )


if __name__ == '__main__':
    main()
