"""Real commands from start to end: training all steps, killed ones, several processes, mim."""

import importlib.metadata
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import runs
from runs import CONFIGS, ROOT, SHAPES_CONFIG, TOOLS, timeless

from mmcomformer.engine.checkpoint import previous_checkpoint
from mmcomformer.engine.request import Request, load_config
from mmcomformer.report.collected import read_evaluation

pytestmark = pytest.mark.slow

ITERS = 21
NUM_VAL = 8
STEPS = [
    ['disc', 'stripes', 'square', 'triangle', 'checker', 'ring'],
    ['cross', 'dots', 'star'],
    ['half-disc', 'waves', 'bar'],
]


def count_images(root, names):
    """Count by hand the training images that show a class."""
    data = json.loads((root / 'annotations' / 'panoptic_train.json').read_text())
    ids = {category['id'] for category in data['categories'] if category['name'] in names}
    return sum(
        any(segment['category_id'] in ids for segment in annotation['segments_info'])
        for annotation in data['annotations']
    )


def check_run(work_dir, root, *, steps=3, iters=ITERS):
    """Check what a run of the first steps leaves behind, and return its summary."""
    folders = sorted(path.name for path in work_dir.iterdir() if path.is_dir())
    assert folders == [f'step{step}' for step in range(steps)]
    for step in range(steps):
        folder = work_dir / f'step{step}'
        names = sorted(path.name for path in folder.iterdir() if '.pth' in path.name)
        assert names == [f'iter_{iters}.pth', 'last.pth']
        assert (folder / 'last.pth').samefile(folder / names[0])
        assert previous_checkpoint(folder).is_file()
    summary = runs.read_summary(work_dir)
    assert summary['class_order'] == sum(STEPS, [])
    assert [entry['step'] for entry in summary['steps']] == list(range(steps))
    for entry, names in zip(summary['steps'], STEPS, strict=False):
        assert entry['classes'] == names
        assert entry['train_images'] == count_images(root, names)
        assert entry['train_iters'] == iters
        assert entry['seed'] == 0
    return summary


def trained_images(records, step):
    return {
        record['iter']: record['images']
        for record in records
        if record['event'] == 'train' and record['step'] == step
    }


def evaluated_images(records, step):
    batches = [r['images'] for r in records if r['event'] == 'val' and r['step'] == step]
    return Counter(sum(batches, []))


def metrics_of_last_test(work_dir):
    """Return the metrics that the last evaluation with tools/test.py has written."""
    files = sorted(path for path in work_dir.rglob('*.json') if path.stem == path.parent.name)
    return {
        key.removeprefix('continual/'): value
        for key, value in json.loads(files[-1].read_text()).items()
        if key.startswith('continual/')
    }


def as_flat(metrics):
    """Return a step's metrics under the names of the log."""
    return {
        name if group == 'all' else f'{name}_{group}': value
        for name, groups in metrics.items()
        for group, value in groups.items()
        if value is not None
    }


@pytest.fixture(scope='module')
def finished(shapes_root, tmp_path_factory):
    """A run of all steps with one command: its folder, its output and what it did."""
    folder = tmp_path_factory.mktemp('finished')
    work_dir, record = folder / 'run', folder / 'record'
    options = [*runs.shapes_options(shapes_root, iters=ITERS), *runs.record_option(record)]
    command = runs.train_command(SHAPES_CONFIG, '--work-dir', str(work_dir), options=options)
    output = runs.run(command, cwd=folder).stdout
    return work_dir, output, runs.read_records(record)


