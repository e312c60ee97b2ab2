"""The tutorial docs/custom_dataset.md, followed as a new user would: every command of it is run."""

import json
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from runs import ROOT, read_summary

from mmcomformer.engine.checkpoint import file_sha256, previous_checkpoint

pytestmark = [pytest.mark.families, pytest.mark.slow]

DOCUMENT = ROOT / 'docs' / 'custom_dataset.md'
SIZE = 48
COLOURS = {'cat': (200, 60, 40), 'dog': (40, 60, 210), 'horse': (230, 200, 30)}
STUFF = {'grass': (1, (60, 140, 50)), 'sky': (2, (210, 170, 120))}
# the values of the label maps, in the order of the tutorial's `classes`
LABELS = ['cat', 'dog', 'grass', 'sky']
# what makes a recipe for a GPU a matter of seconds; the pipeline works on small images
SMALL = [
    'model.backbone.init_cfg=None',
    'model.backbone.depth=18',
    'model.backbone.base_channels=8',
    'model.train_cfg.num_points=64',
    f'train_dataloader.dataset.pipeline.2.scales=[{SIZE}]',
    f'train_dataloader.dataset.pipeline.3.crop_size=({SIZE},{SIZE})',
    f'train_dataloader.dataset.pipeline.6.size=({SIZE},{SIZE})',
    'train_dataloader.batch_size=2',
    'auto_scale_lr.base_batch_size=2',
    *(f'{split}_dataloader.num_workers=0' for split in ('train', 'val', 'test')),
    *(f'{split}_dataloader.persistent_workers=False' for split in ('train', 'val', 'test')),
    *(f'{split}_dataloader.dataset.pipeline.1.scale=({SIZE},{SIZE})' for split in ('val', 'test')),
    'train_cfg.max_iters=2',
    'train_cfg.val_interval=2',
    'visualizer.vis_backends=[]',
]
# they follow one setting
INSTANCES = [*(option for option in SMALL if '.pipeline.' not in option), f'image_size={SIZE}']
SMALL_HEAD = [
    'in_channels=[8,16,32,64]',
    'num_queries=10',
    'pixel_decoder.encoder.num_layers=1',
    'transformer_decoder.num_layers=1',
]


def write_pets(root, things):
    """Write images of one or two animals on grass under the sky, in the layout of the tutorial."""
    for split, count in (('train', 8), ('val', 3)):
        rng = np.random.default_rng(count)
        content = {'images': [], 'annotations': [], 'categories': []}
        content['categories'] = [{'id': 5 + i, 'name': name} for i, name in enumerate(things)]
        for folder in ('images', 'stuff'):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            draw_pet(root, split, index, things, content, rng)
        (root / f'instances_{split}.json').write_text(json.dumps(content))
    categories = [{'id': value, 'name': name} for name, (value, _) in STUFF.items()]
    (root / 'stuff_categories.json').write_text(json.dumps(categories))


def draw_pet(root, split, index, things, content, rng):
    image = np.empty((SIZE, SIZE, 3), np.uint8)
    stuff = np.empty((SIZE, SIZE), np.uint8)
    # every fourth image has nothing but cats and grass, and so belongs to step 0 in any setting
    plain = index % 4 == 0
    horizon = 0 if plain else SIZE // 2
    stuff[:horizon], image[:horizon] = STUFF['sky']
    stuff[horizon:], image[horizon:] = STUFF['grass']
    for place in range(2):
        kind = 0 if plain else (index + place) % len(things)
        x, y = 3 + 24 * place + int(rng.integers(3)), 16 + int(rng.integers(8))
        image[y : y + 16, x : x + 14] = COLOURS[things[kind]]
        content['annotations'].append(
            {
                'id': len(content['annotations']) + 1,
                'image_id': index,
                'category_id': 5 + kind,
                'iscrowd': 0,
                'segmentation': [[x, y, x + 14, y, x + 14, y + 16, x, y + 16]],
            }
        )
    noise = rng.integers(0, 12, image.shape).astype(np.uint8)
    cv2.imwrite(str(root / 'images' / split / f'{index}.jpg'), image + noise)
    cv2.imwrite(str(root / 'stuff' / split / f'{index}.png'), stuff)
    size = {'height': SIZE, 'width': SIZE}
    content['images'].append({'id': index, 'file_name': f'{index}.jpg', **size})


def write_label_maps(root):
    """Turn the annotations of the pets into a label map per image."""
    for split in ('train', 'val'):
        content = json.loads((root / f'instances_{split}.json').read_text())
        names = {category['id']: category['name'] for category in content['categories']}
        (root / 'labels' / split).mkdir(parents=True)
        for image in content['images']:
            stuff = cv2.imread(str(root / 'stuff' / split / f'{image["id"]}.png'), -1)
            labels = np.full_like(stuff, 255)
            for name, (value, _) in STUFF.items():
                labels[stuff == value] = LABELS.index(name)
            for item in content['annotations']:
                if item['image_id'] == image['id']:
                    x0, y0, x1, _, _, y1 = item['segmentation'][0][:6]
                    labels[y0:y1, x0:x1] = LABELS.index(names[item['category_id']])
            cv2.imwrite(str(root / 'labels' / split / f'{image["id"]}.png'), labels)


