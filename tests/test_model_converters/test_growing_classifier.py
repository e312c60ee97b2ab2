"""Checkpoints with a layer of classes per step and no-object in the first (BalConpas)."""

import official
import pytest
import torch

from mmcomformer.engine.checkpoint import check_previous_step, continual_meta, read_checkpoint
from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.scenario_config import scenario_of
from mmcomformer.model_converters import convert_from_detectron2, convert_to_detectron2
from mmcomformer.model_converters.layouts import growing_layers, join_growing, split_growing
from mmcomformer.model_converters.tensor_names import CLASSIFIER

pytestmark = pytest.mark.families

# what the layers are called, and the number of the first
NAMES = [('cls.', 0), ('', 0), ('layers.', 1)]


def growing(model, name='cls.', first=0):
    """Give a model with an incremental classifier the growing one, by hand."""
    model = dict(model)
    taken = {key: model.pop(key) for key in list(model) if key.startswith(CLASSIFIER)}
    for leaf in ('weight', 'bias'):
        rows = [taken[f'{CLASSIFIER}cls.{i}.{leaf}'] for i in range(len(taken) // 2)]
        rows[:2] = [torch.cat([rows[1], rows[0]])]
        for step, part in enumerate(rows):
            model[f'{CLASSIFIER}{name}{first + step}.{leaf}'] = part
    return model


def equal(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(x, other[name]) for name, x in one.items()
    )


def save(path, model, **others):
    torch.save({'model': model, **others}, path)
    return path


def read_theirs(path):
    return dict(torch.load(path, weights_only=True)['model'])


def test_rows_by_hand():
    incremental = {
        f'{CLASSIFIER}cls.0.weight': torch.tensor([[9.0]]),
        f'{CLASSIFIER}cls.1.weight': torch.tensor([[1.0], [2.0]]),
        f'{CLASSIFIER}cls.2.weight': torch.tensor([[3.0]]),
        f'{CLASSIFIER}cls.0.bias': torch.tensor([9.0]),
        f'{CLASSIFIER}cls.1.bias': torch.tensor([1.0, 2.0]),
        f'{CLASSIFIER}cls.2.bias': torch.tensor([3.0]),
        'other': torch.ones(1),
    }
    assert growing_layers(incremental) == ()
    layers = (f'{CLASSIFIER}cls.0', f'{CLASSIFIER}cls.1')
    joined = join_growing(incremental, layers)
    assert growing_layers(joined) == layers
    assert joined[f'{CLASSIFIER}cls.0.bias'].tolist() == [1, 2, 9]
    assert joined[f'{CLASSIFIER}cls.0.weight'].tolist() == [[1], [2], [9]]
    assert joined[f'{CLASSIFIER}cls.1.weight'].tolist() == [[3]]
    assert joined.keys() == {f'{x}.{leaf}' for x in layers for leaf in ('weight', 'bias')} | {
        'other'
    }
    assert equal(split_growing(joined, layers), incremental)


def test_layers_are_ordered_by_number():
    sizes = {f'{CLASSIFIER}cls.{i}.weight': torch.ones(3, 2) for i in (10, 2, *range(3, 10), 0, 1)}
    assert growing_layers(sizes) == tuple(f'{CLASSIFIER}cls.{i}' for i in range(11))


@pytest.mark.parametrize(
    'names',
    [
        ['weight'],
        ['cls.0.weight', 'cls.2.weight'],
        ['cls.0.weight', 'new.1.weight'],
        ['cls.0.layers.0.weight'],
        # CoMFormer's without no-object
        ['cls.1.weight', 'cls.2.weight'],
        ['cls.0.bias', 'cls.1.weight'],
        ['new.weight', 'new.bias'],
        [],
    ],
)
def test_other_classifiers(names):
    assert growing_layers({f'{CLASSIFIER}{name}': torch.ones(3, 2) for name in names}) == ()


@pytest.mark.parametrize('names', NAMES)
def test_there_and_back(names, theirs, ours, config, step, tmp_path):
    """Of every step; what comes is that of the incremental classifier with the same rows."""
    model = growing(theirs, *names)
    source = save(tmp_path / 'in.pth', model, iteration=99)
    done = convert_from_detectron2(source, tmp_path / 'out.pth', config=config)
    assert (done.scenario.step, done.num_tensors) == (step, len(theirs))
    found = read_checkpoint(tmp_path / 'out.pth')
    assert equal(found['state_dict'], ours['state_dict'])
    official.build(config, step).load_state_dict(found['state_dict'], strict=True)
    assert convert_to_detectron2(tmp_path / 'out.pth', tmp_path / 'back.pth') == len(model)
    assert equal(read_theirs(tmp_path / 'back.pth'), model)


def test_it_can_be_asked_for(theirs, converted, tmp_path):
    convert_to_detectron2(converted, tmp_path / 'back.pth', classifier='growing')
    assert equal(read_theirs(tmp_path / 'back.pth'), growing(theirs))


def test_either_other_classifier_can_be_asked_for(theirs, config, tmp_path):
    source = save(tmp_path / 'in.pth', growing(theirs))
    convert_from_detectron2(source, tmp_path / 'out.pth', config=config)
    convert_to_detectron2(tmp_path / 'out.pth', tmp_path / 'back.pth', classifier='incremental')
    assert equal(read_theirs(tmp_path / 'back.pth'), dict(theirs))


@pytest.mark.parametrize('step', [1], indirect=True)
def test_semantic(theirs, tmp_path):
    config = official.write_semantic_config(tmp_path)
    source = save(tmp_path / 'in.pth', growing(theirs))
    convert_from_detectron2(source, tmp_path / 'out.pth', config=config)
    official.build(config, 1).load_state_dict(
        read_checkpoint(tmp_path / 'out.pth')['state_dict'], strict=True
    )
    convert_to_detectron2(tmp_path / 'out.pth', tmp_path / 'back.pth')
    assert equal(read_theirs(tmp_path / 'back.pth'), growing(theirs))


@pytest.mark.parametrize('step', [0], indirect=True)
def test_next_step_may_start_from_it(theirs, config, tmp_path):
    source = save(tmp_path / 'in.pth', growing(theirs))
    convert_from_detectron2(source, tmp_path / 'out.pth', config=config)
    scenario = scenario_of(load_config(Request(config=str(config)), 1))
    path = tmp_path / 'out.pth'
    check_previous_step(continual_meta(read_checkpoint(path), path), scenario, path)


@pytest.mark.parametrize('step', [1], indirect=True)
class TestWhatDoesNotFit:
    @pytest.fixture
    def refuse(self, theirs, config, tmp_path):
        def check(change, message, **arguments):
            model = growing(theirs)
            change(model)
            source = save(tmp_path / 'in.pth', model)
            with pytest.raises(RuntimeError, match=message):
                convert_from_detectron2(source, tmp_path / 'o.pth', config=config, **arguments)
            assert not (tmp_path / 'o.pth').exists()

        return check

    def test_another_scenario(self, refuse):
        def change(model):
            for leaf in ('weight', 'bias'):
                model[f'{CLASSIFIER}cls.0.{leaf}'] = model[f'{CLASSIFIER}cls.0.{leaf}'][1:]

        refuse(change, r'its classifier has \[5, 3\] classes, step by step .*teaches \[6, 3\]')

    def test_another_step(self, refuse):
        refuse(lambda model: None, 'by step 0 there are 6 classes, .*which is step 1', step=0)

    @pytest.mark.parametrize(('layer', 'rows', 'leaf'), [(0, 7, 'bias'), (1, 3, 'weight')])
    def test_a_part_is_missing(self, refuse, layer, rows, leaf):
        shapes = {'bias': rf'\({rows}, 64\) and .* is None', 'weight': rf'None .* is \({rows},\)'}
        refuse(
            lambda model: model.pop(f'{CLASSIFIER}cls.{layer}.{leaf}'),
            rf'in.pth: .*cls.{layer}.weight is {shapes[leaf]}; expected one value',
        )

    def test_a_bias_of_another_length(self, refuse):
        def change(model):
            model[f'{CLASSIFIER}cls.0.bias'] = model[f'{CLASSIFIER}cls.0.bias'][1:]

        refuse(change, r'cls.0.weight is \(7, 64\) and .*cls.0.bias is \(6,\); expected one')

    def test_a_layer_is_missing(self, refuse):
        def change(model):
            for leaf in ('weight', 'bias'):
                model[f'{CLASSIFIER}cls.2.{leaf}'] = model.pop(f'{CLASSIFIER}cls.1.{leaf}')

        refuse(change, 'in.pth: expected a Mask2Former, with')