@pytest.mark.families
class TestAllSteps:
    def test_what_is_left(self, finished, shapes_root):
        summary = check_run(finished[0], shapes_root)
        assert summary['config'] == 'comformer_shapes_6-3'
        assert (summary['method'], summary['task']) == ('CoMFormer', 'panoptic')
        assert summary['setting'] == 'overlap'
        for entry in summary['steps']:
            assert set(entry['metrics']) == {'PQ', 'SQ', 'RQ'}
            assert list(entry['per_class']) == sum(STEPS[: entry['step'] + 1], [])
            assert (entry['metrics']['PQ']['new'] is None) == (entry['step'] == 0)
        final = summary['final']['PQ']
        assert set(final) == {'base', 'new', 'all', 'avg', 'forgetting'}
        overall = [entry['metrics']['PQ']['all'] for entry in summary['steps']]
        assert final['avg'] == pytest.approx(sum(overall) / 3)

    def test_what_it_did(self, finished):
        for step in range(3):
            assert sorted(trained_images(finished[2], step)) == list(range(ITERS))
            images = evaluated_images(finished[2], step)
            assert len(images) == NUM_VAL
            assert set(images.values()) == {1}

    def test_log(self, finished, shapes_root):
        output = finished[1]
        assert 'Traceback' not in output
        # what the environment variable is used for inside is nothing the user asked for
        assert 'env variable' not in output
        for step, names in enumerate(STEPS):
            assert f'step {step} of 0..2: training' in output
            count = count_images(shapes_root, names)
            assert f'{count} images, overlap setting' in output
            assert f'{len(names)} new classes ({", ".join(names)})' in output
            assert f'log and checkpoints in {finished[0]}/step{step}\n' in output
        for step in (1, 2):
            assert f'teacher {finished[0]}/step{step - 1}/iter_{ITERS}.pth' in output
        # a line after the first iteration and at the interval, and nothing for developers
        assert output.count(f'  iter {ITERS}/{ITERS}  loss ') == 3
        for word in ('System environment', 'max_keep_ckpts', 'before_run', 'd0.loss', 'WARN'):
            assert word not in output
        assert len(output.splitlines()) < 50
        table = output.rstrip().splitlines()[-6:]
        assert table[0].startswith('| step | classes | images | iters | minutes | PQ base |')
        assert [line.split('|')[1].strip() for line in table[2:5]] == ['0', '1', '2']
        assert re.fullmatch(r'PQ avg over steps: \d+\.\d\d   forgetting: -?\d+\.\d\d', table[5])

    def test_every_step_logs_into_its_own_folder(self, finished):
        for step in range(3):
            folder = finished[0] / f'step{step}'
            assert len(list(folder.rglob('events.out.tfevents.*'))) == 1
            (scalars,) = folder.rglob('scalars.json')
            lines = [json.loads(line) for line in scalars.read_text().splitlines()]
            # at the iteration after which it was measured, so that there is a curve
            assert [line['step'] for line in lines if 'continual/PQ' in line] == [ITERS]
            assert ('loss_distill' in lines[0]) == (step > 0)
            (log,) = folder.rglob('*.log')
            text = log.read_text()
            assert f'step {step} (evaluation): 8 of 8 images' in text
            for word in ('System environment', 'max_keep_ckpts', 'before_run', 'd0.loss_mask'):
                assert word in text
            assert 'PQ avg over steps' in text


@pytest.mark.families
class TestResume:
    def test_resume_of_a_finished_run_does_nothing(self, finished, shapes_root):
        before = (finished[0] / 'summary.json').read_bytes()
        options = runs.shapes_options(shapes_root, iters=ITERS)
        command = runs.train_command(
            SHAPES_CONFIG, '--work-dir', str(finished[0]), '--resume', options=options
        )
        output = runs.run(command, cwd=finished[0]).stdout
        assert output.count('finished already, skipped') == 3
        assert (finished[0] / 'summary.json').read_bytes() == before


@pytest.fixture(scope='module')
def distributed(shapes_root, tmp_path_factory):
    """A run of all steps by two processes: its folder, its output and what each process did."""
    folder = tmp_path_factory.mktemp('distributed')
    work_dir, record = folder / 'run', folder / 'record'
    options = [
        *runs.shapes_options(shapes_root, iters=ITERS),
        *runs.record_option(record),
        *runs.NO_VIS_BACKENDS,
        'default_hooks.report.enabled=True',
    ]
    command = ['bash', TOOLS / 'dist_train.sh', SHAPES_CONFIG, 2, '--work-dir', work_dir]
    output = runs.run(
        [*command, '--cfg-options', *options],
        cwd=folder,
        env={'PORT': str(runs.free_port())},
    ).stdout
    records = [runs.read_records(record), runs.read_records(Path(f'{record}.rank1'))]
    return work_dir, output, records


