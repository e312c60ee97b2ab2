"""The datasets and scenarios of the configs."""

import json

import downloads
import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer, inference_detector
from mmdet.datasets import ADE20KPanopticDataset, CocoDataset
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope
from mmseg.datasets import ADE20KDataset
from packed import masks_of

from mmcomformer.dataset_converters.ade20k_instances import convert_ade20k_instances
from mmcomformer.scenario import Scenario

pytestmark = [pytest.mark.families, pytest.mark.usefixtures('mmdet_scope')]

ADE_STEPS = {
    '100-50': 2, '100-10': 6, '100-5': 11, '50-50': 3, '50-10': 11, '50-20': 6, '100-50_order-b': 2,
}  # fmt: skip

# order "b" of the paper's study: numbers of ADE20K's classes from 1
# fmt: off
ORDER_B = [
    74, 19, 119, 79, 77, 32, 65, 142, 69, 83, 111, 13, 37, 10, 20, 57, 105, 70, 56, 133, 30, 128,
    27, 129, 132, 146, 109, 144, 46, 31, 23, 16, 66, 12, 43, 147, 52, 28, 5, 33, 143, 86, 87, 17,
    11, 82, 134, 138, 76, 110, 97, 106, 67, 1, 123, 68, 29, 41, 45, 61, 124, 25, 26, 24, 95, 40,
    96, 118, 48, 98, 114, 34, 139, 102, 63, 85, 149, 54, 6, 94, 112, 50, 36, 81, 78, 35, 115, 8,
    44, 71, 99, 121, 84, 135, 136, 90, 9, 14, 120, 126, 4, 18, 39, 73, 137, 7, 113, 101, 3, 64,
    55, 127, 51, 116, 47, 140, 62, 148, 80, 60, 92, 42, 59, 91, 49, 89, 108, 125, 22, 58, 145,
    130, 38, 141, 2, 53, 131, 104, 100, 117, 88, 75, 122, 150, 21, 72, 107, 15, 93, 103,
]
# fmt: on

LEAF = """
_base_ = '{config}'
from mmcomformer.recipe import complete
data_root = '{root}'
complete(globals(), 'leaf')
"""


@pytest.fixture
def leaf(tmp_path, repo_root, monkeypatch):
    def load(name, root, step=None):
        if step is None:
            monkeypatch.delenv('STEP', raising=False)
        else:
            monkeypatch.setenv('STEP', str(step))
        path = tmp_path / 'leaf.py'
        config = repo_root / 'configs' / f'comformer_{name}.py'
        path.write_text(LEAF.format(config=config, root=root))
        return Config.fromfile(path)

    return load


@pytest.mark.parametrize('step', [None, 0, 1])
@pytest.mark.parametrize('name', ADE_STEPS)
def test_ade_scenarios(leaf, name, step):
    config = leaf(f'ade_{name}', '/nowhere', step)
    for place in (config, config.train_dataloader.dataset, config.test_dataloader.dataset):
        scenario = Scenario.from_config(place.scenario)
        assert scenario.step == (step or 0)
        assert scenario.num_steps == ADE_STEPS[name]
        assert '-'.join(map(str, scenario.increments[:2])) == name.split('_')[0]
        assert scenario.num_classes == len(scenario.order) == 150
        assert scenario.setting == 'overlap'


def test_ade_class_order_is_that_of_sceneparse150(leaf, repo_root):
    scenario = Scenario.from_config(leaf('ade_100-50', '/nowhere').scenario)
    metainfo = ADE20KPanopticDataset.METAINFO
    assert scenario.thing_classes == metainfo['thing_classes']
    assert scenario.stuff_classes == metainfo['stuff_classes']
    assert scenario.order[:8] == (
        'wall', 'building', 'sky', 'floor', 'tree', 'ceiling', 'road, route', 'bed',
    )  # fmt: skip
    things = [name in metainfo['thing_classes'] for name in scenario.order]
    assert sum(things) == 100
    assert sum(things[:100]) == 64
    assert sum(things[:50]) == 29
    # within either kind, mmdet lists the classes in SceneParse150's order too
    for kind in ('thing_classes', 'stuff_classes'):
        assert tuple(n for n in scenario.order if n in metainfo[kind]) == metainfo[kind]


