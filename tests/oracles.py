"""The rules of the method, one query and one pixel at a time: slow, plain, and easy to check.

NumPy only. Tests compare the vectorised code of the package with these loops.
"""

from collections import Counter

import numpy as np
import torch


def bilinear(maps, x, y):
    """Sample maps (N, H, W) at one point in [0, 1], zero outside the map; (N,)."""
    height, width = maps.shape[1:]
    column, row = x * width - 0.5, y * height - 0.5
    value = np.zeros(len(maps))
    for i in (int(np.floor(row)), int(np.floor(row)) + 1):
        for j in (int(np.floor(column)), int(np.floor(column)) + 1):
            if 0 <= i < height and 0 <= j < width:
                value += (1 - abs(row - i)) * (1 - abs(column - j)) * maps[:, i, j]
    return value


def sample(maps, points):
    """Sample maps (N, H, W) at the same points (P, 2); float64, (N, P)."""
    maps, points = np.asarray(maps, np.float64), np.asarray(points, np.float64)
    return np.stack([bilinear(maps, x, y) for x, y in points], 1)


def softmax(logits, axis=-1):
    """Softmax in float64."""
    logits = np.asarray(logits, np.float64)
    exp = np.exp(logits - logits.max(axis, keepdims=True))
    return exp / exp.sum(axis, keepdims=True)


def dice(mask, target):
    """Dice coefficient of one pair of sampled masks."""
    return (2 * (mask * target).sum() + 1) / (mask.sum() + target.sum() + 1)


def harmonic_cost(class_prob, masks, targets):
    """Cost of each pair: class_prob (Q, N), masks (Q, P) and targets (N, P) -> (Q, N)."""
    cost = np.zeros(class_prob.shape)
    for i, j in np.ndindex(*class_prob.shape):
        d = dice(masks[i], targets[j])
        cost[i, j] = -2 * class_prob[i, j] * d / (class_prob[i, j] + d)
    return cost


def weighted_cost(class_prob, logits, targets, cls=2.0, mask=5.0, dice_weight=5.0):
    """Mask2Former's cost of each pair; logits (Q, P)."""
    cost = np.zeros(class_prob.shape)
    for i, j in np.ndindex(*class_prob.shape):
        m, g = 1 / (1 + np.exp(-logits[i])), targets[j]
        bce = -(g * np.log(m) + (1 - g) * np.log(1 - m)).mean()
        cost[i, j] = -cls * class_prob[i, j] + mask * bce + dice_weight * (1 - dice(m, g))
    return cost


def owners_of_pixels(prob, masks, score_thr, covered=None, seen=None, truth=()):
    """Return the kept queries, their class, and the owner of each pixel (-1: nobody).

    Args:
        prob: Class probabilities (Q, K + 1), no-object last.
        masks: Mask probabilities (Q, H, W).
        score_thr: A query is kept above this score.
        covered: Pixels under ground truth (H, W).
        seen: A Counter of the branches taken.
        truth: In place of it objects, each a class and a mask (H, W), which may overlap: one keeps
            a pixel from the queries of its class only.
    """
    seen = Counter() if seen is None else seen
    no_object = prob.shape[1] - 1
    classes, kept = {}, []
    for i, p in enumerate(prob):
        classes[i] = int(p.argmax())
        if classes[i] == no_object:
            seen['no-object'] += 1
        elif not p.max() > score_thr:
            seen['below threshold'] += 1
        else:
            kept.append(i)
    owner = np.full(masks.shape[1:], -1)
    scores = prob.max(1)[kept]
    for pixel in np.ndindex(*owner.shape):
        if not kept or (covered is not None and covered[pixel]):
            continue
        strength = scores * masks[(kept, *pixel)]
        best = int(strength.argmax())
        seen['tie'] += (strength == strength[best]).sum() > 1
        above = [label for label, mask in truth if mask[pixel]]
        if classes[kept[best]] in above:
            seen['under an object of its class'] += 1
        else:
            seen['under an object of another class'] += bool(above)
            owner[pixel] = kept[best]
    seen['nobody kept'] += not kept
    return kept, classes, owner