@pytest.mark.families
class TestTwoProcesses:
    def test_page(self, distributed):
        work_dir, output, _ = distributed
        assert '<h2 id="pseudo-labels">' in (work_dir / 'report.html').read_text()
        # each step writes it anew
        assert output.count(f'page of the run: {work_dir}/report.html\n') == 3
        assert 'The run goes on' not in output
        for entry in runs.read_summary(work_dir)['steps']:
            kept = read_evaluation(work_dir / f'step{entry["step"]}')
            # every one of the 8 images counts once
            assert kept.confusion.sum() == 8 * 64 * 64
            assert kept.per_class == entry['per_class']

    def test_what_is_left(self, distributed, finished, shapes_root):
        summary = check_run(distributed[0], shapes_root)
        alone = runs.read_summary(finished[0])
        for entry, other in zip(summary['steps'], alone['steps'], strict=True):
            assert entry['train_images'] == other['train_images']

    def test_weights_are_finite_and_equal(self, distributed):
        trained = [[r for r in rank if r['event'] == 'trained'] for rank in distributed[2]]
        assert [record['step'] for record in trained[0]] == [0, 1, 2]
        assert trained[0] == trained[1]
        assert all(record['finite'] for record in trained[0])
        assert len({record['sha256'] for record in trained[0]}) == 3

    def test_images_are_shared_out(self, distributed):
        for step in range(3):
            seen = [evaluated_images(rank, step) for rank in distributed[2]]
            assert sum((seen[0] + seen[1]).values()) == NUM_VAL
            assert len(seen[0] + seen[1]) == NUM_VAL
            drawn = [trained_images(rank, step) for rank in distributed[2]]
            assert drawn[0].keys() == drawn[1].keys()
            # within an epoch no image is drawn twice
            first = sum((drawn[rank][i] for rank in range(2) for i in range(4)), [])
            assert len(set(first)) == len(first) == 16

    def test_log(self, distributed):
        output = distributed[1]
        # the total batch is twice that of the recipe
        logs = ''.join(log.read_text() for log in distributed[0].rglob('*.log'))
        assert logs.count('Scaling the original LR by 2.0.') == 3
        assert 'Warning' not in output
        for step in range(3):
            assert output.count(f'step {step} of 0..2: training') == 1
        assert output.count('PQ avg over steps') == 3

    def test_metrics_are_gathered_once(self, distributed, shapes_root, tmp_path):
        """The summary has what one process and what two processes find in the checkpoint."""
        steps = runs.read_summary(distributed[0])['steps']
        best = max(steps, key=lambda entry: entry['metrics']['PQ']['all'])
        assert best['metrics']['PQ']['all'] > 0
        checkpoint = previous_checkpoint(distributed[0] / f'step{best["step"]}')
        expected = as_flat(best['metrics'])
        options = runs.shapes_options(shapes_root, iters=ITERS)
        arguments = ['--work-dir', str(tmp_path / 'one'), '--show-dir', str(tmp_path / 'pictures')]
        command = runs.test_command(SHAPES_CONFIG, checkpoint, *arguments, options=options)
        runs.run(command, cwd=tmp_path)
        assert metrics_of_last_test(tmp_path / 'one').keys() == expected.keys()
        assert metrics_of_last_test(tmp_path / 'one') == pytest.approx(expected)
        assert len(list((tmp_path / 'pictures').rglob('*.jpg'))) == NUM_VAL
        command = ['bash', TOOLS / 'dist_test.sh', SHAPES_CONFIG, checkpoint, 2]
        runs.run(
            [*command, '--work-dir', tmp_path / 'two', '--cfg-options', *options],
            cwd=tmp_path,
            env={'PORT': str(runs.free_port())},
        )
        assert metrics_of_last_test(tmp_path / 'two') == pytest.approx(expected)


