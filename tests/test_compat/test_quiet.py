import sys

import pytest
from pythons import run_python

from mmcomformer.compat import quiet

pytestmark = pytest.mark.families


def test_importing_the_package_prints_nothing():
    """And importing all of it neither, which ``tests/test_components.py`` does."""
    done = run_python('import mmcomformer')
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


def noisy_import():
    sys.stdout.write('Could not import OneDL. Skipping.\nother\n')
    raise OSError('broken')


def test_only_the_known_note_is_dropped(capsys):
    with pytest.raises(OSError, match='broken'), quiet.without_notes():
        noisy_import()
    assert capsys.readouterr().out == 'other\n'
