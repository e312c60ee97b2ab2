"""One training step of the released program, with its random points: targets, losses, gradients.

First from the recorded outputs of its network, then through ours with its weights.
"""

import json

import golden
import numpy as np
import official
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import InstanceData

from mmcomformer.engine.checkpoint import read_checkpoint
from mmcomformer.model_converters import convert_from_detectron2
from mmcomformer.model_converters.tensor_names import to_ours
from mmcomformer.models import FrozenTeacher, MaskPseudoLabels, QueryOutput, matching
from mmcomformer.models import query_head as head_module
from mmcomformer.models.extra_losses import compute_extra_losses
from mmcomformer.models.targets import ImageTargets

pytestmark = pytest.mark.usefixtures('mmdet_scope')

ROOT = golden.ROOT / 'train_step'
INDEX = json.loads((ROOT / 'index.json').read_text())['cases']
# our levels, in our order
LEVELS = ('aux0', 'aux1', 'aux2', 'last')
# levels whose losses are computed first come first
LOSS_LEVELS = ('last', 'aux0', 'aux1', 'aux2')
# these cases have the weights and images of comformer, and so its network outputs
OUTPUTS_OF = {
    **dict.fromkeys(
        ('comformer_no_gt_second', 'mib', 'kd_deep', 'mask_kd', 'uce_weighted'), 'comformer'
    ),
    **{name: name for name in ('comformer', 'sigmoid', 'step0')},
}
# losses of the released program that this package does not have
NOT_OFFERED = {'kd_deep': ['loss_kd_0', 'loss_kd_1', 'loss_kd_2'], 'mask_kd': ['loss_mask_kd']}

WEIGHTED = "dict(_delete_=True, type='WeightedClassLoss')"
UNBIASED = "dict(_delete_=True, type='UnbiasedClassLoss', scenario=scenario{})"
PLAIN = UNBIASED.format(', alpha=1.0, gamma=0.0, no_object_weight=0.1')
# settings of the head, and whether there are pseudo-labels
SETTINGS = {
    'comformer': ({}, True),
    'comformer_no_gt_second': ({}, True),
    'sigmoid': (dict(loss_cls=WEIGHTED, loss_distill='dict(loss_weight=5.0)'), True),
    'step0': ({}, False),
    'step0_sigmoid': (dict(loss_cls=WEIGHTED), False),
    'mib': (
        dict(
            loss_cls=UNBIASED.format(''), loss_distill='dict(adaptive=False, loss_weight=20.0)'
        ),
        False,
    ),
    'uce_weighted': (dict(loss_cls=PLAIN, loss_distill='None'), False),
    'pod_square': (dict(loss_distill='None'), True),
    'kd_deep': (
        dict(loss_cls=WEIGHTED, loss_distill='dict(unbiased=False, loss_weight=5.0)'), False,
    ),
    'mask_kd': (dict(loss_distill='dict(temperature=0.5)'), True),
}  # fmt: skip


class Case:
    """What the released program had and did in one training step."""

    def __init__(self, name):
        self.name = name
        self.index = INDEX[name]
        self.step = self.index['step']
        self.settings, self.has_pseudo_labels = SETTINGS[name]
        self.masks = official.SIGMOID if 'sigmoid' in name else official.SOFTMASK
        self.arrays = dict(np.load(ROOT / f'{name}.npz'))
        shared = OUTPUTS_OF.get(name, name)
        self.outputs = self.arrays if shared == name else dict(np.load(ROOT / f'{shared}.npz'))

    def tensor(self, key):
        return torch.from_numpy(self.arrays[key])

    def output(self, key):
        return torch.from_numpy(self.outputs[key])

    def truth(self, image):
        """Return the ground truth of an image: learning indices and masks."""
        return self.tensor(f'gt_labels_img{image}'), self.tensor(f'gt_masks_img{image}')

    def targets(self, image):
        """Return what the image is trained on: learning indices and masks."""
        if f'target_labels_img{image}' not in self.arrays:
            return self.truth(image)
        return self.tensor(f'target_labels_img{image}'), self.tensor(f'target_masks_img{image}')

    @property
    def losses(self):
        """Weighted losses by our names, without those that are not offered."""
        names = {'ce': 'cls', 'mask': 'mask', 'dice': 'dice', 'kd': 'distill', 'pod': 'feature'}
        losses = {}
        for key, value in self.index['losses_weighted'].items():
            _, part, *level = key.split('_')
            if key not in NOT_OFFERED.get(self.name, ()):
                losses[f'd{level[0]}.loss_{names[part]}' if level else f'loss_{names[part]}'] = (
                    value
                )
        return losses

    def config(self, folder):
        lines = [
            f"model['panoptic_head']['{key}'] = {value}" for key, value in self.settings.items()
        ]
        lines.append("model['train_cfg']['num_points'] = 256")
        if self.name == 'pod_square':
            weight = self.index['weights']['loss_pod']
            lines.append(f"model['loss_feature'] = dict(type='PodLoss', loss_weight={weight})")
        return official.write_config(
            folder, masks=self.masks, extra='\n'.join(lines), name=f'{self.name}.py'
        )