def test_a_killed_process_ends_the_other(shapes_root, tmp_path):
    """It ends with a message and leaves the folder free; no launcher watches over these two."""
    record = tmp_path / 'record'
    options = [
        *runs.shapes_options(shapes_root, iters=500),
        *runs.record_option(record),
        *runs.NO_VIS_BACKENDS,
    ]
    arguments = ['--work-dir', str(tmp_path / 'run'), '--launcher', 'pytorch', '--step', '0']
    command = runs.train_command(SHAPES_CONFIG, *arguments, options=options)
    meeting = {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(runs.free_port()), 'WORLD_SIZE': '2'}
    processes = []
    for rank in ('0', '1'):
        with open(tmp_path / f'log{rank}', 'w', encoding='utf-8') as log:
            env = runs.environment(**meeting, RANK=rank, LOCAL_RANK=rank)
            processes.append(
                subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log)
            )
    try:
        limit = time.monotonic() + 300
        while not record.exists() or len(record.read_text().splitlines()) < 3:
            assert time.monotonic() < limit
            assert [process.poll() for process in processes] == [None, None]
            time.sleep(0.1)
        processes[1].kill()
        assert processes[0].wait(60) == 1
    finally:
        for process in processes:
            process.kill()
            process.wait()
    check_error((1, (tmp_path / 'log0').read_text()), 'another process of this training is gone')
    assert not (tmp_path / 'run' / 'run.lock').exists()


@pytest.mark.families
def test_stock_train_script(finished, shapes_root, tmp_path):
    """mmdet's own tools/train.py with STEP does the same."""
    script = Path(importlib.util.find_spec('mmdet').origin).parent / '.mim' / 'tools' / 'train.py'
    record = tmp_path / 'record'
    options = [
        *runs.shapes_options(shapes_root, iters=ITERS),
        *runs.record_option(record),
        *runs.NO_VIS_BACKENDS,
        # ours follows the number of iterations
        f'param_scheduler.0.end={ITERS}',
    ]
    for step in (0, 1):
        command = [sys.executable, script, SHAPES_CONFIG, '--cfg-options', *options]
        runs.run(command, cwd=tmp_path, env={'STEP': str(step)})
    summary = check_run(tmp_path / 'work_dirs' / 'comformer_shapes_6-3', shapes_root, steps=2)
    expected = runs.read_summary(finished[0])
    for entry, other in zip(summary['steps'], expected['steps'], strict=False):
        assert timeless(entry) == timeless(other)
    records = runs.read_records(record)
    assert records == [r for r in finished[2] if r['step'] < 2]


def is_installed(distribution):
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@pytest.mark.families
def test_mim_train(shapes_root, tmp_path):
    if not is_installed('mmcomformer'):
        pytest.skip('mim finds installed distributions only, and mmcomformer is not installed')
    options = runs.shapes_options(shapes_root, iters=3)
    command = ['mim', 'train', 'mmcomformer', 'configs/comformer_shapes_6-3.py', '--step', '0']
    output = runs.run(
        [*command, '--work-dir', tmp_path, '--cfg-options', *options],
        cwd=ROOT,
        # openmim finds an editable installation there only, onedl-mim anywhere but there
        env={'PYTHONPATH': str(ROOT) if is_installed('openmim') else ''},
    ).stdout
    assert 'Traceback' not in output
    check_run(tmp_path, shapes_root, steps=1, iters=3)


@pytest.mark.families
def test_demo(finished, shapes_root, tmp_path):
    checkpoint = previous_checkpoint(finished[0] / 'step2')
    image = shapes_root / 'val' / '000000.jpg'
    command = [sys.executable, TOOLS / 'demo.py', image, SHAPES_CONFIG, checkpoint]
    output = runs.run([*command, '--out', 'pictures/demo.png'], cwd=tmp_path).stdout
    assert 'Traceback' not in output
    assert re.search(r'000000.jpg: \d+ segments drawn into pictures/demo\.png', output)
    assert 'Warning' not in output
    assert (tmp_path / 'pictures' / 'demo.png').stat().st_size > 0


