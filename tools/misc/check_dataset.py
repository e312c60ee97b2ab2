"""Check the data of a scenario before any training, and say whether training can start.

Per step: images, segments and pixels of each class. Exit code 0 if training can start, 1 otherwise.
"""

from __future__ import annotations

import argparse
import sys


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='path of the config, or its name')
    parser.add_argument('--json', metavar='FILE', help='write the whole report into this file')
    parser.add_argument(
        '--overwrite', action='store_true', help='replace a FILE that this tool did not write'
    )
    parser.add_argument('--workers', type=int, help='number of processes (default: all cores)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        default=[],
        help='settings that override the config',
    )
    parser.add_argument('--debug', action='store_true', help='show where an error was raised')
    return parser.parse_args()


def main() -> int:
    """Run the command."""
    args = parse_args()
    from mmcomformer.datasets.check_report import format_report
    from mmcomformer.engine.cli import command_errors, parse_options
    from mmcomformer.engine.data import check_config, write_report
    from mmcomformer.outputs import check_outputs

    with command_errors(debug=args.debug):
        if args.json:
            check_outputs([args.json], inputs=[args.config], overwrite=args.overwrite)
        report = check_config(
            args.config, cfg_options=parse_options(args.cfg_options), workers=args.workers
        )
        print(format_report(report))
        if args.json:
            write_report(args.json, args.config, report)
    return int(bool(report.faults))


if __name__ == '__main__':
    sys.exit(main())