def test_ade_order_b(leaf):
    default, other = (
        Scenario.from_config(leaf(f'ade_{name}', '/nowhere').scenario)
        for name in ('100-50', '100-50_order-b')
    )
    assert sorted(ORDER_B) == list(range(1, 151))
    assert other.order == tuple(default.order[number - 1] for number in ORDER_B)
    # the same labels in another order, each mapped there and back
    assert other.classes == default.classes
    assert sorted(other.learning_to_label) == list(range(150))
    for index, number in enumerate(ORDER_B):
        assert other.learning_to_label[index] == default.learning_to_label[number - 1]
        assert other.at_step(1).label_to_learning[other.learning_to_label[index]] == index
    assert other.base_classes[:3] == ('kitchen island', 'curtain', 'oven')
    assert other.at_step(1).current_classes[-1] == default.order[102]


def test_ade_class_order_agrees_with_mmseg(leaf):
    scenario = Scenario.from_config(leaf('ade_100-50', '/nowhere').scenario)
    other = {
        'window': 'windowpane', 'tub': 'bathtub', 'rail': 'railing', 'street lamp': 'streetlight',
        'tv': 'television receiver', 'clothes': 'apparel', 'pool': 'swimming pool',
        'falls': 'waterfall', 'trash can': 'ashcan',
    }  # fmt: skip
    short = [other.get(name, name.split(',')[0]) for name in scenario.order]
    assert short == [name.strip() for name in ADE20KDataset.METAINFO['classes']]


@pytest.mark.parametrize('step', [0, 1])
def test_ade_miniature(leaf, ade_root, step):
    config = leaf('ade_100-50', ade_root, step)
    train = DATASETS.build(config.train_dataloader.dataset)
    assert len(train) == 30
    current = Scenario.from_config(config.scenario).current_labels
    labels = set()
    for sample in train:
        instances = sample['data_samples'].gt_instances
        assert sample['inputs'].shape == (3, 640, 640)
        assert masks_of(sample['data_samples']).shape == (len(instances), 640, 640)
        assert set(instances.labels.tolist()) <= current
        labels |= set(instances.labels.tolist())
    # a crop can miss a class, but not many
    assert len(labels) > 0.8 * len(current)
    val = DATASETS.build(config.val_dataloader.dataset)
    assert len(val) == 10
    shown = {s['label'] for i in range(10) for s in val[i]['data_samples'].segments}
    assert shown == set(range(150))
    sample = val[0]['data_samples']
    assert sample.ori_shape == sample.gt_panoptic_seg.shape == (80, 64)
    assert sample.img_shape == (800, 640)


def test_ade_padding_is_grey_and_not_labelled(leaf, ade_root):
    config = leaf('ade_100-50', ade_root)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    padded = 0
    for index in range(6):
        sample = dataset[index]
        covered = masks_of(sample['data_samples']).any(0)
        # padding is on the right and below: rows and columns that are grey to the end
        grey = (sample['inputs'] == 128).all(0).numpy()
        height, width = 640 - trailing(grey.all(1)), 640 - trailing(grey.all(0))
        padded += 640 * 640 - height * width
        assert grey[height:].all()
        assert grey[:, width:].all()
        assert not covered[height:].any()
        assert not covered[:, width:].any()
        assert covered[:height, :width].any() or not covered.any()
    assert padded > 0


def trailing(flags):
    """Count how many flags are set at the end."""
    return len(flags) if flags.all() else int(flags[::-1].argmin())


def test_ade_short_side(leaf, ade_root):
    config = leaf('ade_100-50', ade_root)
    resize = config.train_dataloader.dataset.pipeline[2]
    assert resize.scales == [320, 384, 448, 512, 576, 640, 704, 768, 832, 896, 960, 1024, 1088,
                             1152, 1216, 1280]  # fmt: skip
    assert resize.max_size == 2560
    assert config.train_dataloader.batch_size == 8


@pytest.mark.parametrize('step', [0, 1, 2])
def test_shapes(leaf, shapes_root, step):
    config = leaf('shapes_6-3', shapes_root, step)
    scenario = Scenario.from_config(config.scenario)
    assert scenario.increments == (6, 3, 3)
    assert not set(scenario.current_classes) <= set(scenario.thing_classes)
    assert list(scenario.learning_to_label) != sorted(scenario.learning_to_label)
    train = DATASETS.build(config.train_dataloader.dataset)
    batch = pseudo_collate([train[i] for i in range(2)])
    assert batch['inputs'][0].shape == (3, 64, 64)
    assert set(batch['data_samples'][0].gt_instances.labels.tolist()) <= scenario.current_labels
    val = DATASETS.build(config.val_dataloader.dataset)
    assert len(val) == 8
    assert val[0]['inputs'].shape == (3, 96, 96)
    assert val[0]['data_samples'].gt_panoptic_seg.shape == (64, 64)