@pytest.mark.families
def test_ade_config_on_a_miniature(ade_root, tmp_path):
    """comformer_ade_100-50.py as it is, but for image sizes, queries, points and iterations."""
    config = CONFIGS / 'comformer_ade_100-50.py'
    cfg = load_config(Request(config=str(config)), 0)
    sizes = {
        'RandomChoiceResize': ('scales', '[(64,64),(96,96)]'),
        'RandomCrop': ('crop_size', '(64,64)'),
        'Pad': ('size', '(64,64)'),
    }
    crops = [
        f'train_dataloader.dataset.pipeline.{index}.{"=".join(sizes[transform.type])}'
        for index, transform in enumerate(cfg.train_dataloader.dataset.pipeline)
        if transform.type in sizes
    ]
    splits = ('train', 'val', 'test')
    options = [
        *crops,
        *(f'{split}_dataloader.dataset.dataset.data_root={ade_root}' for split in splits),
        *(f'{split}_dataloader.num_workers=0' for split in splits),
        *(f'{split}_dataloader.persistent_workers=False' for split in splits),
        'train_dataloader.batch_size=2',
        'val_dataloader.dataset.pipeline.1.scale=(256,64)',
        'model.data_preprocessor.batch_augments.0.size=(64,64)',
        'model.backbone.init_cfg=None',
        'model.panoptic_head.num_queries=10',
        'model.train_cfg.num_points=128',
        'train_cfg.max_iters=2',
        'train_cfg.val_interval=2',
        'default_hooks.logger.interval=1',
        *runs.NO_VIS_BACKENDS,
    ]
    output = runs.run(runs.train_command(config, options=options), cwd=tmp_path).stdout
    assert 'no accelerator: training in float32 instead of AMP' in output
    work_dir = tmp_path / 'work_dirs' / 'comformer_ade_100-50'
    summary = runs.read_summary(work_dir)
    assert [len(entry['classes']) for entry in summary['steps']] == [100, 50]
    # every image of the miniature shows classes of both steps
    assert [entry['train_images'] for entry in summary['steps']] == [30, 30]
    assert [entry['train_iters'] for entry in summary['steps']] == [2, 2]
    assert list(summary['steps'][1]['per_class']) == summary['class_order']
    for step in range(2):
        assert (work_dir / f'step{step}' / 'iter_2.pth').is_file()
    logs = ''.join(log.read_text() for log in work_dir.rglob('*.log'))
    assert '10 of 10 images, 150 classes seen so far' in logs
    assert re.search(r'loss_distill: \d+\.\d+', logs)
    assert re.search(r'  distillation \d+\.\d+', output)


