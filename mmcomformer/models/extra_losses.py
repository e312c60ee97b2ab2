"""Losses that a method adds to those of the head."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from ..registry import MODELS
from ..spelling import closest
from .matching import Assignment
from .query_output import OPTIONAL, QueryOutput
from .targets import ImageTargets


class ContinualLoss(Protocol):
    """A loss of the student's output, the teacher's, the targets, and what was matched with what.

    It is a module, registered in ``MODELS``, with these attributes; a class without them needs a
    teacher, no pseudo-labels, and reads the last level alone.
    """

    needs_teacher: ClassVar[bool]
    """Whether it is left out where there is no teacher, as at step 0."""

    needs_pseudo_labels: ClassVar[bool]
    """Whether it is nothing where the targets are the ground truth alone."""

    reads: ClassVar[frozenset[str]]
    """Optional parts of :class:`.QueryOutput` that it reads, out of :data:`.OPTIONAL`."""

    def __call__(
        self,
        student: QueryOutput,
        teacher: QueryOutput | None,
        targets: Sequence[ImageTargets],
        assignments: Sequence[Sequence[Assignment]],
    ) -> dict[str, Tensor]:
        """Return scalar losses by name.

        Args:
            student: The student's output.
            teacher: The teacher's output for the same batch; None if there is none.
            targets: The targets of each image, pseudo-labels included.
            assignments: For each level and image the matched queries and targets.
        """


_GIVERS = {'teacher': 'TeacherHook or PseudoLabelHook', 'pseudo-labels': 'PseudoLabelHook'}


def build_extra_losses(config: Mapping[str, Any] | None) -> nn.ModuleDict:
    """Build the losses of ``model.extra_losses``.

    Args:
        config: For each name, of the user's choice, the config of a loss; None leaves it out.

    Raises:
        TypeError: If one is not a dict with a type.
        ValueError: If there is no loss of that type, or it reads what there is not.
    """
    chosen = {name: loss for name, loss in (config or {}).items() if loss is not None}
    return nn.ModuleDict({name: _build(name, loss) for name, loss in chosen.items()})


def _build(name: str, config: Any) -> nn.Module:
    where = f'model.extra_losses.{name}'
    if not isinstance(config, Mapping) or 'type' not in config:
        raise TypeError(f'{where}: expected a dict with the type of a loss, got {config!r}')
    kind = config['type']
    if isinstance(kind, str) and MODELS.get(kind) is None:
        names = [known for known in MODELS.module_dict if known.endswith('Loss')]
        meant = closest(kind, names)
        hint = f'did you mean {meant!r}?' if meant else f'known are {sorted(names)}'
        raise ValueError(f'{where}: there is no loss {kind!r}; {hint}')
    loss = MODELS.build(config)
    unknown = sorted(getattr(loss, 'reads', frozenset()) - OPTIONAL)
    if unknown:
        raise ValueError(
            f'{where}: {type(loss).__name__} reads {unknown}; an output has {sorted(OPTIONAL)}'
        )
    return loss


def former_losses(
    head: dict[str, Any],
    extra_losses: Mapping[str, Any] | None,
    loss_feature: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Move losses from the places where configs had them before into ``extra_losses``.

    Args:
        head: Config of the head, whose ``loss_distill`` became ``extra_losses.distill``.
        extra_losses: The losses that the config has already; what a former place says wins.
        loss_feature: What became ``extra_losses.feature``.

    Returns:
        The config of the head without the loss, and the losses by name.

    Raises:
        TypeError: If ``extra_losses`` is not a dict.
    """
    if not isinstance(extra_losses or {}, Mapping):
        raise TypeError(
            f'model.extra_losses: expected a dict of losses by name such as '
            f"dict(distill=dict(type='AdaptiveDistillLoss')), got {extra_losses!r}"
        )
    # of its own kind: mmdet reads nested configs by attribute
    head, losses = copy(head), dict(extra_losses or {})
    if 'loss_distill' in head:
        distill = head.pop('loss_distill')
        # one that inherits and changes only a weight has no type
        inherited = losses.get('distill') or {}
        losses['distill'] = None if distill is None else {**inherited, **distill}
    if loss_feature is not None:
        losses['feature'] = {**(losses.get('feature') or {}), **loss_feature}
    return head, losses


def check_needs(losses: nn.ModuleDict, given: Collection[str], giver: str) -> None:
    """Check that no loss would be left out, or be 0, at every step.

    Args:
        losses: The losses by name.
        given: Which of ``teacher`` and ``pseudo-labels`` later steps have.
        giver: Who gives them, for the message.

    Raises:
        ValueError: If one needs what is not given.
    """
    for name, loss in losses.items():
        needs = {
            'teacher': getattr(loss, 'needs_teacher', True),
            'pseudo-labels': getattr(loss, 'needs_pseudo_labels', False),
        }
        for need, hooks in _GIVERS.items():
            if needs[need] and need not in given:
                raise ValueError(
                    f'model.extra_losses.{name}: {type(loss).__name__} needs '
                    f'{"a teacher" if need == "teacher" else need}, and custom_hooks have {giver}, '
                    f'which gives none; use {hooks} instead, or set the loss to None'
                )


def parts_read(losses: nn.ModuleDict) -> frozenset[str]:
    """Return the optional parts of an output that any of the losses reads."""
    return frozenset().union(*(getattr(loss, 'reads', ()) for loss in losses.values()))


def compute_extra_losses(
    losses: nn.ModuleDict,
    student: QueryOutput,
    teacher: QueryOutput | None,
    targets: Sequence[ImageTargets],
    assignments: Sequence[Sequence[Assignment]],
) -> dict[str, Tensor]:
    """Return the values of all losses that apply; arguments as of :class:`ContinualLoss`.

    Raises:
        ValueError: If two of them give a value of one name.
    """
    values: dict[str, Tensor] = {}
    for name, loss in losses.items():
        if teacher is None and getattr(loss, 'needs_teacher', True):
            continue
        found = loss(student, teacher, targets, assignments)
        twice = sorted(set(values) & set(found))
        if twice:
            raise ValueError(
                f'model.extra_losses.{name}: {type(loss).__name__} gives {twice}, which another '
                f'loss gives too; one of each type is possible'
            )
        values |= found
    return values
