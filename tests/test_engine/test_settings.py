"""Which settings count as those of a run, and how their differences read."""

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

import mmcomformer.engine.hooks  # noqa: F401  (registers)
from mmcomformer.engine.settings import TOTAL_BATCH, Difference, differences, settings_of


@pytest.mark.parametrize(
    ('old', 'new', 'expected'),
    [
        ({'a': 1}, {'a': 1.0}, []),
        ({'a': {'b': 1}}, {'a': {'b': 2}}, ['a.b was 1 and is 2']),
        ({'a': 1}, {}, ['a was 1 and is None']),
        ({}, {'a': 1}, ['a was None and is 1']),
        ({'a': [1, 2]}, {'a': [1, 3]}, ['a[1] was 2 and is 3']),
        ({'a': [1]}, {'a': [1, 3]}, ['a was [1] and is [1, 3]']),
        ({'a': {'b': 1}}, {'a': None}, ["a was {'b': 1} and is None"]),
        ({'a': [{'b': 'x'}]}, {'a': [{'b': 'y'}]}, ["a[0].b was 'x' and is 'y'"]),
    ],
)
def test_differences(old, new, expected):
    assert [str(item) for item in differences(old, new)] == expected


def test_long_values_are_cut_in_messages():
    assert str(Difference('a', 'x' * 200, 1)).endswith('... and is 1')
    assert len(str(Difference('a', 'x' * 200, 'y' * 200))) < 200


@HOOKS.register_module()
class ForeignHook(Hook):
    """Does nothing that is known here."""


def test_what_counts():
    cfg = Config(
        {
            'model': {'type': 'A', 'init_cfg': {'type': 'Pretrained'}, 'scenario': {'step': 0}},
            'train_dataloader': {
                'batch_size': 4,
                'num_workers': 2,
                'dataset': {
                    'data_root': '/x',
                    'ann_file': 'some/where/a.json',
                    'images': [f'{i}.jpg' for i in range(300)],
                    'pipeline': [{'type': 'Flip', 'scale': (1, 2)}],
                },
            },
            'custom_hooks': [
                {'type': 'SummaryHook', 'method': 'a'},
                {'type': 'PreviousStepHook', 'teacher_ckpt': 'x.pth'},
                {'type': 'SafeCheckpointHook', 'interval': 5},
                {'type': 'ForeignHook', 'value': 1},
                {'type': 'EMAHook', 'momentum': 0.1},
            ],
            'default_hooks': {'logger': {'type': 'LoggerHook'}},
            'log_level': 'INFO',
            'randomness': {'seed': 3, 'deterministic': True},
        }
    )
    settings = settings_of(cfg)
    images = settings['train_dataloader']['dataset'].pop('images')
    assert images.startswith('300 items, ')
    assert settings == {
        'model': {'type': 'A'},
        'train_dataloader': {
            'dataset': {'ann_file': 'a.json', 'pipeline': [{'type': 'Flip', 'scale': [1, 2]}]}
        },
        'custom_hooks': {
            'SummaryHook': {'method': 'a'},
            'PreviousStepHook': {},
            'EMAHook': {'momentum': 0.1},
        },
        'randomness': {'seed': 3},
        TOTAL_BATCH: 4,
    }


def test_processes_and_batch_make_one_number(monkeypatch):
    """Two processes with 2 images see the images that one with 4 sees."""
    cfg = Config({'train_dataloader': {'batch_size': 2}})
    monkeypatch.setattr('mmcomformer.engine.settings.get_world_size', lambda: 2)
    assert settings_of(cfg)[TOTAL_BATCH] == 4