CONFIG = str(SHAPES_CONFIG)
DEBUG_HINT = '(MMCOMFORMER_DEBUG=1 shows where it was raised)'
# arguments of tools/train.py, environment variables, and the error
BAD_COMMANDS = {
    'config missing': (['gone.py'], {}, 'config gone.py: no such file'),
    'config without scenario': (['plain.py'], {}, 'scenario: expected a dict with increments'),
    'config with a syntax error': (['syntax.py'], {}, 'config syntax.py: it cannot be read'),
    'config with a missing base': (['base.py'], {}, 'No such file or directory'),
    'increments that do not add up': (
        ['increments.py'],
        {},
        'scenario.increments: [6, 3] add up to 9 classes, but there are 12',
    ),
    'scenario changed in one place': (
        ['stale.py'],
        {},
        'model.panoptic_head.scenario: it differs from the top-level scenario of the config',
    ),
    'step too high': ([CONFIG, '--step', '3'], {}, 'step: expected 0 to 2, got 3'),
    'step negative': ([CONFIG, '--step', '-1'], {}, '--step: expected at least 0, got -1'),
    'STEP too high': ([CONFIG], {'STEP': '3'}, 'step: expected 0 to 2, got 3'),
    'STEP not a number': (
        [CONFIG],
        {'STEP': 'x'},
        "environment variable STEP: expected an integer that counts from 0, got 'x'",
    ),
    'STEP empty': ([CONFIG], {'STEP': ''}, "STEP: expected an integer that counts from 0, got ''"),
    'STEP negative': ([CONFIG], {'STEP': '-1'}, 'STEP: expected at least 0, got -1'),
    'step and STEP differ': (
        [CONFIG, '--step', '1'],
        {'STEP': '2'},
        '--step 1 and STEP=2 contradict each other',
    ),
    'step by option': (
        [CONFIG, '--cfg-options', 'scenario.step=1'],
        {},
        'choose the step with --step (or STEP=)',
    ),
    'step of the head by option': (
        [CONFIG, '--cfg-options', 'model.panoptic_head.scenario.step=1'],
        {},
        'choose the step with --step (or STEP=)',
    ),
    'option without value': (
        [CONFIG, '--cfg-options', 'randomness.seed'],
        {},
        "expected KEY=VALUE, got 'randomness.seed'",
    ),
    'no checkpoint of step 0': (
        [CONFIG, '--step', '1', '--work-dir', 'empty'],
        {},
        'no checkpoint in empty/step0: train that step first (tools/train.py CONFIG --step 0)',
    ),
    'AMP on the CPU': ([CONFIG, '--amp'], {}, '--amp: automatic mixed precision needs an'),
    'pytorch launcher alone': ([CONFIG, '--launcher', 'pytorch'], {}, 'use tools/dist_train.sh'),
    'slurm launcher on the CPU': ([CONFIG, '--launcher', 'slurm'], {}, 'without an accelerator'),
    'teacher missing': ([CONFIG, '--teacher', 'gone.pth'], {}, 'checkpoint gone.pth: no such file'),
    'teacher not a checkpoint': ([CONFIG, '--teacher', 'plain.py'], {}, 'checkpoint plain.py: '),
    'teacher of another step': (
        [CONFIG, '--step', '2', '--teacher', 'step0.pth'],
        {},
        'step0.pth is of step 0, so it teaches step 1, but step 2 was asked for',
    ),
    'teacher of the last step': (
        [CONFIG, '--teacher', 'step2.pth'],
        {},
        'there is nothing left to train',
    ),
    'teacher of another scenario': (
        ['other_order.py', '--teacher', 'step0.pth'],
        {},
        'step 0 has other classes: class 0 is',
    ),
}
OTHER_ORDER = """
_base_ = {config!r}
scenario = dict(class_order=_base_.scenario.class_order[::-1])
"""


def check_error(outcome, message):
    """Check that a command ended with one line that says what is wrong."""
    code, output = outcome
    assert code == 1
    assert 'Traceback' not in output
    *_, line, hint = output.splitlines()
    assert line.startswith('error: ')
    assert message in line
    assert hint == DEBUG_HINT


class TestBadCommands:
    @pytest.fixture(scope='class')
    def outcomes(self, finished, tmp_path_factory):
        folder = tmp_path_factory.mktemp('bad-commands')
        for step in (0, 2):
            shutil.copy(
                previous_checkpoint(finished[0] / f'step{step}'), folder / f'step{step}.pth'
            )
        leaf = f'_base_ = {CONFIG!r}\n'
        configs = {
            'plain.py': 'a = 1\n',
            'syntax.py': 'a = = 1\n',
            'base.py': "_base_ = 'gone.py'\n",
            'increments.py': f'{leaf}scenario = dict(increments=[6, 3])\n',
            'stale.py': f'{leaf}model = dict(panoptic_head=dict(scenario=dict(step=1)))\n',
            'other_order.py': OTHER_ORDER.format(config=CONFIG),
        }
        for name, text in configs.items():
            (folder / name).write_text(text)
        before = set(folder.rglob('*'))
        cases = {name: (args, env) for name, (args, env, _) in BAD_COMMANDS.items()}
        cases['debug'] = [CONFIG, '--step', '9'], {'MMCOMFORMER_DEBUG': '1'}
        outcomes = runs.run_forked('train.py', cases, cwd=folder)
        return outcomes, set(folder.rglob('*')) - before

    @pytest.mark.parametrize('name', BAD_COMMANDS)
    def test_error(self, outcomes, name):
        check_error(outcomes[0][name], BAD_COMMANDS[name][2])
        # nothing else buries it
        assert len(outcomes[0][name][1].splitlines()) <= 3

    def test_trace_on_request(self, outcomes):
        code, output = outcomes[0]['debug']
        assert code == 1
        assert 'Traceback (most recent call last)' in output
        assert output.splitlines()[-1] == 'ValueError: step: expected 0 to 2, got 9'

    def test_nothing_is_written(self, outcomes):
        assert outcomes[1] == set()

    def test_as_a_process_of_its_own(self, tmp_path):
        command = runs.train_command(SHAPES_CONFIG)
        result = runs.run(command, cwd=tmp_path, env={'STEP': 'x'}, check=False)
        check_error((result.returncode, result.stdout), 'environment variable STEP: expected')

    def test_wrong_use(self, tmp_path):
        # reported before the libraries are imported
        for arguments in ([], [CONFIG, '--step', 'x'], [CONFIG, '--launcher', 'y']):
            command = [sys.executable, TOOLS / 'train.py', *arguments]
            result = runs.run(command, cwd=tmp_path, check=False, timeout=20)
            assert result.returncode == 2
            assert 'usage: train.py' in result.stdout


