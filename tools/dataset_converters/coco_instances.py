"""Convert instance annotations in COCO's style, and maps of stuff, to a panoptic set.

Written are OUT, a JSON file NAME.json, and the folder NAME/ with a PNG per image. Instances are
pasted over stuff; crowds stay crowds; masks without a pixel are left out and counted. The command
can be stopped at any time: called again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('annotations', metavar='ANNOTATIONS', help='JSON file with the instances')
    parser.add_argument('images', metavar='IMAGES', help='folder of the images')
    parser.add_argument('out', metavar='OUT', help='JSON file to write, NAME.json')
    parser.add_argument(
        '--stuff',
        metavar='FOLDER',
        help='a PNG per image, of the same name, whose pixels are ids of stuff categories; 0 and '
        '255 are no label unless they are listed',
    )
    parser.add_argument(
        '--stuff-categories',
        metavar='FILE',
        help='JSON file, a list of {"id": 1, "name": "sky"}; ids that things have too are raised '
        'above those of the things in OUT',
    )
    parser.add_argument(
        '--overlap',
        choices=['larger-first', 'later', 'error'],
        default='larger-first',
        help='what happens where instances overlap: the larger ones are pasted first, so that the '
        "smaller one covers; the later one in the file covers; or an error, as in COCO's converter "
        '(default: %(default)s)',
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
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = parse_args()
    # a wrong command line is reported before the libraries are loaded
    from mmcomformer.dataset_converters.coco_instances import (
        CocoInstancesSources,
        convert_coco_instances,
    )
    from mmcomformer.dataset_converters.report import summary
    from mmcomformer.engine.cli import command_errors

    with command_errors(debug=args.debug):
        sources = CocoInstancesSources(
            annotations=Path(args.annotations),
            images=Path(args.images),
            stuff=Path(args.stuff) if args.stuff else None,
            stuff_categories=Path(args.stuff_categories) if args.stuff_categories else None,
        )
        reports = convert_coco_instances(
            sources,
            args.out,
            overlap=args.overlap,
            check=args.check,
            workers=args.workers,
            skip_faulty=args.skip_faulty,
            overwrite=args.overwrite,
        )
    print(summary(reports))
    sys.exit(0 if all(report.usable for report in reports) else 1)


if __name__ == '__main__':
    main()