def build(case, folder, step):
    """Build the model of a case, ready to train."""
    model = official.build(case.config(folder), step)
    return model.train()


class Replay:
    """Makes our code draw the recorded points, and keeps the assignments."""

    def __init__(self, case, monkeypatch):
        self.assignments, self.targets = [], []
        match_points = torch.cat(
            [
                case.tensor(f'{level}__match_points_img{image}')
                for level in LEVELS
                for image in (0, 1)
            ]
        )
        loss_points = iter([case.tensor(f'{level}__loss_points') for level in LOSS_LEVELS])

        def match(cls_scores, maps, targets, **kwargs):
            result = matching.match(cls_scores, maps, targets, **kwargs)
            self.targets = targets
            self.assignments = result[0]
            return result

        monkeypatch.setattr(matching, 'random_points', lambda *args, **kwargs: match_points)
        monkeypatch.setattr(
            head_module, 'uncertain_points', lambda *args, **kwargs: next(loss_points)
        )
        monkeypatch.setattr(head_module, 'match', match)

    def check(self, case):
        """Compare targets and assignments, which must be the same."""
        for image, target in enumerate(self.targets):
            labels, masks = case.targets(image)
            slots = torch.arange(len(target.labels) - target.num_masks)
            ours = target.masks.bool()
            if target.owner is not None:
                ours = torch.cat([ours, target.owner == slots[:, None, None]])
            assert torch.equal(target.labels[target.valid], labels)
            assert torch.equal(ours[target.valid], masks)
            # slots without a pseudo-label do not count in the released numbering
            number = (target.valid.long().cumsum(0) - 1).numpy()
            for level, assigned in zip(LEVELS, self.assignments, strict=True):
                queries, chosen = assigned[image]
                assert queries.tolist() == case.arrays[f'{level}__rows_img{image}'].tolist()
                assert number[chosen].tolist() == case.arrays[f'{level}__cols_img{image}'].tolist()


def check_losses(losses, case, tolerance):
    expected = case.losses
    assert set(losses) == set(expected)
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value, rel=tolerance), name


@pytest.mark.parametrize('name', OUTPUTS_OF)
def test_from_recorded_outputs(name, tmp_path, monkeypatch):
    case = Case(name)
    model = build(case, tmp_path, case.step)
    head = model.panoptic_head
    targets = [ImageTargets.from_masks(*case.truth(image)) for image in (0, 1)]
    teacher = None
    if case.step:
        said = (case.output(f'teacher__last__pred_{part}') for part in ('logits', 'masks'))
        teacher = QueryOutput(*((part,) for part in said))
    if case.has_pseudo_labels:
        targets = MaskPseudoLabels(head.mask_activation)(targets, teacher)
    cls_scores = [case.output(f'student__{x}__pred_logits').requires_grad_() for x in LEVELS]
    mask_preds = [case.output(f'student__{x}__pred_masks').requires_grad_() for x in LEVELS]
    replay = Replay(case, monkeypatch)
    student = QueryOutput(tuple(cls_scores), tuple(mask_preds))
    losses, assignments = head.supervised_losses(student, targets)
    losses |= compute_extra_losses(model.extra_losses, student, teacher, targets, assignments)
    replay.check(case)
    check_losses(losses, case, 1e-5)
    if name == 'comformer':
        sum(losses.values()).backward()
        for level, cls_score, mask_pred in zip(LEVELS, cls_scores, mask_preds, strict=True):
            for ours, part in ((cls_score, 'logits'), (mask_pred, 'masks')):
                key = f'student__{level}__grad_pred_{part}'
                golden.assert_agrees(ours.grad, case.tensor(key), 1e-5)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """The released weights of both steps, converted."""
    folder = tmp_path_factory.mktemp('weights')
    config = official.write_config(folder)
    converted = {}
    for step in (0, 1):
        path = folder / f'step{step}.pth'
        convert_from_detectron2(official.checkpoint_path(step), path, config=config)
        converted[step] = read_checkpoint(path)['state_dict']
    return converted


