"""Which images a step has and what is in its memory: plain loops, exact fractions, no arrays.

Images are dicts from name to the numbers of segments by class name. Tests compare the package with
these loops.
"""

import hashlib
import math
from collections import Counter
from fractions import Fraction


def drawn_class(name, classes, seed=0):
    """Return the class that the setting partitioned gives an image to; None if it has none."""
    weights = [(hashlib.sha256(f'{seed}\0{name}\0{c}'.encode()).hexdigest(), c) for c in classes]
    return max(weights)[1] if weights else None


class Steps:
    """What the steps of a scenario see.

    Args:
        images: Segments by class, by name.
        increments: Classes per step.
        order: The classes to learn, in learning order.
        setting: The setting.
        seed: Seed of the partition.
    """

    def __init__(self, images, increments, order, setting='overlap', seed=0):
        self.images, self.setting, self.seed = images, setting, seed
        ends = [sum(increments[: step + 1]) for step in range(len(increments))]
        self.seen = [set(order[:end]) for end in ends]
        self.classes = [set(order[end - n : end]) for end, n in zip(ends, increments, strict=True)]
        self.order = order

    def keeps(self, name, step):
        """Tell whether an image belongs to a step."""
        held = set(self.images[name]) & set(self.order)
        if self.setting == 'partitioned':
            return drawn_class(name, held, self.seed) in self.classes[step]
        later = set(self.order) - self.seen[step]
        return bool(held & self.classes[step]) and (self.setting == 'overlap' or not held & later)

    def labels(self, step):
        """Return the classes that a step shows."""
        return self.seen[step] if self.setting == 'sequential' else self.classes[step]

    def shown(self, step):
        """Return the segments by class that a step shows, by name, in the order of the names."""
        return {
            name: Counter({c: n for c, n in found.items() if c in self.labels(step)})
            for name, found in sorted(self.images.items())
            if self.keeps(name, step)
        }

    def memory(self, step, size):
        """Return what is in memory before a step: segments by class, by name, as chosen."""
        memory, goal, names = {}, Counter(), set()
        for t in range(step):
            shown = self.shown(t)
            goal += sum(shown.values(), Counter())
            names |= set(shown)
            number = size
            if isinstance(size, float):
                number = max(1, math.floor(Fraction(size) * len(names) + Fraction(1, 2)))
            merged = {
                name: shown.get(name, Counter()) + memory.get(name, Counter())
                for name in sorted({*shown, *memory})
            }
            fresh = [name for name in merged if name not in memory]
            old = [name for name in merged if name in memory]
            quota = number * (len(self.seen[t - 1]) if t else 0) // len(self.seen[t])
            quota = min(len(old), max(quota, number - len(fresh)))
            chosen = greedy({name: merged[name] for name in old}, quota, Counter(), goal)
            held = sum((merged[name] for name in chosen), Counter())
            rest = {name: merged[name] for name in fresh}
            chosen += greedy(rest, number - quota, held, goal)
            memory = {name: merged[name] for name in chosen}
        return memory


def greedy(pool, number, held, goal):
    """Choose images one by one, each the best of those that are left, the first name of equals."""
    chosen = []
    for _ in range(number):
        left = [name for name in pool if name not in chosen]
        best = min(left, key=lambda name: (_distance(held + pool[name], goal), name))
        chosen.append(best)
        held = held + pool[best]
    return chosen


def _distance(found, goal):
    total, wanted = sum(found.values()), sum(goal.values())
    return sum(abs(Fraction(found[c], total) - Fraction(goal[c], wanted)) for c in {*found, *goal})
