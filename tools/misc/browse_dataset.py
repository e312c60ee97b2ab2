"""Draw what the model sees at a step: images after the pipeline, and the labels that it gets.

Pixels without a label are hatched. With a checkpoint of the step before, its pseudo-labels too.
"""

from __future__ import annotations

import argparse


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='path of the config, or its name')
    parser.add_argument('--step', type=int, help='the step (default: STEP, or 0)')
    parser.add_argument('--out-dir', help='write PNG files here; without it, show a window')
    parser.add_argument(
        '--overwrite', action='store_true', help='replace pictures that this tool did not write'
    )
    parser.add_argument('--num', type=int, default=20, help='number of pictures (default: 20)')
    parser.add_argument(
        '--memory', action='store_true', help='draw the images from memory only (replay)'
    )
    parser.add_argument('--checkpoint', help='checkpoint of the step before, for pseudo-labels')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        default=[],
        help='settings that override the config',
    )
    parser.add_argument('--debug', action='store_true', help='show where an error was raised')
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = parse_args()
    from mmcomformer.engine.cli import command_errors, parse_options
    from mmcomformer.engine.request import requested_step
    from mmcomformer.pictures.browsing import Browse, show_pictures, write_pictures

    with command_errors(debug=args.debug):
        request = Browse(
            config=args.config,
            step=requested_step(args.step) or 0,
            num=args.num,
            memory=args.memory,
            checkpoint=args.checkpoint,
            cfg_options=parse_options(args.cfg_options),
        )
        if args.out_dir is None:
            show_pictures(request)
            return
        paths = write_pictures(request, args.out_dir, overwrite=args.overwrite)
    print(f'{len(paths)} pictures in {args.out_dir}')


if __name__ == '__main__':
    main()
