"""A checkpoint of another model is refused before anything is evaluated or written."""

import pytest
import torch
from mmengine.registry import DefaultScope
from small_runs import CONFIG

from mmcomformer.engine.checkpoint import read_checkpoint
from mmcomformer.engine.checkpoint_fit import check_fit, check_teacher, trained_config
from mmcomformer.engine.evaluate import evaluate
from mmcomformer.engine.inference import load_model
from mmcomformer.engine.request import Request, load_config
from mmcomformer.pictures.browsing import Browse, browse
from mmcomformer.registry import MODELS

pytestmark = pytest.mark.families

SEMANTIC = CONFIG.replace('shapes', 'shapes_semantic')
HEAD = 'model.panoptic_head'


def config(path=CONFIG, step=0, **options):
    dotted = {key.replace('__', '.'): value for key, value in options.items()}
    return load_config(Request(config=path, cfg_options=dotted), step)


@pytest.fixture(scope='module')
def content():
    """What a training of step 0 leaves, untrained."""
    cfg = config()
    with DefaultScope.overwrite_default_scope('mmdet'):
        weights = MODELS.build(cfg.model).state_dict()
    continual = dict(step=0, scenario=cfg.scenario.to_dict(), teacher=None)
    meta = dict(cfg=cfg.pretty_text, continual=continual, dataset_meta={})
    return dict(state_dict=weights, meta=meta)


@pytest.fixture
def checkpoint(content, tmp_path):
    torch.save(content, tmp_path / 'a.pth')
    return str(tmp_path / 'a.pth')


def test_fits(content):
    check_fit(config(), content, 'a.pth')


def test_what_a_test_may_change(content):
    """Thresholds, the data, and what only training reads."""
    cfg = config(
        model__test_cfg__iou_thr=0.5,
        model__backbone__norm_eval=True,
        model__train_cfg__num_points=7,
        model__panoptic_head__loss_cls__gamma=2.0,
    )
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='nowhere.pth')
    cfg.model.backbone.pop('style')  # its default
    check_fit(cfg, content, 'a.pth')


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        ({f'{HEAD}.num_queries': 30}, f'{HEAD}.num_queries is 20 there and 30 here'),
        # weights of the same names and shapes, and other predictions
        (
            {f'{HEAD}.transformer_decoder.layer_cfg.self_attn_cfg.num_heads': 8},
            f'{HEAD}.transformer_decoder.layer_cfg.self_attn_cfg.num_heads is 4 there and 8 here',
        ),
        ({f'{HEAD}.class_activation.type': 'Sigmoid'}, 'class_activation is None there and {'),
        ({'model.data_preprocessor.mean': [0, 0, 0]}, r'mean is \[123.675, .* and \[0, 0, 0\]'),
        ({'model.backbone.style': 'caffe'}, "style is 'pytorch' there and 'caffe' here"),
    ],
)
def test_another_model(content, options, match):
    cfg = config()
    cfg.merge_from_dict(options)
    with pytest.raises(RuntimeError, match=match) as error:
        check_fit(cfg, content, 'a.pth')
    first, second = str(error.value).split('\n')
    assert first.startswith('checkpoint a.pth does not fit the model of this config: ')
    assert second.startswith('pass the config that it was trained with')


def test_another_method(content):
    match = 'trained by the method CoMFormer, and the config is of MiB'
    with pytest.raises(RuntimeError, match=match):
        check_fit(config(CONFIG.replace('comformer_', 'mib_')), content, 'a.pth')


def test_another_task(content):
    match = r'the config is semantic \(model.decode_head\), and the checkpoint is of a panoptic'
    with pytest.raises(RuntimeError, match=match):
        check_fit(config(SEMANTIC), content, 'a.pth')


def test_another_order(content):
    cfg = config()
    order = list(cfg.scenario.class_order)
    changed = {**cfg.scenario, 'class_order': [*order[1::-1], *order[2:]]}
    cfg.scenario = cfg.model.panoptic_head.scenario = changed
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[loader].dataset.scenario = changed
    with pytest.raises(RuntimeError, match='the same classes in another order'):
        check_fit(cfg, content, 'a.pth')


@pytest.mark.parametrize('fault', ['missing', 'unexpected', 'shape'])
def test_weights_without_a_config(content, fault):
    """As of a file whose meta lacks the config, so that the weights alone tell."""
    weights = dict(content['state_dict'])
    name = 'panoptic_head.query_embed.weight'
    if fault == 'shape':
        weights[name] = weights[name][1:]
    elif fault == 'missing':
        del weights[name]
    else:
        weights['panoptic_head.more'] = weights[name]
    meta = {'continual': content['meta']['continual']}
    match = {
        'missing': f'missing: {name}\n',
        'unexpected': 'unexpected: panoptic_head.more\n',
        'shape': rf'of another shape: {name} \(19, 64\) instead of \(20, 64\)\n',
    }[fault]
    with pytest.raises(RuntimeError, match=match):
        check_fit(config(), dict(state_dict=weights, meta=meta), 'a.pth')


