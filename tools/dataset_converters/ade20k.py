"""Convert ADE20K as downloaded to the panoptic set that configs/_base_/datasets expects.

ROOT is ADEChallengeData2016, with annotations_instance beside annotations. Written are
ade20k_panoptic_{train,val}/ and ade20k_panoptic_{train,val}.json. Things are pasted over stuff.
With --instances, ade20k_instance_{train,val}.json for instance segmentation.
The command can be stopped at any time: called again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmcomformer.dataset_converters.report import Report


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', metavar='ROOT', help='for example data/ADEChallengeData2016')
    parser.add_argument('--out', help='where to write, if not to ROOT')
    parser.add_argument(
        '--shifted-semantic',
        action='store_true',
        help='also write annotations_sem/, labels 0 to 149 and 255 for other. Semantic configs '
        'with reduce_zero_label=True, as those of mmseg and mmdet, do without: they read '
        'annotations/ as downloaded, 1 to 150 and 0 for other',
    )
    parser.add_argument(
        '--instances',
        action='store_true',
        help='write ade20k_instance_{train,val}.json instead, the things for instance segmentation',
    )
    parser.add_argument('--check', action='store_true', help='only check what was written')
    parser.add_argument('--workers', type=int, help='number of processes (default: all cores)')
    parser.add_argument(
        '--skip-faulty', action='store_true', help='leave out images with faults, and go on'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace files that no converter wrote, too'
    )
    parser.add_argument('--debug', action='store_true', help='show where an error was raised')
    args = parser.parse_args()
    if args.instances and (args.check or args.shifted_semantic):
        parser.error('--instances goes without --check and --shifted-semantic')
    return args


def convert_instances(args: argparse.Namespace) -> list[Report]:
    """Write the JSON files for instance segmentation."""
    from mmcomformer.dataset_converters.ade20k_instances import convert_ade20k_instances

    return convert_ade20k_instances(
        args.root,
        out=args.out,
        workers=args.workers,
        skip_faulty=args.skip_faulty,
        overwrite=args.overwrite,
    )


def main() -> None:
    """Run the command."""
    args = parse_args()
    # a wrong command line is reported before the libraries are loaded
    from mmcomformer.dataset_converters.ade20k import convert_ade20k
    from mmcomformer.dataset_converters.report import summary
    from mmcomformer.engine.cli import command_errors

    with command_errors(debug=args.debug):
        reports = (
            convert_instances(args)
            if args.instances
            else convert_ade20k(
                args.root,
                out=args.out,
                shifted_semantic=args.shifted_semantic,
                check=args.check,
                workers=args.workers,
                skip_faulty=args.skip_faulty,
                overwrite=args.overwrite,
            )
        )
    print(summary(reports))
    sys.exit(0 if all(report.usable for report in reports) else 1)


if __name__ == '__main__':
    main()
