"""What the documents name is there: tests, configs, methods, and the files that they link."""

import functools
import re
import runpy
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
METHOD_PAGES = sorted((ROOT / 'mmcomformer' / 'methods').glob('*/README.md'))
CONFIGS = ROOT / 'configs'
# [text](target#heading), not of another site
LINK = re.compile(r'\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]*))?\)')
CODE = re.compile(r'^```.*?^```|`[^`\n]*`', re.MULTILINE | re.DOTALL)
# tests/test_a/test_b.py::TestC::test_d, with or without its first and its last parts, or a folder
REFERENCE = re.compile(
    r'`((?:tests/)?(?:test_\w+/)*test_\w+\.py(?:::\w+)*|(?:tests/)?(?:test_\w+/)+|tests/[\w/]+)`'
)


@functools.cache
def sources():
    files = [*(ROOT / 'tests').rglob('test_*.py')]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding='utf-8') for path in files}


def is_there(reference):
    file, *names = reference.split('::')
    if not file.endswith('.py'):
        return (ROOT / 'tests' / file.removeprefix('tests/')).is_dir()
    return any(
        all(re.search(rf'^ *(?:def|class) {name}\b', text, re.MULTILINE) for name in names)
        for path, text in sources().items()
        if path.endswith(f'/{file}') or path == file
    )


@pytest.mark.parametrize('path', DOCUMENTS, ids=lambda path: path.name)
def test_tests_that_are_named(path):
    named = REFERENCE.findall(path.read_text(encoding='utf-8'))
    assert [reference for reference in named if not is_there(reference)] == []


def test_what_is_looked_for():
    text = (ROOT / 'docs' / 'reliability.md').read_text(encoding='utf-8')
    assert len(REFERENCE.findall(text)) > 50
    present = ('tests/test_documents.py::test_what_is_looked_for', 'test_documents.py')
    absent = ('test_no.py', 'tests/test_documents.py::test_no', 'test_models/test_documents.py')
    for reference in (*present, 'tests/test_models', 'test_models/'):
        assert REFERENCE.fullmatch(f'`{reference}`')
        assert is_there(reference)
    for reference in (*absent, 'tests/test_no', 'test_no/'):
        assert REFERENCE.fullmatch(f'`{reference}`')
        assert not is_there(reference)


def cells_of(path, head):
    """Return the rows of the table whose first line starts so, as lists of cells."""
    lines = path.read_text(encoding='utf-8').splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(head)) + 2
    table = lines[first : lines.index('', first)]
    return [[cell.strip() for cell in row.strip('|').split('|')] for row in table]


def names_in(cell):
    return re.findall(r'`([\w.-]+)`', cell)


def methods_with_a_base():
    names = {path.stem for path in (CONFIGS / '_base_' / 'methods').glob('*.py')}
    return sorted({name.removesuffix('_semantic') for name in names})


def test_every_config_is_listed():
    named = []
    for leaves, _, methods in cells_of(ROOT / 'docs' / 'configs.md', '| config | scenario |'):
        for leaf in names_in(leaves):
            assert leaf.startswith('comformer_')
            scenario = leaf.removeprefix('comformer_')
            named += [f'{method}_{scenario}' for method in ['comformer', *names_in(methods)]]
    assert sorted(named) == sorted(path.name for path in CONFIGS.glob('*.py'))


def test_every_method_is_listed():
    rows = cells_of(ROOT / 'docs' / 'methods.md', '| `METHOD` |')
    named = [name for cell, _ in rows for name in names_in(cell)]
    assert sorted(named) == methods_with_a_base()
    linked = {target for _, page in rows for target, _ in LINK.findall(page) if target}
    assert {(ROOT / 'docs' / target).resolve() for target in linked} == set(METHOD_PAGES)
    text = (ROOT / 'docs' / 'configs.md').read_text(encoding='utf-8')
    choices = re.search(r'`METHOD=plop` \(([^)]*)\)', text)[1]
    assert sorted(names_in(choices)) == methods_with_a_base()


@functools.cache
def tracked():
    """Return the files that git has, and their folders."""
    done = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip('no checkout of git')
    files = {ROOT / name for name in done.stdout.split('\0') if name}
    return files | {folder for file in files for folder in file.parents}


def links_of(text):
    return LINK.findall(CODE.sub('', text))


def headings_of(path):
    """Return the anchors of the headings of a page, as GitHub and the site make them."""
    text = re.sub(r'^```.*?^```', '', path.read_text(encoding='utf-8'), flags=re.M | re.S)
    headings = re.findall(r'^#+ (.+)$', text, re.MULTILINE)
    return {re.sub(r'[^\w -]', '', head.lower()).replace(' ', '-') for head in headings}


@pytest.mark.parametrize(
    'path', [*DOCUMENTS, *METHOD_PAGES], ids=lambda path: f'{path.parent.name}/{path.name}'
)
def test_links(path):
    if path not in tracked():
        pytest.skip('written for the site, not tracked')
    dead = []
    for target, heading in links_of(path.read_text(encoding='utf-8')):
        file = (path.parent / target).resolve() if target else path
        if file not in tracked() or (heading and heading not in headings_of(file)):
            dead.append(f'{target}#{heading}')
    assert dead == []


def test_links_of_the_site():
    """Links to READMEs of methods lead to their pages, and those of the READMEs back."""
    conf = runpy.run_path(str(ROOT / 'docs' / 'conf.py'))
    docs = ROOT / 'docs'
    pages = {docs / 'methods' / f'{path.parent.name}.md' for path in METHOD_PAGES}
    to_methods, of_methods = set(), []
    for path in docs.glob('*.md'):
        text = conf['links_of_page'](path.read_text(encoding='utf-8'))
        targets = {(docs / target).resolve() for target, _ in links_of(text)}
        assert not targets & set(METHOD_PAGES)
        to_methods |= {target for target in targets if target.parent == docs / 'methods'}
    for path in METHOD_PAGES:
        text = conf['links_of_method'](path.read_text(encoding='utf-8'))
        of_methods += [(docs / 'methods' / target).resolve() for target, _ in links_of(text)]
    assert to_methods == pages
    assert len(of_methods) > 5
    assert [target for target in of_methods if target not in pages and not target.exists()] == []


def test_what_a_link_is():
    text = '[a](b.md) [c](https://d) [e](#f) `[g](h)`\n```\n[i](j)\n```\n![k\nl](m.jpg#n)'
    assert links_of(text) == [('b.md', ''), ('', 'f'), ('m.jpg', 'n')]
