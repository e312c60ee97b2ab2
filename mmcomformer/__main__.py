"""``python -m mmcomformer``: the scripts in tools/ by name, wherever they are installed."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

from .config_files import config_folder
from .spelling import closest

_FOLDERS = ('.', 'misc', 'dataset_converters', 'model_converters')
_USAGE = (
    'usage: python -m mmcomformer COMMAND [ARGUMENT ...]\nEach COMMAND explains itself with --help.'
)


def commands() -> dict[str, Path]:
    """Return the scripts that have a command line, by name: those of the checkout, or a wheel's."""
    tools = config_folder().parent / 'tools'
    found = (path for folder in _FOLDERS for path in sorted((tools / folder).glob('*.py')))
    return {path.stem: path for path in found if 'ArgumentParser' in path.read_text('utf-8')}


def main() -> None:
    """Run the script that the first argument names, with the others."""
    known = commands()
    name, *arguments = sys.argv[1:] or ['--help']
    if name in ('-h', '--help'):
        print(_USAGE + '\n\n' + '\n'.join(map(_line, known.items())))  # noqa: T201 - a command
        return
    if name not in known:
        meant = closest(name, list(known))
        hint = f', did you mean {meant}?' if meant else f'; expected one of {", ".join(known)}'
        sys.exit(f'error: mmcomformer {name}: there is no such command{hint}')
    script = known[name]
    sys.argv = [str(script), *arguments]
    # what scripts import from beside them
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name='__main__')


def _line(command: tuple[str, Path]) -> str:
    name, path = command
    says = ast.get_docstring(ast.parse(path.read_text('utf-8'))) or ''
    return f'  {name:26s} {says.splitlines()[0] if says else ""}'.rstrip()


if __name__ == '__main__':
    main()
