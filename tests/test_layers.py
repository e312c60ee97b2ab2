"""Imports go down the layers that docs/architecture.md draws, and never in circles."""

import ast
import functools
import graphlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = 'mmcomformer'


def module_name(path):
    return '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')


MODULES = {
    module_name(path): path
    for folder in (PACKAGE, 'tools')
    for path in sorted((ROOT / folder).rglob('*.py'))
}


def room_of(module):
    """Return the first part of a module's name inside the package, or that of its folder."""
    top, *rest = module.split('.')
    return rest[0] if top == PACKAGE and rest else top


@functools.cache
def layers():
    """Return the height of each room in the picture, 0 for the lowest line."""
    text = (ROOT / 'docs' / 'architecture.md').read_text(encoding='utf-8')
    section = text.split('\n## Layers\n')[1].split('\n## ')[0]
    lines = re.search(r'```text\n(.*?)```', section, re.DOTALL)[1].splitlines()
    rooms = [re.split(r'\s{2,}', line)[0].split() for line in lines]
    return {room: height for height, line in enumerate(reversed(rooms)) for room in line}


def imported(source, package, modules=frozenset(MODULES), *, nodes=None):
    """Return the modules of the package that a source text imports, in functions too.

    Args:
        source: The text.
        package: Name of the package that relative imports start from.
        modules: What can be imported as a module; anything else is a name in one.
        nodes: Look at these nodes only.
    """
    found = set()
    for node in nodes or ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split('.')
            base = parts[: len(parts) - node.level + 1] if node.level else []
            name = '.'.join([*base, *([node.module] if node.module else [])])
            names = {f'{name}.{alias.name}' for alias in node.names}
            found |= {full if full in modules else name for full in names}
    return found


@functools.cache
def imports():
    graph = {}
    for module, path in MODULES.items():
        package = module if path.name == '__init__.py' else module.rpartition('.')[0]
        graph[module] = imported(path.read_text(encoding='utf-8'), package) & set(MODULES)
    return graph


def faults(graph, heights):
    """Return the imports that go to a line above, or to another room of the same line."""
    return [
        f'{module} imports {other}'
        for module, others in graph.items()
        for other in sorted(others)
        if room_of(other) != room_of(module) and heights[room_of(other)] >= heights[room_of(module)]
    ]


def test_every_room_is_in_the_picture():
    assert {room_of(module) for module in MODULES} == set(layers())


def test_imports_go_down():
    assert faults(imports(), layers()) == []


def test_no_circles():
    # raises CycleError, which names the modules
    order = list(graphlib.TopologicalSorter(imports()).static_order())
    assert len(order) == len(MODULES)


@pytest.mark.parametrize(
    ('module', 'source', 'expected'),
    [
        ('datasets.a', 'from ..evaluation.groups import mean', ['evaluation.groups']),
        ('datasets.a', 'def f():\n    from .. import engine', ['engine']),
        ('methods.mib.a', 'import mmcomformer.engine.state', ['engine.state']),
        ('pictures.a', 'from ..model_converters import files', ['model_converters.files']),
        ('engine.a', 'from ..models import teacher\nfrom . import state', []),
        ('scenario', 'from . import atomic', ['atomic']),
    ],
)
def test_what_is_a_fault(module, source, expected):
    full = f'{PACKAGE}.{module}'
    graph = {full: imported(source, full.rpartition('.')[0])}
    assert faults(graph, layers()) == [f'{full} imports {PACKAGE}.{other}' for other in expected]


@pytest.mark.parametrize('module', ['tables', 'tasks', 'evaluation.summary_tables'])
def test_light_modules_import_no_library(module):
    """What tools/report.py needs; imports inside functions do not count."""
    pending, seen = {f'{PACKAGE}.{module}'}, set()
    while pending:
        name = pending.pop()
        seen.add(name)
        tree = ast.parse(MODULES[name].read_text(encoding='utf-8'))
        at_once = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        others = {
            alias.name
            for node in at_once
            for alias in (node.names if isinstance(node, ast.Import) else [])
        } | {node.module for node in at_once if isinstance(node, ast.ImportFrom) and not node.level}
        assert {other.split('.')[0] for other in others} <= sys.stdlib_module_names, name
        pending |= imports()[name] - seen
