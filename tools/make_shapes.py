"""Generate Shapes, the embedded benchmark: a small panoptic dataset with label maps."""

from __future__ import annotations

import argparse

from mmcomformer.datasets.parallel import Progress
from mmcomformer.datasets.shapes import ShapesParameters, generate_shapes
from mmcomformer.engine.cli import command_errors


def parse_args() -> argparse.Namespace:
    """Return the command line's arguments."""
    defaults = ShapesParameters()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--out', default='data/shapes', help='folder to create')
    parser.add_argument('--train', type=int, default=defaults.num_train, help='training images')
    parser.add_argument('--val', type=int, default=defaults.num_val, help='validation images')
    parser.add_argument('--classes', type=int, default=defaults.num_classes, help='classes')
    parser.add_argument('--size', type=int, default=defaults.size, help='height and width, pixels')
    parser.add_argument('--seed', type=int, default=defaults.seed, help='seed')
    parser.add_argument(
        '--overwrite', action='store_true', help='replace a set with other parameters'
    )
    parser.add_argument('--debug', action='store_true', help='show where an error was raised')
    return parser.parse_args()


def main() -> None:
    """Generate the set, or find that it is there."""
    args = parse_args()
    with command_errors(debug=args.debug):
        parameters = ShapesParameters(
            num_train=args.train,
            num_val=args.val,
            num_classes=args.classes,
            size=args.size,
            seed=args.seed,
        )
        written = generate_shapes(
            args.out,
            parameters,
            overwrite=args.overwrite,
            on_image=Progress('images', args.train + args.val).update,
        )
    print(f'{args.out}: written' if written else f'{args.out}: already there')


if __name__ == '__main__':
    main()
