"""Running a benchmark in this process."""

import sys
import types

import pytest


@pytest.fixture
def run_benchmark(monkeypatch):
    """Run the module of a benchmark; returns its exit code or message."""
    for name in ('panopticapi', 'panopticapi.utils'):
        # the stand-in goes away with the test
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))

    def run(module, *arguments):
        monkeypatch.setattr(sys, 'argv', [module.__name__, *map(str, arguments)])
        try:
            return module.main()
        except SystemExit as error:
            return error.code

    return run