def remove_all(folder):
    for path in folder.iterdir():
        path.unlink()


def spoil_all(folder):
    for path in folder.iterdir():
        path.write_bytes(b'no image')


# what is wrong with a copy of the set, the number of worker processes, and the error
BAD_DATA = {
    'annotation file missing': (
        lambda root: (root / 'annotations' / 'panoptic_train.json').unlink(),
        0,
        'panoptic_train.json does not exist; check data_root and ann_file',
    ),
    'annotation file not JSON': (
        lambda root: (root / 'annotations' / 'panoptic_train.json').write_text('nothing'),
        0,
        'panoptic_train.json is not JSON',
    ),
    'PNGs missing': (
        lambda root: remove_all(root / 'panoptic_train'),
        1,
        '.png does not exist; check data_prefix["seg"]',
    ),
    'images missing': (lambda root: remove_all(root / 'train'), 1, '.jpg could not be read'),
    'images unreadable': (lambda root: spoil_all(root / 'train'), 0, '.jpg could not be read'),
    'validation images missing': (
        lambda root: remove_all(root / 'val'),
        1,
        '.jpg could not be read',
    ),
}


class TestBadData:
    @pytest.fixture(scope='class')
    def outcomes(self, shapes_root, tmp_path_factory):
        folder = tmp_path_factory.mktemp('bad-data')
        cases = {}
        for name, (spoil, workers, _) in BAD_DATA.items():
            root = folder / name.replace(' ', '-')
            shutil.copytree(shapes_root, root)
            spoil(root)
            options = runs.shapes_options(root, iters=1)
            work_dir = folder / f'{root.name}-run'
            splits = [f'{split}_dataloader.num_workers={workers}' for split in ('train', 'val')]
            arguments = [CONFIG, '--work-dir', str(work_dir), '--cfg-options', *options]
            cases[name] = [*arguments, *splits], {}
        config = folder / 'broken.py'
        config.write_text(
            f'_base_ = {CONFIG!r}\n'
            "custom_imports = dict(imports=['broken_hook'], allow_failed_imports=False)\n"
            "custom_hooks = [*_base_.custom_hooks, dict(type='BrokenHook')]\n"
        )
        options = runs.shapes_options(shapes_root, iters=1)
        broken = [str(config), '--work-dir', 'run', '--cfg-options', *options]
        cases['unexpected'] = broken, {}
        return runs.run_forked('train.py', cases, cwd=folder)

    @pytest.mark.parametrize('name', BAD_DATA)
    def test_error(self, outcomes, name):
        check_error(outcomes[name], BAD_DATA[name][2])

    def test_unexpected_error_keeps_its_trace(self, outcomes):
        code, output = outcomes['unexpected']
        assert code == 1
        assert 'Traceback (most recent call last)' in output
        assert "KeyError: 'nobody expects this'" in output.splitlines()[-1]
