"""What a detector and a segmentor that learn in steps have in common."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor, nn

from ..recipe import find_scenarios
from ..scenario import step_from_environment
from .extra_losses import build_extra_losses, compute_extra_losses, parts_read
from .freezing import freeze_parameters, frozen_parameters
from .growing import StepwiseModule, num_steps
from .query_output import QueryOutput
from .targets import ImageTargets
from .teacher import FrozenTeacher
from .weights import weight_faults

PseudoLabeller = Callable[[list[ImageTargets], QueryOutput], list[ImageTargets]]
"""Completes the ground truth of a batch by what the teacher says of it."""


class ContinualModel(nn.Module):
    """A model with a head of queries whose loss may listen to a teacher.

    A hook puts the teacher and the maker of pseudo-labels into their slots; at step 0, in
    validation and at test both are None. A subclass also derives from a detector or segmentor,
    a module with ``extract_feat``, and calls :meth:`prepare_steps` at the end of its ``__init__``.
    """

    head_name: ClassVar[str]
    """Attribute, and config key, of the head."""

    extract_feat: Callable[[Tensor], Sequence[Tensor]]
    extra_losses: nn.ModuleDict
    teacher: FrozenTeacher | None
    pseudo_labeller: PseudoLabeller | None
    loads_others: bool = False
    """Whether weights that do not fit may be loaded, as by a training that starts from others."""
    _eval_only: Sequence[nn.Module] = ()
    follows_checkpoint: bool = True
    """Whether the model takes the step of a checkpoint that it loads, where STEP is not set."""
    _config: Mapping[str, Any] | None = None

    def prepare_steps(
        self,
        extra_losses: Mapping[str, Any] | None,
        freeze: Mapping[str, Any] | None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Build the extra losses, freeze what is not trained, and make the slots, empty.

        Args:
            extra_losses: See :func:`.build_extra_losses`.
            freeze: See :func:`.frozen_parameters`.
            config: The arguments of the model; without them it never takes another step.
        """
        self._config = config
        self.extra_losses = build_extra_losses(extra_losses)
        for name, loss in self.extra_losses.items():
            self.mask_head.class_activation.check_loss(loss, f'model.extra_losses.{name}')
        frozen = frozen_parameters(self, freeze, self.mask_head.scenario.step)
        self._eval_only = freeze_parameters(self, frozen)
        self.teacher = None
        self.pseudo_labeller = None

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Take the step of the weights, where nobody has said which one it is; refuse others.

        mmdet and mmseg build the model before they read the checkpoint, so at step 0 of a config
        that reads STEP. A load that is not strict, as in their own programs, would only log what
        does not fit, and predict with what is left at random.

        Raises:
            RuntimeError: If weights are missing, unexpected or of another shape.
        """
        step = self._step_of(state_dict, prefix)
        if step not in (None, self.mask_head.scenario.step) and self._may_follow:
            self._become(step)
        self._check_fit(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _check_fit(self, state_dict: Mapping[str, Any], prefix: str) -> None:
        length = len(prefix)
        found = {name[length:]: x for name, x in state_dict.items() if name.startswith(prefix)}
        if self.loads_others or self._is_of_another_step(found):
            return
        faults = weight_faults(self.state_dict(), found)
        if faults:
            raise RuntimeError(
                f'the checkpoint does not fit the model: {"; ".join(faults)}\n'
                f'pass the config that it was trained with, or a checkpoint of this config'
            )

    @property
    def _may_follow(self) -> bool:
        return (
            self.follows_checkpoint and self._config is not None and step_from_environment() is None
        )

    def _step_of(self, state_dict: Mapping[str, Any], prefix: str) -> int | None:
        """Return the step of weights; None where they do not say, or not of this scenario."""
        found = {
            num_steps(state_dict, f'{prefix}{name}.') - 1
            for name, module in self.named_modules()
            if isinstance(module, StepwiseModule)
        } - {-1}
        step = found.pop() if len(found) == 1 else None
        return step if step is not None and step < self.mask_head.scenario.num_steps else None

    def _become(self, step: int | None) -> None:
        """Become the model of another step, in place: the caller goes on to load its weights."""
        config: Any = copy.deepcopy(self._config)
        for _, scenario in find_scenarios(config):
            scenario['step'] = step
        # what is loaded replaces it
        config['backbone'].pop('init_cfg', None)
        other = type(self)(**config).to(next(self.parameters()).device)
        other.train(self.training)
        self.__dict__.update(other.__dict__)

    @property
    def mask_head(self) -> Any:
        """The head that predicts classes and masks."""
        return getattr(self, self.head_name)

    def train(self, mode: bool = True) -> ContinualModel:
        """Set the mode; what is frozen stays in eval mode."""
        super().train(mode)
        for module in self._eval_only:
            module.eval()
        return self

    def _is_of_another_step(self, state_dict: Mapping[str, Any]) -> bool:
        # such a module refuses it, and says which step it is of
        return any(
            num_steps(state_dict, f'{name}.') not in (0, len(module.steps))
            for name, module in self.named_modules()
            if isinstance(module, StepwiseModule)
        )

    def query_output(
        self,
        batch_inputs: Tensor,
        batch_data_samples: Sequence[Any],
        teacher: QueryOutput | None = None,
    ) -> QueryOutput:
        """Return what the model says of a preprocessed batch.

        Args:
            batch_inputs: Shape (B, 3, H, W).
            batch_data_samples: The samples of the batch.
            teacher: The teacher's output for the batch, for a head that looks at it.
        """
        feats = self.extract_feat(batch_inputs)
        output = self.mask_head.query_output(feats, batch_data_samples, teacher=teacher)
        return replace(output, feats=tuple(feats))

    def targets_and_teacher(
        self, batch_inputs: Tensor, batch_data_samples: Sequence[Any]
    ) -> tuple[list[ImageTargets], QueryOutput | None]:
        """Return what a preprocessed batch is trained on; arguments as of :meth:`continual_losses`.

        Returns:
            The targets of each image, completed by pseudo-labels, and the teacher's output with
            the parts that somebody reads, or None.
        """
        # first, because what it copies to the device would wait for the teacher
        targets = self.mask_head.build_targets(batch_data_samples)
        if self.teacher is None:
            return targets, None
        wanted = parts_read(self.extra_losses) | self.mask_head.reads_of_teacher
        teacher = self.teacher(batch_inputs, batch_data_samples, wanted)
        if self.pseudo_labeller is not None:
            targets = self.pseudo_labeller(targets, teacher)
        return targets, teacher

    def continual_losses(
        self, batch_inputs: Tensor, batch_data_samples: Sequence[Any]
    ) -> tuple[dict[str, Tensor], QueryOutput]:
        """Return the losses of a preprocessed batch.

        Args:
            batch_inputs: Shape (B, 3, H, W).
            batch_data_samples: Samples with the ground truth that the head's ``build_targets``
                reads.

        Returns:
            The losses, and the student's output.
        """
        targets, teacher = self.targets_and_teacher(batch_inputs, batch_data_samples)
        student = self.query_output(batch_inputs, batch_data_samples, teacher)
        losses, assignments = self.mask_head.supervised_losses(student, targets)
        losses |= compute_extra_losses(self.extra_losses, student, teacher, targets, assignments)
        return losses, student
