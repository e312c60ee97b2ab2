"""Convert Pascal VOC 2012, and SBD's labels, to semantic PNGs of one channel.

ROOT is VOC2012. Written is SegmentationClassAug/: labels from 0 (background) to 20, 255 ignored;
with --sbd also ImageSets/Segmentation/trainaug.txt, the usual augmented training list, and aug.txt,
what SBD alone labels. The command can be stopped at any time: called again, it goes on.
"""

from __future__ import annotations

import argparse
import sys


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', metavar='ROOT', help='for example data/VOCdevkit/VOC2012')
    parser.add_argument('--sbd', help='folder benchmark_RELEASE/dataset of SBD')
    parser.add_argument('--out', help='where to write, if not to ROOT')
    parser.add_argument('--check', action='store_true', help='only check what was written')
    parser.add_argument('--workers', type=int, help='number of processes (default: all cores)')
    parser.add_argument(
        '--skip-faulty', action='store_true', help='leave out images with faults, and go on'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace files that no converter wrote, too'
    )
    parser.add_argument('--debug', action='store_true', help='show where an error was raised')
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = parse_args()
    # a wrong command line is reported before the libraries are loaded
    from mmcomformer.dataset_converters.report import summary
    from mmcomformer.dataset_converters.voc import convert_voc
    from mmcomformer.engine.cli import command_errors

    with command_errors(debug=args.debug):
        reports = convert_voc(
            args.root,
            sbd=args.sbd,
            out=args.out,
            check=args.check,
            workers=args.workers,
            skip_faulty=args.skip_faulty,
            overwrite=args.overwrite,
        )
    print(summary(reports))
    sys.exit(0 if all(report.usable for report in reports) else 1)


if __name__ == '__main__':
    main()
