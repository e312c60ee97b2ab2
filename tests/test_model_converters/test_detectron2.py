"""Checkpoints of detectron2 programs, converted here and back."""

import pickle

import numpy as np
import official
import pytest
import torch
from mmdet.models.backbones.swin import swin_converter

from mmcomformer.engine.checkpoint import (
    check_previous_step,
    continual_meta,
    read_checkpoint,
)
from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.scenario_config import scenario_of
from mmcomformer.model_converters import convert_from_detectron2, convert_to_detectron2
from mmcomformer.model_converters.comparison import compare
from mmcomformer.scenario import Scenario

pytestmark = pytest.mark.families

CLASSIFIER = 'sem_seg_head.predictor.class_embed'
SWIN_CHANNELS = (16, 32, 64, 128)


def equal(one, other):
    """Tell whether two state dicts have the same tensors, bit for bit."""
    return one.keys() == other.keys() and all(
        x.dtype == other[name].dtype and torch.equal(x, other[name]) for name, x in one.items()
    )


def save(path, model, **others):
    torch.save({'model': model, **others}, path)
    return path


def single_classifier(model):
    """Give a model Mask2Former's classifier, with no-object as its last row."""
    model = dict(model)
    last = max(int(name.split('.')[4]) for name in model if name.startswith(f'{CLASSIFIER}.cls.'))
    for leaf in ('weight', 'bias'):
        rows = [model.pop(f'{CLASSIFIER}.cls.{i}.{leaf}') for i in (*range(1, last + 1), 0)]
        model[f'{CLASSIFIER}.{leaf}'] = torch.cat(rows)
    return model


def as_model_zoo(model):
    """Return NumPy arrays under the names of the older head, as the model zoo has them."""
    return {
        name.replace('pixel_decoder.', '').replace('query_feat', 'static_query'): x.numpy()
        for name, x in model.items()
    }


class TestReleasedCheckpoint:
    def test_fits_exactly(self, ours, config, step):
        model = official.build(config, step)
        model.load_state_dict(ours['state_dict'], strict=True)
        # counters of batches are the only tensors that the file does not have
        assert ours['state_dict'].keys() == model.state_dict().keys()

    def test_classifier(self, ours, theirs, step):
        found = ours['state_dict']
        for their, own in ((0, 'no_object'), *((i + 1, f'steps.{i}') for i in range(step + 1))):
            name = f'panoptic_head.cls_embed.{own}'
            assert torch.equal(found[f'{name}.weight'], theirs[f'{CLASSIFIER}.cls.{their}.weight'])
            assert torch.equal(found[f'{name}.bias'], theirs[f'{CLASSIFIER}.cls.{their}.bias'])

    def test_round_trip_is_exact(self, converted, theirs, step, tmp_path):
        count = convert_to_detectron2(converted, tmp_path / 'back.pth')
        back = torch.load(tmp_path / 'back.pth', weights_only=True)
        assert equal(dict(back['model']), dict(theirs))
        assert count == len(theirs)
        assert back['iteration'] == 99
        assert set(back) == {'model', 'iteration'}

    def test_metadata_is_that_of_the_released_program(self, converted, theirs, tmp_path):
        convert_to_detectron2(converted, tmp_path / 'back.pth')
        metadata = torch.load(tmp_path / 'back.pth', weights_only=True)['model']._metadata
        with_tensors = {
            name for name in theirs._metadata if any(x.startswith(f'{name}.') for x in theirs)
        } | {''}
        assert set(metadata) == with_tensors
        assert all(metadata[name] == theirs._metadata[name] for name in with_tensors)
        assert metadata['sem_seg_head']['version'] == 2
        assert metadata['sem_seg_head.predictor']['version'] == 2

    def test_meta(self, ours, config, step):
        meta = ours['meta']
        scenario = scenario_of(load_config(Request(config=str(config)), step))
        assert meta['continual'] == dict(
            step=step, scenario=scenario.to_dict(), teacher=None, max_iters=100
        )
        assert meta['iter'] == 100
        assert meta['dataset_meta']['classes'] == scenario.classes
        assert 'ContinualMaskFormer' in meta['cfg']

    @pytest.mark.parametrize('step', [0], indirect=True)
    @pytest.mark.parametrize('increments', [[6, 3], [6, 1, 2]])
    def test_next_step_may_start_from_it(self, converted, increments):
        continual = continual_meta(read_checkpoint(converted), converted)
        scenario = {**continual['scenario'], 'increments': increments, 'step': 1}
        check_previous_step(continual, Scenario.from_config(scenario), converted)


