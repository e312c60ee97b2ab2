"""The commands that convert checkpoints, and a training that starts from what they wrote."""

import json
import runpy
import sys

import official
import pytest
import runs
import torch
from mmengine.registry import DefaultScope

from mmcomformer.engine.checkpoint import file_sha256, previous_checkpoint, read_checkpoint
from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.scenario_config import scenario_of
from mmcomformer.model_converters import convert_from_detectron2, convert_to_detectron2
from mmcomformer.registry import DATASETS

pytestmark = pytest.mark.families

TO_OURS = runs.TOOLS / 'model_converters' / 'detectron2_to_mmcomformer.py'
TO_THEIRS = runs.TOOLS / 'model_converters' / 'mmcomformer_to_detectron2.py'


@pytest.fixture
def config(tmp_path):
    return official.write_config(tmp_path)


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a script in this process and return what it prints."""
    monkeypatch.delenv('STEP', raising=False)

    def run(script, *args):
        monkeypatch.setattr(sys, 'argv', [str(script), *map(str, args)])
        runpy.run_path(str(script), run_name='__main__')
        return capsys.readouterr().out

    return run


def test_there_and_back(command, config, tmp_path):
    source = official.checkpoint_path(1)
    converted, back = tmp_path / 'out.pth', tmp_path / 'back.pth'
    printed = command(TO_OURS, source, converted, '--config', config, '--step', '1')
    assert printed == f'{converted}: step 1 of 0..1 (9 classes), 389 tensors\n'
    assert command(TO_THEIRS, converted, back) == f'{back}: 389 tensors\n'
    expected = torch.load(source, weights_only=True)['model']
    found = torch.load(back, weights_only=True)['model']
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    single = tmp_path / 'single.pth'
    # the layers of two steps and no-object become one
    printed = command(TO_THEIRS, converted, single, '--classifier', 'single')
    assert printed == f'{single}: 385 tensors\n'


def test_what_was_left_out_is_printed(command, config, tmp_path):
    content = torch.load(official.checkpoint_path(0), weights_only=True)
    content['model']['pixel_mean'] = torch.ones(3)
    del content['model']['sem_seg_head.predictor.level_embed.weight']
    torch.save({**content, 'optimizer': {}}, tmp_path / 'in.pth')
    printed = command(
        *(TO_OURS, tmp_path / 'in.pth', tmp_path / 'out.pth', '--config', config),
        *('--input-format', 'BGR'),
        *('--allow', 'pixel_*', 'sem_seg_head.predictor.level_embed.weight'),
    )
    assert printed.splitlines()[1:] == [
        'red and blue exchanged in the first convolution',
        'left out: pixel_mean, optimizer',
        'missing, with the values of a new model: sem_seg_head.predictor.level_embed.weight',
    ]


def test_step_of_the_environment(command, config, tmp_path, monkeypatch):
    monkeypatch.setenv('STEP', '0')
    with pytest.raises(SystemExit, match='pass --step 1, or leave it out'):
        command(TO_OURS, official.checkpoint_path(1), tmp_path / 'out.pth', '--config', config)


def test_error_is_a_message_and_nothing_is_written(tmp_path):
    # the default config is that of ADE20K 100-50
    script = [sys.executable, TO_OURS, official.checkpoint_path(0), 'out.pth']
    done = runs.run(script, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert 'error: checkpoint' in done.stdout
    assert 'comformer_ade_100-50.py teaches [100, 50], step by step' in done.stdout
    assert 'Traceback' not in done.stdout
    assert not (tmp_path / 'out.pth').exists()


@pytest.mark.slow
def test_converted_checkpoint_is_evaluated_and_is_a_teacher_at_once(shapes_root, tmp_path):
    config, options = runs.SHAPES_CONFIG, runs.shapes_options(shapes_root, iters=2)
    model = official.build(config, 0)
    meta = {'iter': 1, 'continual': {'step': 0}}
    torch.save({'meta': meta, 'state_dict': model.state_dict()}, tmp_path / 'trained.pth')
    exported, converted = tmp_path / 'theirs.pth', tmp_path / 'ours.pth'
    convert_to_detectron2(tmp_path / 'trained.pth', exported)
    convert_from_detectron2(exported, converted, config=config)

    # evaluation finds the step in it
    done = runs.run(runs.test_command(config, converted, options=options), cwd=tmp_path)
    assert 'PQ' in done.stdout

    arguments = ['--work-dir', tmp_path / 'work', '--step', '1', '--teacher', converted]
    runs.run(runs.train_command(config, *arguments, options=options), cwd=tmp_path)
    checkpoint = read_checkpoint(previous_checkpoint(tmp_path / 'work' / 'step1'))
    assert checkpoint['meta']['continual']['teacher']['sha256'] == file_sha256(converted)
    summary = json.loads((tmp_path / 'work' / 'summary.json').read_text())
    assert [entry['step'] for entry in summary['steps']] == [1]


def test_meta_is_that_of_a_training(tmp_path):
    """What a training of the same step writes of the classes, apart from its own statistics."""
    config = runs.SHAPES_CONFIG
    model = official.build(config, 0)
    torch.save({'meta': {'iter': 2}, 'state_dict': model.state_dict()}, tmp_path / 'in.pth')
    convert_to_detectron2(tmp_path / 'in.pth', tmp_path / 'theirs.pth')
    convert_from_detectron2(tmp_path / 'theirs.pth', tmp_path / 'out.pth', config=config)
    meta = read_checkpoint(tmp_path / 'out.pth')['meta']
    cfg = load_config(Request(config=str(config)), 0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build({**cfg.train_dataloader.dataset, 'lazy_init': True})
    assert meta['dataset_meta'] == dataset.metainfo
    assert {'classes', 'thing_classes', 'stuff_classes', 'palette'} <= set(meta['dataset_meta'])
    assert meta['continual']['scenario'] == scenario_of(cfg).to_dict()
    assert (meta['epoch'], meta['iter'], meta['continual']['max_iters']) == (0, 2, 2)
    assert meta['experiment_name'] == 'comformer_shapes_6-3_step0'
