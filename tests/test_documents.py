"""The tests that the documents name are there."""

import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
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