def assert_samples(config, labels, size, crop):
    """Load an image of training and one of validation, whose file has a height and width."""
    train = DATASETS.build(config.train_dataloader.dataset)
    sample = train[0]
    assert sample['inputs'].shape == (3, *crop)
    found = sample['data_samples'].gt_instances
    assert set(found.labels.tolist()) <= labels
    assert found.masks.masks.shape == (len(found.labels), *crop)
    assert found.masks.masks.any((1, 2)).all()
    assert len(found.labels)
    sample = DATASETS.build(config.val_dataloader.dataset)[0]['data_samples']
    assert sample.ori_shape == size
    return sample.segments


def test_ade_instances_of_the_converter(leaf, tmp_path):
    root = downloads.write_ade(tmp_path)
    assert all(report.usable for report in convert_ade20k_instances(root, workers=1))
    config = leaf('ade_instances_50-50', root)
    bed, car = map(config.scenario['thing_classes'].index, ('bed', 'car'))
    segments = assert_samples(config, {bed, car}, (downloads.HEIGHT, downloads.WIDTH), (640, 640))
    assert sorted(segment['label'] for segment in segments) == [bed, car, car]


def test_coco_instances(leaf, tmp_path):
    """COCO's layout; the ids of the categories have gaps there, and are not in the order here."""
    names = CocoDataset.METAINFO['classes']
    ids = {name: 90 - number for number, name in enumerate(names)}
    for split in ('train2017', 'val2017'):
        data = downloads.Instances(tmp_path)
        data.content['categories'] = [{'id': id_, 'name': name} for name, id_ in ids.items()]
        data.add(7, ids['person'], downloads.box(1, 1, 14, 10))
        data.add(7, ids['toothbrush'], downloads.box(2, 2, 4, 4))
        data.add(3, ids['toothbrush'], {'counts': [80, 20, 92], 'size': [12, 16]}, iscrowd=1)
        path = tmp_path / 'annotations' / f'instances_{split}.json'
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(data.content))
        for image in data.content['images']:
            downloads.photo(tmp_path / split / image['file_name'])
    config = leaf('coco_instances_40-40', tmp_path, 0)
    segments = assert_samples(config, {0}, (downloads.HEIGHT, downloads.WIDTH), (1024, 1024))
    assert [segment['label'] for segment in segments] == [0, 79]


def test_shapes_learning_order(leaf):
    from mmcomformer.datasets.shapes import learning_order

    scenario = Scenario.from_config(leaf('shapes_6-3', '/nowhere').scenario)
    assert scenario.order == learning_order()


def test_lazy_test_dataset(leaf):
    config = leaf('shapes_6-3', '/nowhere', 1).test_dataloader.dataset
    metainfo = DATASETS.build({**config, 'lazy_init': True}).metainfo
    assert len(metainfo['classes']) == len(metainfo['palette']) == 12


class Recorder(torch.nn.Module):
    """Stands for a detector: records what reaches it."""

    def __init__(self, config):
        super().__init__()
        self.cfg = config
        self.data_preprocessor = torch.nn.Module()
        self.data_preprocessor.device = torch.device('cpu')

    def test_step(self, data):
        self.data = data
        return data['data_samples']


@pytest.mark.parametrize('kind', ['path', 'array'])
def test_inference_detector(leaf, shapes_root, kind):
    model = Recorder(leaf('shapes_6-3', shapes_root))
    image = np.zeros((30, 60, 3), np.uint8)
    if kind == 'path':
        image = str(shapes_root / 'val' / '000000.jpg')
    sample = inference_detector(model, image)
    assert sample.ori_shape == ((64, 64) if kind == 'path' else (30, 60))
    assert model.data['inputs'][0].shape == ((3, 96, 96) if kind == 'path' else (3, 48, 96))
    assert 'gt_panoptic_seg' not in sample