def batch_of(case, model):
    """Return the preprocessed images and samples of a case."""
    to_label = torch.tensor(model.panoptic_head.scenario.learning_to_label)
    inputs, samples = [], []
    for image in (0, 1):
        # mmdet reads images as BGR
        pixels = case.outputs if f'image{image}' not in case.arrays else case.arrays
        pixels = torch.from_numpy(pixels[f'image{image}'][..., ::-1].copy())
        inputs.append(pixels.permute(2, 0, 1))
        labels, masks = case.truth(image)
        size = tuple(pixels.shape[:2])
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size))
        sample.gt_instances = InstanceData(
            labels=to_label[labels], masks=BitmapMasks(masks.numpy().astype(np.uint8), *size)
        )
        samples.append(sample)
    batch = model.data_preprocessor(dict(inputs=inputs, data_samples=samples), training=True)
    return batch['inputs'], batch['data_samples']


def with_teacher(case, folder, weights):
    """Return the student of a case, with its teacher if it has one."""
    model = build(case, folder, case.step)
    model.load_state_dict(weights[case.step], strict=True)
    if case.step:
        teacher = build(case, folder, 0)
        teacher.load_state_dict(weights[0], strict=True)
        model.teacher = FrozenTeacher(teacher)
    if case.has_pseudo_labels:
        model.pseudo_labeller = MaskPseudoLabels(model.panoptic_head.mask_activation)
    return model


OWN = [name for name in SETTINGS if name not in NOT_OFFERED]


@pytest.mark.parametrize('name', OWN)
def test_through_our_network(name, tmp_path, monkeypatch, weights):
    case = Case(name)
    model = with_teacher(case, tmp_path, weights)
    replay = Replay(case, monkeypatch)
    losses = model.loss(*batch_of(case, model))
    replay.check(case)
    check_losses(losses, case, 1e-3)
    total = sum(losses.values())
    assert total.item() == pytest.approx(case.index['total'], rel=1e-3)
    total.backward()
    check_gradients(model, case)


def check_gradients(model, case):
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    recorded = [key for key in case.arrays if key.startswith('grad__')]
    assert len(recorded) >= 11
    for key in recorded:
        expected = case.tensor(key)
        ours = gradients[to_ours(key.removeprefix('grad__'))]
        assert (ours - expected).norm() <= 1e-2 * expected.norm(), key
    squares = sum(x.square().sum() for x in gradients.values() if x is not None)
    assert squares.sqrt().item() == pytest.approx(case.index['grad_norm_total'], rel=1e-2)
    # some gradients are 0 but for rounding: a bias that shifts the masks of all queries alike
    for name, norm in case.index.get('grad_norm', {}).items():
        expected = pytest.approx(norm, rel=1e-2, abs=1e-8 * case.index['grad_norm_total'])
        assert gradients[to_ours(name)].norm().item() == expected, name


def test_the_optimizer_makes_the_released_step(tmp_path, monkeypatch, weights):
    """Learning rates, weight decay and clipping, by how far each parameter moves."""
    case = Case('comformer')
    model = with_teacher(case, tmp_path, weights)
    Replay(case, monkeypatch)
    recipe = Config.fromfile(official.BASES / 'schedules' / 'comformer_160k.py').optim_wrapper
    recipe.type = 'OptimWrapper'
    recipe.optimizer.lr = case.index['solver']['base_lr']
    wrapper = build_optim_wrapper(model, recipe)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    wrapper.update_params(sum(model.loss(*batch_of(case, model)).values()))
    moved = {name: (p - before[name]).norm().item() for name, p in model.named_parameters()}
    released = case.index['update_norm_after_one_optimizer_step']
    trained = {to_ours(name): norm for name, norm in released.items()}
    assert {name for name, norm in moved.items() if norm} == set(trained)
    for name, norm in trained.items():
        # a wrong weight decay changes it by more
        assert moved[name] == pytest.approx(norm, rel=1e-4), name