class TestOtherLayouts:
    @pytest.fixture
    def expected(self, ours):
        return ours['state_dict']

    def test_single_classifier(self, theirs, expected, config, tmp_path):
        model = single_classifier(theirs)
        source = save(tmp_path / 'in.pth', model)
        convert_from_detectron2(source, tmp_path / 'out.pth', config=config)
        assert equal(read_checkpoint(tmp_path / 'out.pth')['state_dict'], expected)
        convert_to_detectron2(tmp_path / 'out.pth', tmp_path / 'back.pth')
        back = torch.load(tmp_path / 'back.pth', weights_only=True)
        assert equal(dict(back['model']), model)
        assert 'iteration' not in back

    def test_either_classifier_can_be_asked_for(self, converted, theirs, tmp_path):
        convert_to_detectron2(converted, tmp_path / 'back.pth', classifier='single')
        back = torch.load(tmp_path / 'back.pth', weights_only=True)
        assert equal(dict(back['model']), single_classifier(theirs))
        with pytest.raises(ValueError, match="classifier: expected one of .*got 'both'"):
            convert_to_detectron2(converted, tmp_path / 'x.pth', classifier='both')

    def test_model_zoo_file(self, theirs, expected, config, tmp_path):
        model = single_classifier(theirs)
        num_classes = len(model[f'{CLASSIFIER}.bias'])
        weights = torch.cat([torch.ones(num_classes - 1), torch.tensor([0.1])])
        model['criterion.empty_weight'] = weights
        content = {'model': as_model_zoo(model), '__author__': 'x', 'matching_heuristics': True}
        assert 'sem_seg_head.adapter_1.weight' in content['model']
        (tmp_path / 'in.pkl').write_bytes(pickle.dumps(content, protocol=4))
        done = convert_from_detectron2(tmp_path / 'in.pkl', tmp_path / 'out.pth', config=config)
        assert done.left_out == ('__author__', 'matching_heuristics')
        found = read_checkpoint(tmp_path / 'out.pth')
        assert equal(found['state_dict'], expected)
        assert found['meta']['iter'] == found['meta']['continual']['max_iters'] == 0
        # the way back gives the present names, and the weights of the loss
        convert_to_detectron2(tmp_path / 'out.pth', tmp_path / 'back.pth')
        back = torch.load(tmp_path / 'back.pth', weights_only=True)
        assert equal(dict(back['model']), model)

    def test_channel_order(self, theirs, expected, config, tmp_path):
        save(tmp_path / 'in.pth', theirs)
        done = convert_from_detectron2(
            tmp_path / 'in.pth', tmp_path / 'out.pth', config=config, input_format='BGR'
        )
        assert done.flipped_stem
        found = read_checkpoint(tmp_path / 'out.pth')['state_dict']
        name = 'backbone.conv1.weight'
        assert torch.equal(found[name], expected[name].flip(1))
        assert equal({**found, name: expected[name]}, expected)
        convert_to_detectron2(tmp_path / 'out.pth', tmp_path / 'back.pth')
        back = torch.load(tmp_path / 'back.pth', weights_only=True)
        assert equal(dict(back['model']), dict(theirs))

    def test_channel_order_of_the_config(self, theirs, expected, step, tmp_path):
        config = official.write_config(
            tmp_path, extra='model.update(data_preprocessor=dict(bgr_to_rgb=False))'
        )
        save(tmp_path / 'in.pth', theirs)
        for input_format, flipped in (('BGR', False), ('RGB', True)):
            done = convert_from_detectron2(
                tmp_path / 'in.pth', tmp_path / 'o.pth', config=config, input_format=input_format
            )
            assert done.flipped_stem == flipped
        with pytest.raises(ValueError, match="input_format: expected .*got 'GRB'"):
            convert_from_detectron2('in', 'out', config=config, input_format='GRB')


BACKBONES = {
    'R50': dict(),
    'R101': dict(
        backbone='dict(depth=101, base_channels=8, stem_channels=8, init_cfg=None,\n'
        "norm_cfg=dict(type='SyncBN', requires_grad=True), norm_eval=False)"
    ),
    'Swin': dict(backbone=official.SWIN, in_channels=SWIN_CHANNELS),
}