@pytest.mark.parametrize('kind', ['path', 'array'])
def test_inferencer(leaf, shapes_root, kind):
    config = leaf('shapes_6-3', shapes_root)
    pipeline = DetInferencer._init_pipeline(DetInferencer.__new__(DetInferencer), config)
    image = np.zeros((30, 60, 3), np.uint8)
    if kind == 'path':
        image = str(shapes_root / 'val' / '000000.jpg')
    sample = pipeline(image)['data_samples']
    assert sample.scale_factor == ((1.5, 1.5) if kind == 'path' else (1.6, 1.6))
    assert 'gt_panoptic_seg' not in sample


def test_mask2former_names_of_categories(leaf, ade_root, tmp_path):
    import shutil

    root = tmp_path / 'ade'
    shutil.copytree(ade_root, root)
    path = root / 'ade20k_panoptic_val.json'
    content = json.loads(path.read_text())
    names = {'window': 'window ', 'airplane': 'plane'}
    for category in content['categories']:
        category['name'] = names.get(category['name'], category['name'])
    path.write_text(json.dumps(content))
    config = leaf('ade_100-50', root)
    assert isinstance(config.val_dataloader.dataset.category_aliases, ConfigDict)
    assert len(DATASETS.build(config.val_dataloader.dataset)) == 10


SEMANTIC = {
    'ade_semantic_100-50': [100, 50],
    'ade_semantic_100-10': [100] + [10] * 5,
    'ade_semantic_100-5': [100] + [5] * 10,
    'ade_semantic_50-50': [50] * 3,
    'voc_19-1': [19, 1],
    'voc_15-5': [15, 5],
    'voc_15-1': [15] + [1] * 5,
    'voc_10-1': [10] + [1] * 10,
}


@pytest.mark.parametrize('step', [None, 1])
@pytest.mark.parametrize('name', SEMANTIC)
def test_semantic_scenarios(leaf, name, step):
    config = leaf(name, '/nowhere', step)
    for place in (config, config.train_dataloader.dataset, config.test_dataloader.dataset):
        scenario = Scenario.from_config(place.scenario)
        assert scenario.step == (step or 0)
        assert list(scenario.increments) == SEMANTIC[name]
        assert scenario.setting == 'overlap'
        assert scenario.background_label == (0 if name.startswith('voc') else None)
        # in the dataset's order
        labels = list(scenario.learning_to_label)
        assert labels == sorted(labels)


@pytest.mark.parametrize(
    ('step', 'setting'),
    # in the other settings the small set has no image for step 0
    [(0, 'overlap')]
    + [(step, s) for step in (1, 2) for s in ('overlap', 'disjoint', 'sequential')],
)
def test_steps_of_shapes_agree_in_both_tasks(leaf, shapes_root, step, setting, monkeypatch):
    """The same images and the same classes in each, whether read from JSON or from label maps."""
    monkeypatch.setenv('SETTING', setting)
    panoptic = leaf('shapes_6-3', shapes_root, step).train_dataloader.dataset
    config = leaf('shapes_semantic_6-3', shapes_root, step)
    semantic = config.train_dataloader.dataset
    for dataset in (panoptic, semantic):
        dataset.pipeline = [t for t in dataset.pipeline if t.type != 'RandomFlip']
    panoptic = DATASETS.build(panoptic)
    with DefaultScope.overwrite_default_scope('mmseg'):
        semantic = DATASETS.build(semantic)
        assert len(panoptic) == len(semantic) > 0
        for one, other in zip(panoptic, semantic, strict=True):
            samples = one['data_samples'], other['data_samples']
            assert samples[0].img_path == samples[1].img_path
            labels = tuple(sorted(set(samples[0].gt_instances.labels.tolist())))
            assert samples[1].gt_labels == labels
            masks = torch.from_numpy(masks_of(samples[0]))
            label_map = samples[1].gt_sem_seg.data
            assert torch.equal(masks.any(0), label_map[0] != 255)
            for label, mask in zip(samples[0].gt_instances.labels, masks, strict=True):
                assert (label_map[0][mask] == label).all()


def test_semantic_evaluation_keeps_the_size_and_all_classes(leaf, shapes_root):
    config = leaf('shapes_semantic_6-3', shapes_root).test_dataloader.dataset
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = DATASETS.build(config)
        sample = dataset[0]
    assert len(dataset) == 8
    assert sample['inputs'].shape == (3, 96, 96)
    assert sample['data_samples'].gt_sem_seg.shape == (64, 64)
    labels = {label for item in dataset for label in item['data_samples'].gt_labels}
    later = Scenario.from_config(config.scenario).later_labels
    assert labels & later
    assert labels - later
