"""Segment images of your own with a trained model, and draw the results."""

from __future__ import annotations

import argparse
import os
import sys


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'images',
        nargs='+',
        metavar='IMAGE',
        help='an image, several, a folder of them, or a pattern such as "photos/*.jpg"',
    )
    parser.add_argument('config', help='path of the config, or its name')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument(
        '--out',
        default='demo',
        help='folder for the pictures, PNGs of the names of the images; of a single image also '
        'the file itself (default: demo.png, and the folder demo for several)',
    )
    parser.add_argument(
        '--json', metavar='FILE', help='write class, score, area and box of each segment'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace a file that this tool did not write'
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        help='of instances, draw and write those with a higher score (default: 0.5)',
    )
    parser.add_argument('--device', help='such as cuda:0 or cpu (default: what is there)')
    parser.add_argument('--debug', action='store_true', help='show where an error was raised')
    return parser.parse_args()


def main() -> int:
    """Run the command; the exit code is 1 if an image could not be read."""
    args = parse_args()
    from mmcomformer.engine.cli import command_errors
    from mmcomformer.pictures.demo import Demo, Drawn, best_score, run_demo

    def show(drawn: Drawn) -> None:
        if drawn.prediction is None:
            print(f'skipped: {drawn.fault}', file=sys.stderr)
            return
        segments = drawn.prediction.segments
        print(f'{drawn.image}: {len(segments)} segments drawn into {drawn.picture}', flush=True)
        best = best_score(drawn.prediction)
        if not segments and best is not None:
            print(f'  no instance scores enough, the best {best:.2f}; --score-thr sets the limit')
        for segment in segments if alone else ():
            share = 100 * segment.area / drawn.prediction.ids.size
            score = '' if segment.score is None else f'   score {segment.score:.2f}'
            print(f'  {segment.name:30s} {share:5.1f} % of the image{score}')

    with command_errors(debug=args.debug):
        demo = Demo(
            images=args.images,
            config=args.config,
            checkpoint=args.checkpoint,
            out=args.out,
            json=args.json,
            device=args.device,
            overwrite=args.overwrite,
            score_thr=args.score_thr,
        )
        alone = len(args.images) == 1 and os.path.isfile(args.images[0])
        drawn = run_demo(demo, show)
    return int(any(result.fault for result in drawn))


if __name__ == '__main__':
    sys.exit(main())
