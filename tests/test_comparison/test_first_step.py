"""Which methods have the same model at step 0."""

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


class TestLeaves:
    def test_found(self):
        leaves = find_leaves(CONFIGS, 'shapes_semantic_6-3', ['joint', 'comformer'])
        assert list(leaves) == ['joint', 'comformer']
        assert leaves['joint'] == CONFIGS / 'joint_shapes_semantic_6-3.py'

    def test_methods_are_those_with_a_base(self):
        assert set(SHARED) < set(methods_of(CONFIGS, 'shapes_6-3'))
        # comformer_ade_semantic_100-50 is no method "comformer_ade_semantic" of 100-50
        assert methods_of(CONFIGS, '100-50') == []
        assert 'shapes_6-3' in scenarios_of(CONFIGS)

    def test_folder_of_ones_own(self, tmp_path):
        for name in ('comformer_pets', 'balconpas_pets', 'notes_pets', 'mine_pets'):
            (tmp_path / f'{name}.py').touch()
        assert methods_of(tmp_path, 'pets') == ['balconpas', 'comformer']
        (tmp_path / '_base_' / 'methods').mkdir(parents=True)
        (tmp_path / '_base_' / 'methods' / 'mine.py').touch()
        assert methods_of(tmp_path, 'pets') == ['balconpas', 'comformer', 'mine']

    def test_unknown_scenario(self):
        with pytest.raises(ValueError, match="scenario 'shapes_9-9': .* one of .*shapes_6-3"):
            find_leaves(CONFIGS, 'shapes_9-9', ['comformer'])

    def test_unknown_method(self):
        with pytest.raises(ValueError, match=r'--methods comfromer: no config .* comformer, '):
            find_leaves(CONFIGS, 'shapes_6-3', ['finetune', 'comfromer'])

    def test_twice(self):
        with pytest.raises(ValueError, match='a method is given twice'):
            find_leaves(CONFIGS, 'shapes_6-3', ['mib', 'mib'])
