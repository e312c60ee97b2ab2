"""Pseudo-labels and a whole training step, with the released program's points."""

import golden
import numpy as np
import pytest
import tiny
import torch
from mmengine.registry import MODELS

from mmcomformer.engine.request import Request, load_config
from mmcomformer.methods.balconpas import BacktraceDistillLoss
from mmcomformer.models import MaskPseudoLabels, matching
from mmcomformer.models import query_head as head_module
from mmcomformer.models.mask_activation import QuerySigmoid
from mmcomformer.models.pseudo_labels import mask_pseudo_labels
from mmcomformer.models.query_output import QueryOutput
from mmcomformer.models.segments import MaskLogits
from mmcomformer.models.targets import ImageTargets
from mmcomformer.registry import TASK_UTILS

pytestmark = pytest.mark.usefixtures('mmdet_scope')

PSEUDO = golden.Golden('pseudo_labels', 'balconpas')
STEP = golden.Golden('step', 'balconpas')
CONFIG = load_config(Request(config=str(tiny.CONFIGS / 'balconpas_shapes_6-3.py')), 1)
RULE = {key: CONFIG.custom_hooks[0].labeller[key] for key in ('share', 'score_thr', 'overlap_thr')}


@pytest.mark.parametrize('case', PSEUDO.cases, ids=lambda case: case['case'])
def test_released_pseudo_labels(case):
    """With the rule of the config; those of a stored image are computed there, and not used."""
    name, size = case['case'], tuple(case['input_size'])
    truth = PSEUDO[f'{name}__gt_masks'].any(0)
    owner, classes, valid = mask_pseudo_labels(
        PSEUDO[f'{name}__logits'],
        MaskLogits(PSEUDO[f'{name}__masks'], QuerySigmoid(), size),
        torch.zeros_like(truth) if case['memory'] else truth,
        **RULE,
    )
    # by score there, by query here
    queries, order = PSEUDO[f'{name}__queries'].sort()
    assert valid.nonzero()[:, 0].tolist() == queries.tolist()
    assert len(queries) == case['kept']
    assert torch.equal(classes[queries], PSEUDO[f'{name}__labels'][order])
    masks = PSEUDO[f'{name}__pseudo_masks'][order]
    assert torch.equal(owner == queries[:, None, None], masks)


