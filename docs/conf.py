"""Settings of the documentation site: ``python -m sphinx -W docs work_dirs/site``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

project = 'mmcomformer'
author = 'the authors of mmcomformer'
copyright = author
extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.apidoc',
    'sphinx.ext.napoleon',
    'sphinx_copybutton',
]
html_theme = 'furo'
html_title = 'mmcomformer'
exclude_patterns = ['_build']
myst_enable_extensions = ['colon_fence', 'dollarmath']
myst_heading_anchors = 3
# files of the repository that are no pages are named, not linked
suppress_warnings = ['myst.xref_missing', 'toc.not_included', 'ref.python']
apidoc_modules = [
    {
        'path': '../mmcomformer',
        'destination': 'api',
        'separate_modules': True,
        'module_first': True,
        'automodule_options': {'members', 'show-inheritance', 'ignore-module-all'},
    }
]
autodoc_typehints = 'description'
autodoc_member_order = 'bysource'
napoleon_numpy_docstring = False
napoleon_use_rtype = False


def write_commands(app: Sphinx) -> None:
    """Write the page of commands from what each of them says of itself."""
    tools = sorted(
        path
        for path in (ROOT / 'tools').rglob('*.py')
        if 'ArgumentParser' in path.read_text(encoding='utf-8')
    )
    with ThreadPoolExecutor() as pool:
        texts = list(pool.map(_help_of, tools))
    parts = ['# Commands', '', 'Each command says this of itself with `--help`.', '']
    for path, text in zip(tools, texts, strict=True):
        parts += [f'## {path.relative_to(ROOT).as_posix()}', '', '```text', text.strip(), '```', '']
    _write(DOCS / 'commands.md', '\n'.join(parts))


def write_methods(app: Sphinx) -> None:
    """Write a page for each method, which is the README of its folder with links to pages."""
    folder = DOCS / 'methods'
    folder.mkdir(exist_ok=True)
    for readme in sorted((ROOT / 'mmcomformer' / 'methods').glob('*/README.md')):
        _write(folder / f'{readme.parent.name}.md', links_of_method(readme.read_text('utf-8')))


def links_of_method(text: str) -> str:
    """Return the README of a method with links to pages of the site in place of files."""
    text = re.sub(r'\]\(\.\./(\w+)/README\.md', r'](\1.md', text)
    return text.replace('](../../../docs/', '](../')


def links_of_page(text: str) -> str:
    """Return a page with links to the pages of methods in place of their READMEs."""
    return re.sub(r'\]\(\.\./mmcomformer/methods/(\w+)/README\.md', r'](methods/\1.md', text)


def link_methods(app: Sphinx, page: str, source: list[str]) -> None:
    """Link the pages of methods, where a page of the repository links their READMEs."""
    source[0] = links_of_page(source[0])


def _write(page: Path, content: str) -> None:
    if not page.exists() or page.read_text(encoding='utf-8') != content:
        page.write_text(content, encoding='utf-8')


def _help_of(path: Path) -> str:
    environment = {**os.environ, 'COLUMNS': '96', 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(path), '--help'],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return done.stdout


def skip_copies(
    app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object
) -> bool | None:
    """Leave out what a package repeats of its modules, which have pages of their own."""
    module = sys.modules.get(app.env.temp_data.get('autodoc:module') or '')
    return True if what == 'module' and hasattr(module, '__path__') else None


def setup(app: Sphinx) -> None:
    """Register what is written before the pages are read, and what they leave out."""
    app.connect('builder-inited', write_commands)
    app.connect('builder-inited', write_methods)
    app.connect('source-read', link_methods)
    app.connect('autodoc-skip-member', skip_copies)
