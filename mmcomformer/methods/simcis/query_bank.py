"""The bank of queries of learned classes, from which virtual queries are drawn."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from ...models.method_state import State
from ...models.targets import ImageTargets
from ...scenario import Scenario


def sampling_weights(counts: Tensor, power: float) -> Tensor:
    """Return the weights with which classes are drawn: (sum n / n_c)^power, n_c = 1 + counts.

    Args:
        counts: How often each class was seen, shape (K,), int64.
        power: 0 draws all classes alike, 1 those twice as rare twice as often.
    """
    numbers = 1 + counts
    return (numbers.sum() / numbers) ** power


class QueryBank(nn.Module):
    """Initial queries of each class, the newest of which are kept.

    It is filled while a step trains. What the step draws from is the bank as step t-1 left it.
    It also counts the pseudo-labels of old classes, of which rare ones are drawn more often. All of
    that is a state of the method in the checkpoint, see :class:`.Stateful`.

    Args:
        scenario: The scenario with its current step.
        width: Width C of a query.
        size: Queries kept of each class.
        num_virtual: Queries V to draw for each image.
        power: See :func:`sampling_weights`.
    """

    def __init__(
        self, scenario: Scenario, width: int, size: int, num_virtual: int = 0, power: float = 0.5
    ) -> None:
        super().__init__()
        self.num_virtual, self.power = num_virtual, power
        self.step, self.num_old = scenario.step, scenario.num_old
        self.num_seen, self.size, self.width = scenario.num_seen, size, width
        self.can_draw = False
        empty = dict(
            # a ring for each class, and one for what has no place
            rings=torch.zeros(self.num_seen + 1, size, width),
            # since the last merge, and before
            pushed=torch.zeros(self.num_seen, dtype=torch.long),
            fresh=torch.zeros(self.num_seen, dtype=torch.long),
            counts=torch.zeros(self.num_old, dtype=torch.long),
            fresh_counts=torch.zeros(self.num_old, dtype=torch.long),
            drawn=torch.zeros(self.num_old, size, width),
            drawn_sizes=torch.zeros(self.num_old, dtype=torch.long),
        )
        for name, value in empty.items():
            # moved with the model, but no weights
            self.register_buffer(name, value, persistent=False)

    rings: Tensor
    pushed: Tensor
    fresh: Tensor
    counts: Tensor
    fresh_counts: Tensor
    drawn: Tensor
    drawn_sizes: Tensor

    @torch.no_grad()
    def push(self, queries: Tensor, labels: Tensor) -> None:
        """Keep queries as the newest ones of their classes.

        Args:
            queries: Shape (M, C), oldest first.
            labels: Learning index of each, shape (M,), int64.
        """
        # (M, K)
        of_class = labels[:, None] == torch.arange(self.num_seen, device=labels.device)
        count = of_class.sum(0)
        position = of_class.cumsum(0).gather(1, labels[:, None]).squeeze(1) - 1
        slot = (self.pushed[labels] + position) % self.size
        # a later one of this call takes its place
        outdated = position < count[labels] - self.size
        ring = labels.masked_fill(outdated, self.num_seen)
        self.rings[ring, slot] = queries.to(self.rings.dtype)
        self.pushed += count
        self.fresh = (self.fresh + count).clamp(max=self.size)

    @torch.no_grad()
    def count(self, targets: Sequence[ImageTargets]) -> None:
        """Count the pseudo-labels of a batch, which are of old classes."""
        for target in targets if self.num_old else ():
            counted = target.is_pseudo & target.valid
            self.fresh_counts.scatter_add_(
                0, target.labels.where(counted, torch.zeros_like(target.labels)), counted.long()
            )

    def draw(self, num_images: int) -> tuple[Tensor, Tensor]:
        """Draw queries of old classes, each class that has some with :func:`sampling_weights`.

        Args:
            num_images: Images B.

        Returns:
            Queries (B, V, C) and their learning indices (B, V), int64.
        """
        shape = (num_images, self.num_virtual)
        weights = sampling_weights(self.counts + self.fresh_counts, self.power)
        weights = weights * (self.drawn_sizes > 0)
        labels = torch.multinomial(weights, shape[0] * shape[1], replacement=True).view(shape)
        sizes = self.drawn_sizes[labels]
        index = (torch.rand(shape, device=labels.device) * sizes).long().minimum(sizes - 1)
        return self.drawn[labels, index], labels

    def method_state(self) -> State:
        """Return what was pushed, what is drawn from, and counts; class by class, oldest first."""
        pushed = self.pushed.tolist()
        kept = [
            self.rings[label, torch.arange(max(0, total - self.size), total) % self.size]
            for label, total in enumerate(pushed)
        ]
        drawn = [ring[:size] for ring, size in zip(self.drawn, self.drawn_sizes, strict=True)]
        return dict(
            step=torch.tensor(self.step),
            queries=torch.cat(kept),
            sizes=torch.tensor([len(queries) for queries in kept]),
            fresh=self.fresh.clone(),
            counts=self.counts.clone(),
            fresh_counts=self.fresh_counts.clone(),
            drawn=torch.cat([self.drawn.new_zeros(0, self.width), *drawn]),
            drawn_sizes=self.drawn_sizes.clone(),
        )

    def merge_states(self, states: Sequence[State]) -> State:
        """Keep the newest of all processes: the last of each, then the last but one, and so on."""
        first = states[0]
        fresh = [state['fresh'].tolist() for state in states]
        by_class = [state['queries'].split(state['sizes'].tolist()) for state in states]
        kept = [
            _newest([part[label] for part in by_class], [part[label] for part in fresh], self.size)
            for label in range(self.num_seen)
        ]
        return dict(
            first,
            queries=torch.cat(kept),
            sizes=torch.tensor([len(queries) for queries in kept]),
            fresh=torch.zeros_like(first['fresh']),
            counts=first['counts'] + sum(state['fresh_counts'] for state in states),
            fresh_counts=torch.zeros_like(first['fresh_counts']),
        )

    def load_method_state(self, state: State) -> None:
        """Take over a merged state of this step, or of step t-1, from which is drawn then.

        Raises:
            RuntimeError: If it is of other classes, of another step or width.
        """
        resumed = int(state['step']) == self.step
        self._check(state, self.num_seen if resumed else self.num_old)
        sizes = state['sizes']
        table = _padded(state['queries'], sizes, self.size)
        self.rings.zero_()[: len(table)] = table.to(self.rings.device)
        self.pushed.zero_()[: len(sizes)] = sizes.to(self.pushed.device)
        self.fresh.zero_()
        self.counts.zero_()
        self.fresh_counts.zero_()
        if resumed:
            sizes = state['drawn_sizes']
            table = _padded(state['drawn'], sizes, self.size)
            self.fresh.copy_(state['fresh'])
            self.counts.copy_(state['counts'])
            self.fresh_counts.copy_(state['fresh_counts'])
        self.drawn.copy_(table)
        self.drawn_sizes.copy_(sizes)
        has_some = bool(sizes.any())
        self.can_draw = self.num_virtual > 0 and has_some
        if self.num_virtual and not has_some and not resumed:
            print_log(
                f'query bank: the checkpoint of step {self.step - 1} holds no queries (a converted '
                f'one has none), so step {self.step} trains without virtual queries',
                logger='current',
                level=logging.WARNING,
            )

    def _check(self, state: State, num_classes: int) -> None:
        step, sizes, width = int(state['step']), state['sizes'], state['queries'].shape[-1]
        if step not in (self.step, self.step - 1):
            raise RuntimeError(
                f'query bank: it is of step {step}, and the model of step {self.step}; expected '
                f'that of step {self.step} or of the one before'
            )
        if len(sizes) != num_classes:
            raise RuntimeError(
                f'query bank: it is of {len(sizes)} classes, but the scenario has {num_classes} by '
                f'step {step}; use the checkpoint of a run of this scenario'
            )
        most = max(sizes.tolist(), default=0)
        if width != self.width or most > self.size:
            raise RuntimeError(
                f'query bank: it has up to {most} queries of width {width} for each class, but the '
                f'model keeps {self.size} (bank_size) of width {self.width}; use the config that '
                f'wrote it'
            )


def _newest(queries: Sequence[Tensor], fresh: Sequence[int], size: int) -> Tensor:
    """Merge what processes keep of a class.

    Args:
        queries: Of each process, (n_i, C), oldest first.
        fresh: How many of them, the last ones, are its own; the others all processes have.
        size: How many to keep.
    """
    shared = queries[0][: len(queries[0]) - fresh[0]]
    own = [part[len(part) - count :] for part, count in zip(queries, fresh, strict=True)]
    # (age, process) of each: the newest have age 1
    order = [(len(part) - i, rank, i) for rank, part in enumerate(own) for i in range(len(part))]
    order.sort(key=lambda item: (-item[0], item[1]))
    merged = [own[rank][i] for _, rank, i in order]
    return torch.cat([shared, *(query[None] for query in merged)])[-size:]


def _padded(queries: Tensor, sizes: Tensor, size: int) -> Tensor:
    """Return queries (n, C) of classes with these sizes as a table (K, size, C)."""
    table = queries.new_zeros(len(sizes), size, queries.shape[-1])
    for row, part in zip(table, queries.split(sizes.tolist()), strict=True):
        row[: len(part)] = part
    return table
