"""Which methods have the same model at step 0."""

import os
from pathlib import Path

import pytest

from mmcomformer.comparison.leaves import find_leaves, methods_of, scenarios_of
from mmcomformer.comparison.plan import read_entry

pytestmark = pytest.mark.families

CONFIGS = Path(__file__).parents[2] / 'configs'
SHARED = ('finetune', 'mib', 'plop', 'comformer')


@pytest.fixture(scope='module')
def entries():
    leaves = find_leaves(CONFIGS, 'shapes_6-3', SHARED)
    return {method: read_entry(method, path, {}) for method, path in leaves.items()}


def test_methods_that_differ_in_what_acts_later(entries):
    for method in SHARED[1:]:
        assert entries[method].first_step == entries['finetune'].first_step, method
    # they do differ
    assert entries['mib'].settings != entries['finetune'].settings


def test_a_memory_is_empty_at_first(entries):
    other = read_entry('finetune', CONFIGS / 'finetune_shapes_6-3.py', {'memory.size': 3})
    assert other.first_step == entries['finetune'].first_step
    assert other.settings != entries['finetune'].settings


@pytest.mark.parametrize(
    ('scenario', 'methods'),
    [
        ('shapes_semantic_6-3', SHARED),
        ('shapes_semantic_6-3', ('per_pixel', 'per_pixel_mib', 'per_pixel_plop')),
    ],
)
def test_semantic_methods(scenario, methods):
    leaves = find_leaves(CONFIGS, scenario, methods)
    first, *others = [read_entry(method, path, {}) for method, path in leaves.items()]
    for other in others:
        assert other.first_step == first.first_step
        assert other.settings != first.settings


@pytest.mark.parametrize(
    'options',
    [
        {'model.panoptic_head.num_queries': 9},
        {'model.panoptic_head.loss_cls.gamma': 0.5},
        {'train_dataloader.batch_size': 3},
        {'train_cfg.max_iters': 7},
    ],
)
def test_methods_that_differ_at_once(entries, options):
    other = read_entry('finetune', CONFIGS / 'finetune_shapes_6-3.py', options)
    assert other.first_step != entries['finetune'].first_step


def test_entry(entries):
    entry = entries['comformer']
    assert entry.iters == (1000, 500, 500)
    assert entry.scenario.increments == (6, 3, 3)
    assert set(entry.settings) == {'step 0', 'step 2'}


class TestChosenByMethod:
    def test_entry(self, monkeypatch):
        monkeypatch.setenv('METHOD', 'plop')
        anchor = CONFIGS / 'comformer_shapes_6-3.py'
        for method in ('comformer', 'mib'):
            chosen = read_entry(method, anchor, {})
            own = read_entry(method, CONFIGS / f'{method}_shapes_6-3.py', {})
            assert chosen.first_step == own.first_step
            assert chosen.settings == own.settings
        assert os.environ['METHOD'] == 'plop'

    def test_config_with_a_method_of_its_own(self, tmp_path):
        path = tmp_path / 'comformer_pets.py'
        path.write_text(f'_base_ = {str(CONFIGS / "comformer_shapes_6-3.py")!r}\n')
        assert read_entry('plop', path, {}).method == 'plop'
        text = (CONFIGS / 'comformer_shapes_6-3.py').read_text()
        text = text.replace('{{$METHOD:comformer}}', 'comformer')
        path.write_text(text.replace("'_base_/", f"'{CONFIGS}/_base_/"))
        message = r'pets.py: its method is comformer whatever METHOD says; write .*METHOD:comformer'
        with pytest.raises(ValueError, match=message):
            read_entry('plop', path, {})


class TestLeaves:
    def test_found(self):
        leaves = find_leaves(CONFIGS, 'shapes_semantic_6-3', ['joint', 'comformer'])
        assert list(leaves) == ['joint', 'comformer']
        assert leaves['joint'] == CONFIGS / 'joint_shapes_semantic_6-3.py'

    def test_methods_are_those_with_a_base(self):
        methods = methods_of(CONFIGS, 'shapes_6-3')
        assert {*SHARED, 'joint', 'ours_replay'} < set(methods)
        assert not [method for method in methods if method.endswith('_semantic')]
        # comformer_ade_semantic_100-50 is no method "comformer_ade_semantic" of 100-50
        assert methods_of(CONFIGS, '100-50') == []
        assert 'shapes_6-3' in scenarios_of(CONFIGS)

    def test_without_a_config_of_its_own(self):
        leaves = find_leaves(CONFIGS, 'ade_instances_50-10', ['comformer', 'mib', 'joint'])
        assert {path.name for path in leaves.values()} == {'comformer_ade_instances_50-10.py'}

    def test_folder_of_ones_own(self, tmp_path):
        (tmp_path / 'balconpas_pets.py').touch()
        assert methods_of(tmp_path, 'pets') == []
        (tmp_path / 'comformer_pets.py').touch()
        assert methods_of(tmp_path, 'pets') == methods_of(CONFIGS, 'shapes_6-3')
        (tmp_path / '_base_' / 'methods').mkdir(parents=True)
        (tmp_path / '_base_' / 'methods' / 'mine.py').touch()
        found = find_leaves(tmp_path, 'pets', ['balconpas', 'mine', 'comformer'])
        names = [path.name for path in found.values()]
        assert names == ['balconpas_pets.py', 'comformer_pets.py', 'comformer_pets.py']

    def test_unknown_scenario(self):
        with pytest.raises(ValueError, match="scenario 'shapes_9-9': .* one of .*shapes_6-3"):
            find_leaves(CONFIGS, 'shapes_9-9', ['comformer'])

    def test_unknown_method(self):
        with pytest.raises(ValueError, match=r'--methods comfromer: no such method; .*comformer, '):
            find_leaves(CONFIGS, 'shapes_6-3', ['finetune', 'comfromer'])

    def test_twice(self):
        with pytest.raises(ValueError, match='a method is given twice'):
            find_leaves(CONFIGS, 'shapes_6-3', ['mib', 'mib'])