class Step:
    """What the released program had and did; numbering is ours, ground truth first."""

    def __init__(self, case):
        self.case, self.name = case, case['case']
        self.images, self.levels = range(case['B']), range(case['levels'])
        scenario = dict(
            increments=[case['old'], case['K'] - case['old']],
            stuff_classes=[f'c{k}' for k in range(case['K'])],
            thing_classes=[],
            step=1,
        )
        num_points = self['match_points0_0'].shape[0]
        train_cfg = {**CONFIG.model.train_cfg, 'num_points': num_points}
        settings = {**CONFIG.model.panoptic_head, 'train_cfg': train_cfg}
        self.head = MODELS.build({**settings, 'scenario': scenario})
        # what the step asserts are losses without their weights
        for loss in (self.head.loss_cls, self.head.loss_mask, self.head.loss_dice):
            loss.loss_weight = 1.0

    def __getitem__(self, key):
        return STEP[f'{self.name}__{key}']

    def output(self, dtype):
        """The student's output, and its leaves."""
        leaves = {
            part: [self[f'{part}{level}'].to(dtype).requires_grad_() for level in self.levels]
            for part in ('logits', 'masks')
        }
        tokens = self['tokens'].to(dtype).requires_grad_()
        scores, masks = (tuple(parts) for parts in leaves.values())
        return QueryOutput(scores, masks, tuple(tokens.transpose(1, 2))), {
            **leaves,
            'tokens': tokens,
        }

    def teacher(self, dtype):
        scores, masks = ((self[f'teacher_{part}'],) for part in ('logits', 'masks'))
        tokens = tuple(self['teacher_tokens'].to(dtype).transpose(1, 2))
        return QueryOutput(scores, masks, tokens)

    def targets(self):
        """Ground truth, completed by the labeller of the config."""
        truth = [
            ImageTargets.from_masks(
                self[f'gt_labels{image}'], self[f'gt_masks{image}'], self.case['memory'][image]
            )
            for image in self.images
        ]
        labeller = TASK_UTILS.build(
            CONFIG.custom_hooks[0].labeller, default_args=dict(mask_activation=QuerySigmoid())
        )
        assert isinstance(labeller, MaskPseudoLabels)
        return labeller(truth, self.teacher(torch.float32))

    def check_targets(self, targets):
        for image, target in enumerate(targets):
            num_truth = len(self[f'gt_labels{image}'])
            slots = target.valid[num_truth:].nonzero()[:, 0]
            if self.case['memory'][image]:
                assert len(target.labels) == num_truth
                continue
            expected = self[f'pseudo_masks{image}']
            order = self.order(target, image)
            assert torch.equal(target.owner == slots[order][:, None, None], expected)
            assert torch.equal(
                target.labels[num_truth + slots][order], self[f'pseudo_labels{image}']
            )

    def order(self, target, image):
        """Positions of the recorded pseudo-labels among ours, by their masks."""
        num_truth = len(self[f'gt_labels{image}'])
        slots = target.valid[num_truth:].nonzero()[:, 0]
        ours = [target.owner == slot for slot in slots]
        return [
            next(i for i, mask in enumerate(ours) if torch.equal(mask, theirs))
            for theirs in self[f'pseudo_masks{image}']
        ]

    def assignments(self, targets):
        """The recorded assignments, numbered as our targets are."""
        result = []
        for level in self.levels:
            result.append([])
            for image, target in enumerate(targets):
                queries, chosen = (
                    self[f'{part}{level}_{image}'].numpy() for part in ('query', 'target')
                )
                if not self.case['memory'][image]:
                    num_truth, num_pseudo = (
                        len(self[f'{part}_labels{image}']) for part in ('gt', 'pseudo')
                    )
                    slots = target.valid[num_truth:].nonzero()[:, 0].numpy()
                    number = [num_truth + slots[i] for i in self.order(target, image)]
                    number = np.array([*number, *range(num_truth)])
                    assert len(number) == num_truth + num_pseudo
                    chosen = number[chosen]
                result[-1].append((queries, chosen))
        return result

    def replay(self, monkeypatch, levels):
        """Let our code draw the recorded points."""
        points = torch.cat(
            [self[f'match_points{level}_{image}'] for level in self.levels for image in self.images]
        )
        drawn = iter([self[f'loss_points{level}'] for level in levels])
        monkeypatch.setattr(matching, 'random_points', lambda *args, **kwargs: points)
        monkeypatch.setattr(
            head_module, 'uncertain_points', lambda maps, *args, **kw: next(drawn).to(maps.dtype)
        )

    def check_tokens(self, named, student, teacher, assigned, tolerance):
        """The released program also distils queries of ground truth in a stored image."""
        names = [*(f'd{level}.loss_token' for level in self.levels[:-1]), 'loss_token']
        found = torch.stack([named[name] for name in names])
        if True not in self.case['memory']:
            golden.assert_agrees(found, self.case['losses_f64']['tokens'], tolerance)
            return
        added = self.case['memory'].index(True)
        quirk = [
            ImageTargets.from_masks(torch.zeros(9).long(), torch.zeros(9, 1, 1))
            for _ in self.images
        ]
        chosen = list(assigned)
        for image in self.images:
            num_pseudo = self.case['n_pseudo'][image]
            queries, targets = (
                self[f'{part}{self.levels[-1]}_{image}'] for part in ('query', 'target')
            )
            labels = torch.zeros(num_pseudo, dtype=torch.long)
            quirk[image] = quirk[image].with_pseudo_labels(
                torch.full((1, 1), -1), labels, labels == 0
            )
            chosen[image] = queries.numpy(), np.where(targets < num_pseudo, 9, 0)
        released = BacktraceDistillLoss(1.0)(student, teacher, quirk, [chosen])
        found = torch.stack([released[name] for name in names])
        golden.assert_agrees(found, self.case['losses_f64']['tokens'], tolerance)
        # and ours is that without the queries of the stored image
        chosen[added] = (np.zeros(0, int), np.zeros(0, int))
        expected = BacktraceDistillLoss(1.0)(student, teacher, quirk, [chosen])
        assert [named[name] for name in names] == [expected[name] for name in names]


@pytest.fixture(params=STEP.cases, ids=lambda case: case['case'])
def step(request):
    return Step(request.param)


