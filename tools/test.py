"""Evaluate a checkpoint over base, new and all classes seen by then.

A panoptic config gives PQ, SQ and RQ, a semantic one mIoU and mAcc, one of instances AP, AP50 and
AP75. --sweep compares values of a setting that needs no training, such as ECLIPSE's deltas or a
threshold.
"""

from __future__ import annotations

import argparse
import os


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='path of the config, or its name')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument(
        '--step', type=int, help='the step of the checkpoint; read from it by default'
    )
    parser.add_argument('--work-dir', help='folder for the log (default: that of the config)')
    parser.add_argument('--show-dir', help='write pictures of the predictions into this folder')
    parser.add_argument(
        '--out',
        metavar='DIR',
        help="write the predictions: panoptic ones as COCO's panoptic.json and PNGs of ids, "
        "semantic ones as label maps with the values of the dataset's own, instances as COCO's "
        'results, instances.json',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace files that this tool did not write'
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help="average over the variants of each image that the config's tta_pipeline makes, such "
        'as flipped and of several sizes (semantic configs)',
    )
    parser.add_argument(
        '--sweep',
        metavar='NAME=VALUE,VALUE,...',
        help='evaluate with each of several values of a setting of inference, such as '
        'deltas=0.2,0.4 or object_mask_thr=0,0.5, and say which is best; the network runs once',
    )
    parser.add_argument(
        '--sweep-on',
        choices=['test', 'val', 'train'],
        help='images of --sweep: those of the config for test or val, or those that '
        'train_dataloader.dataset.held_out kept from training (default: test)',
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='launcher'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        default=[],
        help='settings that override the config',
    )
    parser.add_argument(
        '--verbose',
        action='store_true',
        help='print all that the log file holds: environment, config, hooks, every loss',
    )
    parser.add_argument('--debug', action='store_true', help='show where an error was raised')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.sweep and (args.show_dir or args.out or args.tta):
        parser.error('--sweep: leave out --show-dir, --out and --tta; evaluate with the best value')
    if args.sweep_on and not args.sweep:
        parser.error('--sweep-on: it says the images of --sweep, which is missing')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    from mmcomformer.engine.cli import command_errors, parse_options
    from mmcomformer.engine.evaluate import evaluate
    from mmcomformer.engine.request import Request
    from mmcomformer.engine.sweep import sweep

    with command_errors(debug=args.debug):
        request = Request(
            config=args.config,
            step=args.step,
            work_dir=args.work_dir,
            launcher=args.launcher,
            cfg_options=parse_options(args.cfg_options),
            verbose=args.verbose,
        )
        if args.sweep:
            sweep(request, args.checkpoint, args.sweep, images=args.sweep_on or 'test')
            return
        evaluate(
            request,
            args.checkpoint,
            show_dir=args.show_dir,
            out=args.out,
            overwrite=args.overwrite,
            tta=args.tta,
        )


if __name__ == '__main__':
    main()
