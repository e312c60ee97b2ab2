"""Checkpoints of detectron2 programs for semantic segmentation: the same names, another head."""

import official
import pytest
import torch

from mmcomformer.engine.checkpoint import check_previous_step, continual_meta, read_checkpoint
from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.scenario_config import scenario_of
from mmcomformer.model_converters import convert_from_detectron2, convert_to_detectron2
from mmcomformer.model_converters.tensor_names import HEADS, head_of, to_ours, to_theirs

pytestmark = pytest.mark.families

# the semantic recipe's backbone, narrow
R101 = dict(
    backbone='dict(depth=101, base_channels=8, stem_channels=8, init_cfg=None,\n'
    "norm_cfg=dict(type='SyncBN', requires_grad=True), norm_eval=False)"
)


def equal(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(x, other[name]) for name, x in one.items()
    )


def read_theirs(path):
    return dict(torch.load(path, weights_only=True)['model'])


@pytest.fixture
def config(tmp_path):
    return official.write_semantic_config(tmp_path)


def test_head_of_a_segmentor():
    assert head_of(['backbone.conv1.weight', 'panoptic_head.query_feat.weight']) == HEADS[0]
    assert head_of(['backbone.conv1.weight', 'decode_head.query_feat.weight']) == HEADS[1]
    assert head_of(['backbone.conv1.weight', 'decode_head_of_mine.weight']) is None


def test_every_name_comes_back():
    for name in read_theirs(official.checkpoint_path(1)):
        ours = to_ours(name, 'decode_head')
        assert ours.startswith(('backbone.', 'decode_head.'))
        assert to_theirs(ours) == name


def test_released_checkpoint_there_and_back(config, tmp_path):
    source = official.checkpoint_path(1)
    convert_from_detectron2(source, tmp_path / 'ours.pth', config=config)
    ours = read_checkpoint(tmp_path / 'ours.pth')
    model = official.build(config, 1)
    model.load_state_dict(ours['state_dict'], strict=True)
    assert {name.partition('.')[0] for name in ours['state_dict']} == {'backbone', 'decode_head'}
    assert 'ContinualEncoderDecoder' in ours['meta']['cfg']
    count = convert_to_detectron2(tmp_path / 'ours.pth', tmp_path / 'theirs.pth')
    assert count == len(read_theirs(source))
    assert equal(read_theirs(tmp_path / 'theirs.pth'), read_theirs(source))


def test_the_tensors_are_those_of_the_detector(config, tmp_path):
    source = official.checkpoint_path(0)
    for name, of in (('semantic', config), ('panoptic', official.write_config(tmp_path))):
        convert_from_detectron2(source, tmp_path / f'{name}.pth', config=of)
    semantic = read_checkpoint(tmp_path / 'semantic.pth')['state_dict']
    panoptic = read_checkpoint(tmp_path / 'panoptic.pth')['state_dict']
    renamed = {name.replace('decode_head.', 'panoptic_head.'): x for name, x in semantic.items()}
    assert equal(renamed, panoptic)


def test_next_step_may_start_from_it(config, tmp_path):
    path = tmp_path / 'step0.pth'
    convert_from_detectron2(official.checkpoint_path(0), path, config=config)
    scenario = scenario_of(load_config(Request(config=str(config)), 1))
    check_previous_step(continual_meta(read_checkpoint(path), path), scenario, path)


def test_resnet_101_with_norms_that_learn(tmp_path):
    config = official.write_semantic_config(tmp_path, **R101)
    state_dict = official.build(config, 1).state_dict()
    for name, tensor in state_dict.items():
        if tensor.is_floating_point():
            tensor.normal_()
        elif name.endswith('.num_batches_tracked'):
            tensor.fill_(7)
    torch.save(dict(meta=dict(iter=5), state_dict=state_dict), tmp_path / 'iter_5.pth')
    convert_to_detectron2(tmp_path / 'iter_5.pth', tmp_path / 'theirs.pth')
    theirs = read_theirs(tmp_path / 'theirs.pth')
    # stem, 33 blocks of 3 and 4 shortcuts, with what a norm that learns has
    for leaf in ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked'):
        assert sum(
            name.endswith(f'.norm.{leaf}') and name[:9] == 'backbone.' for name in theirs
        ) == (104)
    assert theirs['backbone.res4.22.conv3.norm.num_batches_tracked'] == 7
    convert_from_detectron2(tmp_path / 'theirs.pth', tmp_path / 'back.pth', config=config)
    assert equal(read_checkpoint(tmp_path / 'back.pth')['state_dict'], state_dict)


def test_another_architecture_is_described(tmp_path):
    config = official.write_semantic_config(tmp_path, **R101)
    with pytest.raises(RuntimeError, match=r'ResNet of 3-4-6-3 .*expected: ResNet of 3-4-23-3 '):
        convert_from_detectron2(official.checkpoint_path(1), tmp_path / 'x.pth', config=config)
    assert not (tmp_path / 'x.pth').exists()


def test_export_without_a_classifier_names_both_heads(tmp_path):
    torch.save(
        dict(meta={}, state_dict={'backbone.conv1.weight': torch.ones(1)}), tmp_path / 'a.pth'
    )
    with pytest.raises(RuntimeError, match='or a ContinualEncoderDecoder, .* or decode_head.cls_e'):
        convert_to_detectron2(tmp_path / 'a.pth', tmp_path / 'x.pth')