@pytest.fixture(params=BACKBONES)
def trained(request, tmp_path):
    """A config with a backbone, and a checkpoint of it as a training writes it."""
    config = official.write_config(tmp_path, **BACKBONES[request.param])
    state_dict = official.build(config, 1).state_dict()
    generator = torch.Generator().manual_seed(0)
    for name, tensor in state_dict.items():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
        elif name.endswith('num_batches_tracked') and request.param == 'R101':
            tensor.fill_(7)
    path = tmp_path / 'iter_5.pth'
    scenario = scenario_of(load_config(Request(config=str(config)), 1))
    meta = dict(iter=5, continual=dict(step=1, scenario=scenario.to_dict(), teacher=None))
    torch.save(dict(meta=meta, state_dict=state_dict), path)
    return request.param, config, path


class TestBackbones:
    @pytest.fixture
    def exported(self, trained, tmp_path):
        convert_to_detectron2(trained[2], tmp_path / 'exported.pth')
        return torch.load(tmp_path / 'exported.pth', weights_only=True)

    def test_there_and_back_is_exact(self, trained, exported, tmp_path):
        _, config, path = trained
        convert_from_detectron2(tmp_path / 'exported.pth', tmp_path / 'back.pth', config=config)
        found, expected = read_checkpoint(tmp_path / 'back.pth'), read_checkpoint(path)
        assert equal(found['state_dict'], expected['state_dict'])
        assert found['meta']['iter'] == 5
        assert exported['iteration'] == 4
        scenario = expected['meta']['continual']['scenario']
        assert found['meta']['continual']['scenario'] == scenario

    def test_names(self, trained, exported, tmp_path):
        backbone, _, path = trained
        names = set(exported['model'])
        released = set(torch.load(official.checkpoint_path(1), weights_only=True)['model'])
        heads = {name for name in released if not name.startswith('backbone.')}
        assert {name for name in names if not name.startswith('backbone.')} == heads
        found = {name for name in names if name.startswith('backbone.')}
        if backbone == 'R50':
            assert found == released - heads
        elif backbone == 'R101':
            counters = {x for x in found if x.endswith('.num_batches_tracked')}
            # stem, 33 blocks of 3 and 4 shortcuts: weight and four of a norm each
            assert (len(counters), len(found - counters)) == (104, 520)
            assert released - heads < found
            assert 'backbone.res4.22.conv3.norm.running_var' in found
            assert 'backbone.res4.23.conv1.weight' not in found
            assert exported['model']._metadata['backbone.stem.conv1.norm']['version'] == 2
        else:
            block = {
                f'backbone.layers.1.blocks.0.{x}'
                for x in (
                    *(f'{module}.{leaf}'
                      for module in (
                          'norm1', 'attn.qkv', 'attn.proj', 'norm2', 'mlp.fc1', 'mlp.fc2'
                      )
                      for leaf in ('weight', 'bias')),
                    'attn.relative_position_bias_table',
                    'attn.relative_position_index',
                )
            }  # fmt: skip
            assert {x for x in found if x.startswith('backbone.layers.1.blocks.0.')} == block
            rest = {x for x in found if '.blocks.' not in x}
            assert rest == {
                *(f'backbone.patch_embed.{x}.{leaf}'
                  for x in ('proj', 'norm') for leaf in ('weight', 'bias')),
                *(f'backbone.norm{i}.{leaf}' for i in range(4) for leaf in ('weight', 'bias')),
                *(f'backbone.layers.{i}.downsample.{leaf}'
                  for i in range(3) for leaf in ('norm.weight', 'norm.bias', 'reduction.weight')),
            }  # fmt: skip

    @pytest.mark.parametrize('trained', ['Swin'], indirect=True)
    def test_swin_agrees_with_mmdets_own_converter(self, trained, exported):
        backbone = {
            name.removeprefix('backbone.'): x
            for name, x in exported['model'].items()
            if name.startswith('backbone.')
        }
        expected = read_checkpoint(trained[2])['state_dict']
        found = swin_converter(backbone)
        assert found.keys() == {name for name in expected if name.startswith('backbone.')}
        assert all(torch.equal(x, expected[name]) for name, x in found.items())

    @pytest.mark.parametrize('trained', ['Swin'], indirect=True)
    def test_swin_position_index_is_that_of_swin(self, trained, exported):
        window = 4
        row, column = np.divmod(np.arange(window * window), window)
        rows = row[:, None] - row + window - 1
        columns = column[:, None] - column + window - 1
        found = exported['model']['backbone.layers.3.blocks.1.attn.relative_position_index']
        np.testing.assert_array_equal(found.numpy(), rows * (2 * window - 1) + columns)


