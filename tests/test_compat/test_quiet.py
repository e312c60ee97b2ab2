import sys

import pytest
from pythons import run_python

from mmcomformer.compat import quiet

pytestmark = pytest.mark.families


@pytest.mark.parametrize(
    'modules',
    ['mmcomformer', 'mmcomformer, mmdet.datasets, mmdet.evaluation, mmcomformer.components'],
)
def test_import_prints_nothing(modules):
    done = run_python(f'import {modules}')
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


def test_only_the_known_note_is_dropped(capsys):
    with pytest.raises(OSError, match='broken'), quiet.without_notes():
        sys.stdout.write('Could not import OneDL. Skipping.\nother\n')
        raise OSError('broken')
    assert capsys.readouterr().out == 'other\n'