def test_random_numbers_are_left_alone(content):
    state = torch.get_rng_state()
    check_fit(config(), content, 'a.pth')
    assert torch.equal(torch.get_rng_state(), state)


class TestEveryReader:
    def test_evaluate(self, checkpoint, tmp_path):
        work_dir = tmp_path / 'work'
        options = {'model.panoptic_head.num_queries': 30}
        with pytest.raises(RuntimeError, match='num_queries is 20 there and 30 here'):
            evaluate(Request(CONFIG, work_dir=str(work_dir), cfg_options=options), checkpoint)
        assert not work_dir.exists()

    def test_load_model(self, checkpoint, tmp_path):
        path = tmp_path / 'other.py'
        path.write_text(
            f"_base_ = '{CONFIG}'\nmodel = dict(panoptic_head=dict(num_queries=30))\n"
            "work_dir = 'x/step0'\n"
        )
        with pytest.raises(RuntimeError, match='num_queries is 20 there and 30 here'):
            load_model(str(path), checkpoint, device='cpu')

    def test_browse(self, checkpoint):
        options = {'model.panoptic_head.num_queries': 30}
        request = Browse(CONFIG, step=1, checkpoint=checkpoint, cfg_options=options)
        with pytest.raises(RuntimeError, match=r'query_embed.*\npass the config'):
            next(browse(request))


def test_config_beside_the_checkpoint_is_named(content, checkpoint, tmp_path):
    (tmp_path / 'shapes.py').write_text('')
    cfg = config(model__panoptic_head__num_queries=30)
    with pytest.raises(RuntimeError, match=f'a copy is {tmp_path}/shapes.py'):
        check_fit(cfg, content, checkpoint)


def test_config_is_read_and_not_executed(tmp_path):
    text = f"a = dict(b=[1, (2, -3)], c=dict(None_=None))\nd = open({str(tmp_path / 'x')!r}, 'w')"
    found = trained_config({'meta': {'cfg': text}})
    assert found == {'a': {'b': [1, [2, -3]], 'c': {'None_': None}}}
    assert not (tmp_path / 'x').exists()
    assert trained_config({'meta': {'cfg': 'a = = b'}}) == trained_config({}) == {}


@pytest.mark.parametrize('name', ['a.pkl', 'a.pth'])
def test_file_of_detectron2(tmp_path, name):
    torch.save({'model': {'backbone.stem.weight': torch.zeros(1)}}, tmp_path / name)
    with pytest.raises(RuntimeError, match=r'of detectron2; .*detectron2_to_mmcomformer\.py'):
        read_checkpoint(tmp_path / name)


def trained_with(method, step, **options):
    """Return what a checkpoint of a method's config says of itself."""
    path = SEMANTIC if method == 'semantic' else CONFIG.replace('comformer_', f'{method}_')
    cfg = load_config(Request(config=path, cfg_options=options), step)
    continual = dict(step=step, scenario=cfg.scenario.to_dict())
    return dict(meta=dict(cfg=cfg.pretty_text, continual=continual), state_dict={})


@pytest.mark.parametrize(
    ('method', 'step', 'options', 'fault'),
    [
        ('comformer', 0, {}, None),
        # neither losses nor test settings matter, nor the method of step 0
        ('mib', 0, {'model.test_cfg.iou_thr': 0.8}, None),
        ('plop', 1, {}, 'trained by the method PLOP, and the config is of CoMFormer'),
        ('comformer', 1, {'model.panoptic_head.loss_cls.gamma': 2.0}, None),
        (
            'comformer',
            1,
            {'model.panoptic_head.mask_activation.type': 'QuerySigmoid',
             'model.panoptic_head.loss_mask.type': 'SigmoidMaskLoss',
             'model.panoptic_head.loss_dice.type': 'SigmoidDiceLoss'},
            "mask_activation.type is 'QuerySigmoid' there and 'QuerySoftmax' here",
        ),
    ],
)  # fmt: skip
def test_which_teachers_fit(method, step, options, fault):
    cfg = config(step=step + 1)
    checkpoint = trained_with(method, step, **options)
    if fault is None:
        check_teacher(cfg, checkpoint, 'a.pth')
    else:
        with pytest.raises(RuntimeError, match=fault):
            check_teacher(cfg, checkpoint, 'a.pth')


def test_how_segments_are_made_of_a_teachers_predictions_does_not_matter():
    fusion = {'model.decode_head.semantic_fusion': dict(type='ScoreSumFusion')}
    cfg = config(SEMANTIC, 1)
    check_teacher(cfg, trained_with('semantic', 0, **fusion), 'a.pth')


def test_a_checkpoint_without_its_config_is_judged_by_its_weights():
    cfg = config(step=1)
    meta = dict(continual=dict(step=0, scenario=cfg.scenario.to_dict()))
    check_teacher(cfg, dict(meta=meta, state_dict={'a': torch.ones(1)}), 'a.pth')
