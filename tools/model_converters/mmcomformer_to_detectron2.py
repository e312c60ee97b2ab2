"""Convert a checkpoint of this package to one that the detectron2 programs load.

What detectron2_to_mmcomformer.py converted comes back bit for bit.
"""

from __future__ import annotations

import argparse


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', metavar='SRC', help='checkpoint of a training, or a converted one')
    parser.add_argument('dst', metavar='DST', help='where to write the .pth')
    parser.add_argument(
        '--classifier',
        choices=['incremental', 'single', 'growing'],
        help="one layer per step and one for no-object (CoMFormer's), one for all classes "
        "(Mask2Former's), or one per step, the first with no-object (BalConpas's); by default as "
        'in the file that SRC was converted from, else incremental',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace a DST that no converter wrote'
    )
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = parse_args()
    # a wrong command line is reported before the libraries are loaded
    from mmcomformer.engine.cli import command_errors
    from mmcomformer.model_converters import convert_to_detectron2

    with command_errors():
        count = convert_to_detectron2(
            args.src, args.dst, classifier=args.classifier, overwrite=args.overwrite
        )
    print(f'{args.dst}: {count} tensors')


if __name__ == '__main__':
    main()