class TestWhatDoesNotFit:
    """Each ends in an error that says what to do, and nothing is written."""

    @pytest.fixture
    def theirs(self):
        return dict(torch.load(official.checkpoint_path(1), weights_only=True)['model'])

    @pytest.fixture
    def refuse(self, config, tmp_path):
        def check(model, message, error=RuntimeError, config=config, **arguments):
            source, destination = tmp_path / 'in.pth', tmp_path / 'made' / 'out.pth'
            save(source, model)
            with pytest.raises(error, match=message):
                convert_from_detectron2(source, destination, config=config, **arguments)
            assert not destination.parent.exists()

        return check

    def test_another_backbone(self, theirs, refuse, tmp_path):
        config = official.write_config(
            tmp_path, backbone=official.SWIN, in_channels=SWIN_CHANNELS, name='swin.py'
        )
        refuse(
            theirs,
            r'(?s)in.pth does not fit the model of .*swin.py:.*another architecture: ResNet of '
            r'3-4-6-3 blocks and 8 channels, 2 encoder layers, 3 decoder layers, 16 queries of 64 '
            r'channels; expected: Swin of 2-2-2-2 blocks and 16 .*unused \(265\): backbone.stem'
            r'.*and 225 more.*missing .*: backbone.patch_embed.proj.weight.*pass the --config',
            config=config,
        )

    def test_deeper_backbone(self, theirs, refuse, tmp_path):
        config = official.write_config(tmp_path, backbone=official.R50.replace('(', '(depth=101, '))
        refuse(
            theirs,
            r'(?s)ResNet of 3-4-6-3 .*expected: ResNet of 3-4-23-3 .*missing \(255\): '
            r'backbone.res4.6',
            config=config,
        )

    def test_config_with_a_module_that_theirs_does_not_have(self, theirs, refuse, tmp_path):
        config = official.write_config(
            tmp_path, backbone=official.R50.replace('(', '(deep_stem=True, ')
        )
        refuse(
            theirs,
            r'(?s)unused \(5\): backbone.stem.conv1.weight.*missing \(15\): backbone.stem.0.weight',
            config=config,
        )

    def test_same_name_without_a_rule_is_not_the_same_tensor(self):
        # both programs call it so, but they lay it out differently
        tensors = {'backbone.absolute_pos_embed': torch.ones(1, 16, 16)}
        comparison = compare(tensors, tensors)
        assert comparison.unused == comparison.missing == tuple(tensors)

    def test_not_a_mask2former(self, refuse):
        refuse(
            {'stem.conv1.weight': torch.ones(1)},
            r"expected a Mask2Former, .*found tensors such as \['stem.conv1.weight'\]; a backbone",
        )

    def test_unknown_tensor(self, theirs, refuse):
        theirs['sem_seg_head.predictor.prompt_feat.0.weight'] = torch.ones(2, 64)
        refuse(
            theirs,
            r'unused \(1\): sem_seg_head.predictor.prompt_feat.0.weight\n.*--allow',
        )

    def test_tensor_of_the_loss_is_not_any_tensor_of_the_loss(self, theirs, refuse):
        refuse({**theirs, 'criterion.other': torch.ones(1)}, r'unused \(1\): criterion.other\n')

    def test_missing_tensor(self, theirs, refuse):
        del theirs['sem_seg_head.predictor.query_embed.weight']
        refuse(theirs, r'missing \(1\): sem_seg_head.predictor.query_embed.weight\n.*--allow')

    def test_shape(self, theirs, refuse):
        theirs['sem_seg_head.predictor.query_feat.weight'] = torch.ones(20, 64)
        refuse(
            theirs,
            r'(?s)20 queries .*expected.*16 queries.*wrong \(1\): '
            r'sem_seg_head.predictor.query_feat.weight is \(20, 64\), expected \(16, 64\)',
            # a shape cannot be allowed
            allow=['sem_seg_head.predictor.query_feat.weight'],
        )

    def test_type(self, theirs, refuse):
        theirs['backbone.stem.conv1.weight'] = theirs['backbone.stem.conv1.weight'].half()
        refuse(theirs, r'backbone.stem.conv1.weight is torch.float16, expected torch.float32')

    def test_increments(self, theirs, refuse, tmp_path):
        config = official.write_config(tmp_path, increments=(5, 4))
        refuse(
            theirs,
            r'its classifier has \[6, 3\] classes, step by step .*but the scenario of .* teaches '
            r'\[5, 4\], step by step; pass the --config of its scenario',
            config=config,
        )

    def test_more_steps_than_the_scenario(self, theirs, refuse):
        for leaf, shape in (('weight', (1, 64)), ('bias', (1,))):
            theirs[f'{CLASSIFIER}.cls.3.{leaf}'] = torch.ones(shape)
        refuse(theirs, r'\[6, 3, 1\] classes, .*teaches \[6, 3\]')

    def test_single_classifier(self, theirs, refuse):
        model = single_classifier(theirs)
        for leaf in ('weight', 'bias'):
            model[f'{CLASSIFIER}.{leaf}'] = model[f'{CLASSIFIER}.{leaf}'][2:]
        refuse(
            model,
            r'its classifier has 7 classes \(class_embed.weight has 8 rows\), .*teaches \[6, 3\]',
        )

    def test_single_classifier_with_another_bias(self, theirs, refuse):
        model = single_classifier(theirs)
        model[f'{CLASSIFIER}.bias'] = model[f'{CLASSIFIER}.bias'][2:]
        refuse(model, r'class_embed.bias is \(8,\), expected \(10,\)')

    @pytest.mark.parametrize('single', [False, True])
    def test_step(self, theirs, refuse, single):
        refuse(
            single_classifier(theirs) if single else theirs,
            r'by step 0 there are 6 classes, but its classifier has .*, which is step 1; pass '
            r'--step 1',
            step=0,
        )

    def test_step_out_of_range(self, theirs, refuse):
        refuse(theirs, r'step: expected 0 to 1, got 2', error=ValueError, step=2)

    def test_old_and_new_name(self, theirs, refuse):
        old = 'sem_seg_head.mask_features.bias'
        theirs[old] = theirs['sem_seg_head.pixel_decoder.mask_features.bias']
        refuse(theirs, r'has sem_seg_head.pixel_decoder.mask_features.bias twice')

    def test_what_is_allowed_is_said(self, theirs, config, tmp_path):
        del theirs['sem_seg_head.predictor.query_embed.weight']
        theirs['pixel_mean'] = torch.ones(3)
        theirs['extra.one'] = theirs['extra.two'] = torch.ones(3)
        source = save(tmp_path / 'in.pth', theirs, optimizer={})
        done = convert_from_detectron2(
            source,
            tmp_path / 'out.pth',
            config=config,
            step=1,
            allow=['pixel_mean', 'extra.*', 'sem_seg_head.predictor.query_embed.weight'],
        )
        assert done.left_out == ('pixel_mean', 'extra.one', 'extra.two', 'optimizer')
        assert done.initial == ('sem_seg_head.predictor.query_embed.weight',)
        assert done.num_tensors == len(theirs) - 3
        model = official.build(config, 1)
        model.load_state_dict(read_checkpoint(tmp_path / 'out.pth')['state_dict'], strict=True)


class TestExportThatDoesNotFit:
    @pytest.mark.parametrize(
        ('state_dict', 'message'),
        [
            ({'panoptic_head.bbox_head.weight': 1}, 'no place for panoptic_head.bbox_head.weight'),
            ({'backbone.conv1.weight': 1}, 'it has no panoptic_head.cls_embed.no_object.weight'),
        ],
    )
    def test_another_model(self, state_dict, message, tmp_path):
        state_dict = {name: torch.ones(1) for name in state_dict}
        torch.save(dict(meta={}, state_dict=state_dict), tmp_path / 'in.pth')
        with pytest.raises(
            RuntimeError, match=f'in.pth: expected a ContinualMaskFormer.*{message}'
        ):
            convert_to_detectron2(tmp_path / 'in.pth', tmp_path / 'out.pth')
        assert not (tmp_path / 'out.pth').exists()

    def test_detectron2_checkpoint(self, tmp_path):
        source = official.checkpoint_path(0)
        with pytest.raises(RuntimeError, match='it looks like a file of detectron2'):
            convert_to_detectron2(source, tmp_path / 'out.pth')
