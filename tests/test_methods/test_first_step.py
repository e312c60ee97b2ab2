"""Methods that differ only in what holds against forgetting learn the same model at step 0."""

import pytest
import tiny
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope

from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.scenario_config import scenario_of

QUERIES = ['finetune', 'mib', 'plop', 'comformer']
SIGMOID = ['balconpas', 'ours']
PIXELS = ['per_pixel', 'per_pixel_mib', 'per_pixel_plop']


def batch(semantic, labels):
    """Images of 64 x 64 with two classes."""
    torch.manual_seed(1)
    images = torch.randn(2, 3, 64, 64)
    if not semantic:
        return images, tiny.samples(labels, labels[:1])
    label_map = torch.full((64, 64), 254)
    label_map[:20, :30], label_map[40:] = labels
    samples = tiny.label_samples(label_map, label_map.T)
    for sample in samples:
        sample.set_metainfo(dict(hidden_label=254))
    return images, samples


def weights_after_two_iterations(name):
    """Train the model of a config at step 0 and return all its weights."""
    semantic = 'semantic' in name
    head = 'decode_head' if semantic else 'panoptic_head'
    options = {f'model.{head}.num_queries': 8, 'optim_wrapper.type': 'OptimWrapper'}
    if not name.startswith('per_pixel'):
        options['model.train_cfg.num_points'] = 64
    cfg = load_config(Request(config=str(tiny.CONFIGS / name), cfg_options=options), 0)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
        model.init_weights()
        model.train()
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    images, samples = batch(semantic, scenario_of(cfg).learning_to_label[:2])
    torch.manual_seed(2)
    for _ in range(2):
        wrapper.update_params(sum(model.loss(images, samples).values()))
    return model.state_dict()


@pytest.mark.parametrize(
    ('methods', 'scenario'),
    [
        (QUERIES, 'shapes_6-3'),
        (QUERIES, 'shapes_semantic_6-3'),
        (SIGMOID, 'shapes_6-3'),
        (PIXELS, 'shapes_semantic_6-3'),
    ],
)
def test_weights_are_the_same_to_the_last_bit(methods, scenario):
    first, *others = [weights_after_two_iterations(f'{name}_{scenario}.py') for name in methods]
    for name, other in zip(methods[1:], others, strict=True):
        differing = [key for key, value in other.items() if not torch.equal(value, first[key])]
        assert set(other) == set(first)
        assert differing == [], name
