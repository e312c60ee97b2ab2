"""Convert a detectron2 checkpoint (CoMFormer, Mask2Former, ECLIPSE, BalConpas) to ours.

The result can be evaluated, and can be the teacher of the next step:
tools/train.py CONFIG --step N+1 --teacher DST. Every tensor is checked against the config's model;
DST is written only if all of them fit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

CONFIG = Path(__file__).parents[2] / 'configs' / 'comformer_ade_100-50.py'


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', metavar='SRC', help='.pth, or .pkl of a model zoo')
    parser.add_argument('dst', metavar='DST', help='where to write the checkpoint')
    parser.add_argument(
        '--config',
        default=str(CONFIG),
        help='config with the model and the scenario of the checkpoint (default: %(default)s); it '
        'also says whether masks are softmax or sigmoid',
    )
    parser.add_argument(
        '--step', type=int, help='step of the checkpoint; found by its classifier by default'
    )
    parser.add_argument(
        '--allow',
        nargs='+',
        default=[],
        metavar='NAME',
        help='detectron2 names (or patterns with *) of tensors that may be dropped, or missing: '
        'these keep the values of a new model',
    )
    parser.add_argument(
        '--input-format',
        choices=['RGB', 'BGR'],
        default='RGB',
        help="INPUT.FORMAT of the checkpoint's training (default: RGB); the first convolution is "
        "flipped if the config's images are of the other order",
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
    from mmcomformer.engine.request import requested_step
    from mmcomformer.model_converters import convert_from_detectron2

    with command_errors():
        done = convert_from_detectron2(
            args.src,
            args.dst,
            config=args.config,
            step=requested_step(args.step),
            allow=args.allow,
            input_format=args.input_format,
            overwrite=args.overwrite,
        )
    print(
        f'{args.dst}: step {done.scenario.step} of 0..{done.scenario.num_steps - 1} '
        f'({done.scenario.num_seen} classes), {done.num_tensors} tensors'
    )
    if done.flipped_stem:
        print('red and blue exchanged in the first convolution')
    if done.left_out:
        print(f'left out: {", ".join(done.left_out)}')
    if done.initial:
        print(f'missing, with the values of a new model: {", ".join(done.initial)}')


if __name__ == '__main__':
    main()