def small(config):
    """Return the options that make a recipe of any task small."""
    if 'instances' in config:
        return [*INSTANCES, *(f'model.panoptic_head.{option}' for option in SMALL_HEAD)]
    semantic = 'semantic' in config
    size = 'size' if semantic else 'batch_augments.0.size'
    head = f'model.{"decode" if semantic else "panoptic"}_head'
    size = f'model.data_preprocessor.{size}=({SIZE},{SIZE})'
    return [*SMALL, size, *(f'{head}.{option}' for option in SMALL_HEAD)]


def blocks(section):
    """Return language and text of the code blocks of the tutorial's numbered sections."""
    sections = re.split(r'^## ', DOCUMENT.read_text(encoding='utf-8'), flags=re.M)
    (text,) = [part for part in sections if part.startswith(f'{section}. ')]
    return re.findall(r'^```(\w+)\n(.*?)^```', text, flags=re.M | re.S)


def edit(text):
    """Replace the lines of a config that begin as those of a block of the tutorial do."""
    first, *lines = text.splitlines()
    path = first.removeprefix('# ')
    content = Path(path).read_text(encoding='utf-8')
    for line in lines:
        name, equals, _ = line.partition('=')
        content, count = re.subn(rf'^{re.escape(name + equals)}.*$', line, content, flags=re.M)
        assert count == 1, line
    Path(path).write_text(content, encoding='utf-8')


def run_command(line, monkeypatch):
    """Run a command line of the tutorial in this process and return its exit code."""
    words = shlex.split(line)
    monkeypatch.delenv('SETTING', raising=False)
    while '=' in words[0]:
        monkeypatch.setenv(*words.pop(0).split('=', 1))
    if words[0] == 'cp':
        shutil.copy(*words[1:])
        return 0
    assert words[0] == 'python', line
    script, *arguments = words[1:]
    if script.endswith(('train.py', 'test.py', 'browse_dataset.py')):
        arguments += ['--cfg-options', *small(arguments[0])]
    monkeypatch.setattr(sys, 'argv', [script, *arguments])
    try:
        runpy.run_path(str(ROOT / script), run_name='__main__')
    except SystemExit as error:
        return error.code or 0
    return 0


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the configs, where the tutorial's commands are run."""
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def follow(section, monkeypatch):
    for language, text in blocks(section):
        if language == 'python':
            edit(text)
        else:
            for line in text.splitlines():
                assert run_command(line, monkeypatch) == 0, line


def test_tutorial(project, monkeypatch):
    pets = project / 'data' / 'pets'
    write_pets(pets, ['cat', 'dog'])
    for section in (2, 3, 4):
        follow(section, monkeypatch)
    report = json.loads((project / 'work_dirs' / 'pets_check.json').read_text())
    assert report['can_train']
    assert not report['faults']
    assert [step['images'] for step in report['steps']] == [8, 6]
    for step in (0, 1):
        assert len(list((project / 'work_dirs' / f'pets_step{step}').glob('*.png'))) == 4
    follow(5, monkeypatch)
    run = project / 'work_dirs' / 'comformer_pets'
    before = read_summary(run)
    assert [entry['classes'] for entry in before['steps']] == [['grass', 'cat'], ['sky', 'dog']]
    pseudo = cv2.imread(str(next((project / 'work_dirs' / 'pets_pseudo').glob('*.png'))))
    plain = cv2.imread(str(next((project / 'work_dirs' / 'pets_step1').glob('*.png'))))
    assert pseudo.shape[1] > 1.4 * plain.shape[1]

    # a class that nobody had planned
    checkpoints = {step: previous_checkpoint(run / f'step{step}') for step in (0, 1)}
    hashes = {step: file_sha256(path) for step, path in checkpoints.items()}
    write_pets(pets, ['cat', 'dog', 'horse'])
    follow(6, monkeypatch)
    after = read_summary(run)
    assert after['steps'][:2] == before['steps']
    assert after['steps'][2]['classes'] == ['horse']
    assert after['increments'] == [2, 2, 1]
    assert set(after['steps'][2]['per_class']) == {'grass', 'cat', 'sky', 'dog', 'horse'}
    assert {step: file_sha256(path) for step, path in checkpoints.items()} == hashes


def test_label_maps(project, monkeypatch):
    pets = project / 'data' / 'pets'
    write_pets(pets, ['cat', 'dog'])
    write_label_maps(pets)
    follow(7, monkeypatch)
    assert (pets / '.mmcomformer').is_dir()
    pictures = project / 'work_dirs' / 'pets_semantic_step1'
    assert len(list(pictures.glob('*.png'))) == 4
    summary = read_summary(project / 'work_dirs' / 'comformer_pets_semantic')
    assert summary['task'] == 'semantic'
    assert [entry['classes'] for entry in summary['steps']] == [['grass', 'cat'], ['sky', 'dog']]
    assert set(summary['steps'][1]['per_class']) == set(LABELS)


def test_instances(project, monkeypatch):
    """Four commands, and nothing but the annotations."""
    pets = project / 'data' / 'pets'
    write_pets(pets, ['cat', 'dog', 'horse'])
    shutil.rmtree(pets / 'stuff')
    follow(8, monkeypatch)
    summary = read_summary(project / 'work_dirs' / 'comformer_pets_instances')
    assert summary['task'] == 'instance'
    assert [entry['classes'] for entry in summary['steps']] == [['cat', 'dog'], ['horse']]
    found = json.loads((project / 'work_dirs' / 'pets_results' / 'instances.json').read_text())
    assert {entry['category_id'] for entry in found} <= {5, 6, 7}
    assert {entry['image_id'] for entry in found} == {0, 1, 2}