def pseudo_labels(
    prob, masks, covered, score_thr=0.0, overlap_thr=0.5, seen=None, truth=(), share='owned'
):
    """Return the pseudo-labels of an image: a list of (query, class, mask).

    All pixels that a query owns count towards ``overlap_thr``, or the ``strong`` ones only: those
    where its mask reaches 0.5. See :func:`owners_of_pixels` for the others.
    """
    seen = Counter() if seen is None else seen
    kept, classes, owner = owners_of_pixels(prob, masks, score_thr, covered, seen, truth)
    found = []
    for i in kept:
        area = int((owner == i).sum())
        original = int((masks[i] >= 0.5).sum())
        mask = (owner == i) & (masks[i] >= 0.5)
        counted = area if share == 'owned' else int(mask.sum())
        if area == 0:
            seen['owns nothing'] += 1
        elif original == 0:
            seen['never reaches 0.5'] += 1
        elif not mask.any():
            seen['reaches 0.5 only elsewhere'] += 1
        elif not counted > overlap_thr * original:
            seen['owns too little'] += 1
            seen['only weak pixels are too many'] += area > overlap_thr * original
            seen['owns exactly the threshold'] += counted == overlap_thr * original
        else:
            seen['pseudo-label'] += 1
            seen['exactly 0.5'] += bool((masks[i][owner == i] == 0.5).any())
            found.append((i, classes[i], mask))
    return found


def panoptic(prob, masks, num_things, score_thr=0.0, iou_thr=0.0, seen=None):
    """Return the panoptic map: label + 1000 * instance, number of classes where nothing is."""
    seen = Counter() if seen is None else seen
    kept, classes, owner = owners_of_pixels(prob, masks, score_thr, None, seen)
    result = np.full(masks.shape[1:], prob.shape[1] - 1)
    instances, stuff = 0, set()
    for i in kept:
        area = int((owner == i).sum())
        original = int((masks[i] >= 0.5).sum())
        mask = (owner == i) & (masks[i] >= 0.5)
        seen['owns exactly the threshold'] += bool(mask.any()) and area == iou_thr * original
        if not mask.any():
            seen['empty'] += 1
        elif area < iou_thr * original:
            seen['owns too little'] += 1
        elif classes[i] < num_things:
            seen['thing'] += 1
            instances += 1
            result[mask] = classes[i] + 1000 * instances
        else:
            seen['stuff merged' if classes[i] in stuff else 'stuff'] += 1
            stuff.add(classes[i])
            result[mask] = classes[i]
    return result


KINDS = ('softmax', 'sigmoid', 'shares', 'quarters')


def random_queries(rng, kind):
    """Draw class logits (Q, K + 1), mask probabilities (Q, H, W) and covered pixels (H, W).

    ``softmax`` and ``sigmoid`` draw smooth values. ``shares`` gives pixels to equal shares of
    queries, so that masks of exactly 1/2 and ties are common; so does ``quarters``, whose masks
    are multiples of 1/4.
    """
    num_queries, num_classes = int(rng.integers(1, 8)), int(rng.integers(1, 6))
    size = (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
    cls_score = rng.normal(size=(num_queries, num_classes + 1)) * rng.choice([0.2, 1, 4])
    cls_score[:, -1] += rng.choice([-3, 0, 0, 0, 20])
    logits = rng.normal(size=(num_queries, *size)) * 4
    if kind == 'softmax':
        masks = softmax(logits, 0)
    elif kind == 'sigmoid':
        masks = 1 / (1 + np.exp(-logits))
    elif kind == 'shares':
        masks = (rng.random(logits.shape) < 0.4).astype(float)
        masks /= np.maximum(masks.sum(0), 1)
    else:
        masks = rng.integers(0, 5, logits.shape) / 4
    if kind in ('shares', 'quarters'):
        # equal scores, so that equal masks tie
        cls_score[:] = cls_score[rng.integers(0, num_queries, num_queries)]
    covered = rng.random(size) < rng.choice([0, 0.2, 0.6, 1], p=[0.3, 0.3, 0.3, 0.1])
    return cls_score.astype(np.float32), masks.astype(np.float32), covered


def random_truth(rng, num_classes, size):
    """Draw objects, each a class and a mask (H, W), that lie over each other."""
    share = rng.choice([0.2, 0.6, 1])
    return [
        (int(rng.integers(0, num_classes)), rng.random(size) < share)
        for _ in range(int(rng.integers(0, 4)))
    ]


def masks_of(target):
    """Expand all targets of an image to masks, (N, H, W) float; slots not used are empty."""
    if target.owner is None:
        return target.masks
    slots = torch.arange(len(target.labels) - target.num_masks)
    return torch.cat([target.masks, (target.owner == slots[:, None, None]).float()])