def level_names(step, part):
    return [*(f'd{level}.loss_{part}' for level in step.levels[:-1]), f'loss_{part}']


def check_losses(step, losses, tolerance):
    for theirs, ours in (('class', 'cls'), ('mask', 'mask'), ('dice', 'dice')):
        found = torch.stack([losses[name] for name in level_names(step, ours)])
        golden.assert_agrees(found, step.case['losses_f64'][theirs], tolerance)


def check_gradients(step, losses, leaves, tolerance):
    """Of 2 x class + 5 x mask + 5 x dice + 5 x tokens, as the weights of the config are."""
    weights = {'cls': 2, 'mask': 5, 'dice': 5, 'token': 5}
    sum(weights[name.split('_')[-1]] * loss for name, loss in losses.items()).backward()
    for part in ('logits', 'masks'):
        for level, leaf in enumerate(leaves[part]):
            golden.assert_agrees(leaf.grad, step[f'grad_{part}{level}_f64'], tolerance)
    if True not in step.case['memory']:
        golden.assert_agrees(leaves['tokens'].grad, step['grad_tokens_f64'], tolerance)


def test_released_step(step, monkeypatch):
    """As the model computes it, in float32: targets, assignments, losses, gradients."""
    step.replay(monkeypatch, [step.levels[-1], *step.levels[:-1]])
    targets = step.targets()
    step.check_targets(targets)
    student, leaves = step.output(torch.float32)
    teacher = step.teacher(torch.float32)
    losses, assignments = step.head.supervised_losses(student, targets)
    for ours, theirs in zip(assignments, step.assignments(targets), strict=True):
        for (queries, chosen), (rows, columns) in zip(ours, theirs, strict=True):
            assert (queries.tolist(), chosen.tolist()) == (rows.tolist(), columns.tolist())
    check_losses(step, losses, 1e-5)
    named = BacktraceDistillLoss(1.0)(student, teacher, targets, assignments)
    step.check_tokens(named, student, teacher, assignments[-1], 1e-5)
    check_gradients(step, {**losses, **named}, leaves, 1e-5)


def test_released_step_in_double_precision(step, monkeypatch):
    """The same from the recorded assignments, without the cast to float32."""
    step.replay(monkeypatch, step.levels)
    targets = [
        ImageTargets(
            target.labels, target.valid, target.masks.double(), target.owner,
            target.num_ground_truth, target.from_memory,
        )
        for target in step.targets()
    ]  # fmt: skip
    student, leaves = step.output(torch.float64)
    teacher = step.teacher(torch.float64)
    assignments = step.assignments(targets)
    # every image has as many targets as matched queries
    num_targets = sum(int(target.valid.sum()) for target in targets)
    losses = {}
    for level, prefix in enumerate([*(f'd{level}.' for level in step.levels[:-1]), '']):
        maps = step.head.mask_activation.loss_maps(student.mask_preds[level])
        parts = step.head._mask_losses(
            maps, targets, assignments[level], torch.tensor(num_targets, dtype=torch.float64)
        )
        losses |= dict(zip((f'{prefix}loss_mask', f'{prefix}loss_dice'), parts, strict=True))
        losses[f'{prefix}loss_cls'] = step.head._class_loss(
            student.cls_scores[level], targets, assignments[level]
        )
    check_losses(step, losses, 1e-9)
    named = BacktraceDistillLoss(1.0)(student, teacher, targets, assignments)
    step.check_tokens(named, student, teacher, assignments[-1], 1e-9)
    check_gradients(step, {**losses, **named}, leaves, 1e-9)


def test_the_losses_of_the_config():
    cfg = CONFIG.model
    head = cfg.panoptic_head
    assert (head.loss_cls.loss_weight, head.loss_cls.no_object_weight) == (2, 0.1)
    assert (head.loss_mask.loss_weight, head.loss_dice.loss_weight) == (5, 5)
    assert MODELS.build(cfg.extra_losses.token).loss_weight == 5
    cost = TASK_UTILS.build(cfg.train_cfg.match_cost)
    assert (cost.cls_weight, cost.mask_weight, cost.dice_weight) == (2, 5, 5)
    assert dict(share='strong', score_thr=0, overlap_thr=0.8) == RULE
    assert (cfg.test_cfg.object_mask_thr, cfg.test_cfg.iou_thr) == (0.8, 0.8)
