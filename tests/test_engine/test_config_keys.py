"""Top-level keys that nothing reads."""

import pytest

from mmcomformer.engine.config_keys import READ, check_config_keys, check_option_keys

CONFIG = {
    'train_cfg': {'max_iters': 5},
    'optim_wrapper': {'optimizer': {'lr': 1}},
    'train_dataloader': {'batch_size': 8},
    'val_dataloader': {'batch_size': 1},
    'vis_backends': [],
    'visualizer': {'vis_backends': []},
}


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('trian_cfg.max_iters', r"trian_cfg.max_iters: nothing reads 'trian_cfg'; .*train_cfg\?"),
        ('max_iters', r"nothing reads 'max_iters'; did you mean train_cfg.max_iters\?"),
        ('lr', r"nothing reads 'lr'; did you mean optim_wrapper.optimizer.lr\?"),
        ('batch_size', r'mean train_dataloader.batch_size or val_dataloader.batch_size\?'),
        ('vis_backends', r'\(a variable of the config, .*; did you mean visualizer.vis_backends\?'),
        ('foo.bar', r"--cfg-options foo.bar: nothing reads 'foo'$"),
    ],
)
def test_options(option, message):
    with pytest.raises(ValueError, match=message):
        check_option_keys([option], CONFIG)


def test_options_that_are_read():
    check_option_keys(['train_cfg.max_iters', 'randomness.seed', 'scenario.setting'], CONFIG)


@pytest.mark.parametrize(
    ('key', 'meant'),
    [
        ('optim_wraper', 'optim_wrapper'),
        ('custom_hook', 'custom_hooks'),
        ('train_config', 'train_cfg'),
        ('scenarios', 'scenario'),
        ('shedule', 'schedule'),
    ],
)
def test_misspelt_keys_of_a_config(key, meant):
    with pytest.raises(
        ValueError, match=f'config a.py: nothing reads {key!r}; did you mean {meant!r}'
    ):
        check_config_keys({**CONFIG, key: 1}, 'a.py')


@pytest.mark.parametrize(
    'key', ['train_pipeline', 'test_pipeline', 'dataset_type', 'num_classes', 'names', '_schedules']
)
def test_variables_of_a_config(key):
    check_config_keys({**CONFIG, key: 1}, 'a.py')


def test_known_keys_are_no_misspellings_of_each_other():
    check_config_keys(dict.fromkeys(READ), 'a.py')
