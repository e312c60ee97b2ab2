"""Segment your own image with a trained model and draw the result."""

from __future__ import annotations

import argparse


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('image', help='path of the image')
    parser.add_argument('config', help='path of the config')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument(
        '--out',
        default='demo.png',
        help='picture to write, or a folder, which gets a PNG of the name of the image (default: '
        'demo.png)',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace a file that this tool did not write'
    )
    parser.add_argument('--device', help='such as cuda:0 or cpu (default: what is there)')
    parser.add_argument('--debug', action='store_true', help='show where an error was raised')
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = parse_args()
    from mmcomformer.engine.cli import command_errors
    from mmcomformer.engine.inference import draw_prediction
    from mmcomformer.outputs import picture_path

    with command_errors(debug=args.debug):
        out = picture_path(args.out, args.image)
        segments = draw_prediction(
            args.image,
            args.config,
            args.checkpoint,
            out,
            device=args.device,
            overwrite=args.overwrite,
        )
    for name, area in segments:
        print(f'{name:30s} {100 * area:5.1f} % of the image')
    print(f'{len(segments)} segments drawn into {out}')


if __name__ == '__main__':
    main()
