"""Real commands on a semantic config: all steps, killed; mmseg's script."""

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest
import runs
from runs import CONFIGS, timeless

from mmcomformer.engine.checkpoint import file_sha256, previous_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.families]

CONFIG = CONFIGS / 'comformer_shapes_semantic_6-3.py'
ITERS = 3
NUM_VAL = 8


def options(root, record, *, iters=ITERS, interval=None, **when):
    return [
        *runs.shapes_options(root, iters=iters, interval=interval),
        *runs.record_option(record, **when),
        *runs.NO_VIS_BACKENDS,
    ]


def trained(records, step):
    """Return the images of each iteration of a step."""
    return {
        record['iter']: record['images']
        for record in records
        if record['event'] == 'train' and record['step'] == step
    }


def evaluated(records, step):
    batches = [r['images'] for r in records if r['event'] == 'val' and r['step'] == step]
    return Counter(sum(batches, []))


@pytest.fixture(scope='module')
def interrupted(shapes_root, tmp_path_factory):
    """A run of all steps that was killed in the middle of step 1, and resumed."""
    folder = tmp_path_factory.mktemp('interrupted')
    work_dir = folder / 'run'

    def command(name, *args, **when):
        of_run = options(shapes_root, folder / name, interval=1, **when)
        return runs.train_command(CONFIG, '--work-dir', str(work_dir), *args, options=of_run)

    runs.run_until(command('first', pause='1:2'), folder / 'first.paused', cwd=folder)
    before = previous_checkpoint(work_dir / 'step0')
    digest, left = file_sha256(before), previous_checkpoint(work_dir / 'step1').name
    output = runs.run(command('second', '--resume'), cwd=folder).stdout
    assert file_sha256(before) == digest
    records = {name: runs.read_records(folder / name) for name in ('first', 'second')}
    return work_dir, output, left, records


class TestKilledAndResumed:
    def test_goes_on_where_it_stopped(self, interrupted):
        _, output, left, records = interrupted
        assert left == 'iter_2.pth'
        assert 'Traceback' not in output
        assert 'step 0 of 0..2: finished already, skipped' in output
        assert 'step 1 of 0..2: resuming its training' in output
        assert sorted(trained(records['first'], 1)) == [0, 1]
        assert sorted(trained(records['second'], 1)) == [2]
        assert sorted(trained(records['second'], 2)) == [0, 1, 2]
        assert not trained(records['second'], 0)
        for step, name in ((0, 'first'), (1, 'second'), (2, 'second')):
            images = evaluated(records[name], step)
            assert len(images) == NUM_VAL
            assert set(images.values()) == {1}

    def test_what_is_left(self, interrupted):
        work_dir, output, *_ = interrupted
        summary = runs.read_summary(work_dir)
        assert (summary['method'], summary['task']) == ('CoMFormer', 'semantic')
        assert [entry['step'] for entry in summary['steps']] == [0, 1, 2]
        assert [entry['train_iters'] for entry in summary['steps']] == [ITERS] * 3
        assert {'base', 'new', 'all', 'avg', 'forgetting'} <= set(summary['final']['mIoU'])
        for step in range(3):
            files = (work_dir / f'step{step}').iterdir()
            names = sorted(path.name for path in files if '.pth' in path.name)
            assert names == [f'iter_{ITERS - 1}.pth', f'iter_{ITERS}.pth', 'last.pth']
        assert 'mIoU avg over steps' in output


def test_stock_train_script(interrupted, shapes_root, tmp_path):
    """mmseg's own tools/train.py with STEP does the same."""
    script = Path(importlib.util.find_spec('mmseg').origin).parent / '.mim' / 'tools' / 'train.py'
    of_run = options(shapes_root, tmp_path / 'record', interval=1)
    # ours follows the number of iterations
    end = f'param_scheduler.0.end={ITERS}'
    command = [sys.executable, script, CONFIG, '--cfg-options', *of_run, end]
    runs.run(command, cwd=tmp_path, env={'STEP': '0'})
    assert runs.read_records(tmp_path / 'record') == [
        record for record in interrupted[3]['first'] if record['step'] == 0
    ]
    (entry,) = runs.read_summary(tmp_path / 'work_dirs' / CONFIG.stem)['steps']
    expected = runs.read_summary(interrupted[0])['steps'][0]
    assert timeless(entry) == timeless(expected)
