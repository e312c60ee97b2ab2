"""Check COCO's panoptic annotations of 2017, after unpacking their PNGs where need be.

ROOT holds train2017, val2017 and annotations. The annotations are used as they are: nothing is
corrected, and every fault is reported. The command can be stopped at any time.
"""

from __future__ import annotations

import argparse
import sys


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', metavar='ROOT', help='for example data/coco')
    parser.add_argument(
        '--splits',
        nargs='+',
        default=['train2017', 'val2017'],
        help='which ones (default: train2017 val2017)',
    )
    parser.add_argument(
        '--check', action='store_true', help='unpack nothing; a zip file is checked where it is'
    )
    parser.add_argument('--workers', type=int, help='number of processes (default: all cores)')
    parser.add_argument(
        '--overwrite', action='store_true', help='replace files that no converter wrote, too'
    )
    parser.add_argument('--debug', action='store_true', help='show where an error was raised')
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = parse_args()
    # a wrong command line is reported before the libraries are loaded
    from mmcomformer.dataset_converters.coco_panoptic import convert_coco_panoptic
    from mmcomformer.dataset_converters.report import summary
    from mmcomformer.engine.cli import command_errors

    with command_errors(debug=args.debug):
        reports = convert_coco_panoptic(
            args.root,
            splits=args.splits,
            check=args.check,
            workers=args.workers,
            overwrite=args.overwrite,
        )
    print(summary(reports))
    sys.exit(0 if all(report.usable for report in reports) else 1)


if __name__ == '__main__':
    main()
