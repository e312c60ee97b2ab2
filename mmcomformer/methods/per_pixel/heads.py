"""The head of queries, trained and read pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import torch
from mmseg.structures import SegDataSample
from torch import Tensor

from ...datasets.label_maps import IGNORE_LABEL
from ...models.matching import Assignment
from ...models.semantic_query_head import SemanticQueryHead
from ...models.targets import ImageTargets
from ...registry import MODELS
from .pixel_scores import PixelOutput
from .pixel_targets import PixelTargets, Resize


@MODELS.register_module()
class PerPixelHead(SemanticQueryHead):
    """The per-pixel baseline of CoMFormer's experiments: queries add up to logits of each pixel.

    Nothing is matched. The class logits of a pixel are the sum over queries of class logit x mask,
    at the resolution of the masks, and the loss is one of pixels at every level. What is no-object
    in other heads is the background here, the class of what a step does not label.

    Args:
        *args: See :class:`.SemanticQueryHead`.
        loss_cls: Loss of class logits (N, K + 1) of pixels and labels (N,), such as
            ``PixelClassLoss``.
        mask_activation: ``dict(type='QuerySigmoid')`` by default.
        semantic_fusion: ``dict(type='PixelScoreFusion')`` by default.
        label_resize: How labels get the size of the masks: ``nearest-exact`` takes that of the
            pixel at the centre of each cell; ``nearest`` that of the first pixel, as the released
            program, so that what is learned lies 1.5 pixels off.
        loss_mask: None; no masks are matched.
        loss_dice: None, as well.
        train_cfg: None, as well.
        **kwargs: See :class:`.SemanticQueryHead`.

    Raises:
        TypeError: If there are settings of matched queries.
        ValueError: If the scenario tells things from stuff, or there is no such way to resize.
    """

    def __init__(
        self,
        *args: Any,
        loss_cls: dict[str, Any],
        mask_activation: dict[str, Any] | None = None,
        semantic_fusion: dict[str, Any] | None = None,
        label_resize: Resize = 'nearest-exact',
        loss_mask: dict[str, Any] | None = None,
        loss_dice: dict[str, Any] | None = None,
        train_cfg: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if label_resize not in get_args(Resize):
            raise ValueError(
                f'{self.config_key}.label_resize: expected one of {list(get_args(Resize))}, got '
                f'{label_resize!r}'
            )
        unread = {'loss_mask': loss_mask, 'loss_dice': loss_dice, 'train_cfg': train_cfg}
        for name, value in unread.items():
            if value:
                where = 'model' if name == 'train_cfg' else self.config_key
                raise TypeError(f'{where}.{name}: PerPixelHead matches no queries; set it to None')
        super().__init__(
            *args,
            loss_cls=loss_cls,
            mask_activation=mask_activation or dict(type='QuerySigmoid'),
            semantic_fusion=semantic_fusion or dict(type='PixelScoreFusion'),
            # built by the parent, removed below
            loss_mask=dict(type='SigmoidMaskLoss'),
            loss_dice=dict(type='SigmoidDiceLoss'),
            **kwargs,
        )
        self.label_resize: Resize = label_resize
        del self.loss_mask, self.loss_dice, self.match_cost
        if self.scenario.thing_classes:
            raise ValueError(
                'PerPixelHead: it labels pixels, and does not tell one thing from another; use a '
                'config for semantic segmentation'
            )

    def _check_map_kinds(self) -> None:
        """There are no losses of masks."""

    def _image_targets(self, sample: SegDataSample) -> PixelTargets:
        if sample.metainfo.get('hidden_label', IGNORE_LABEL) == IGNORE_LABEL:
            raise ValueError(
                'PerPixelHead: expected label maps in which what a step hides, which is '
                'background, is told from what is not labelled; set '
                'train_dataloader.dataset.mark_hidden=True'
            )
        unknown = sorted(set(self._labels_in(sample)) - self.scenario.seen_labels)
        if unknown:
            names = [self.scenario.classes[label] for label in unknown]
            raise ValueError(
                f'{sample.metainfo.get("img_path", "an image")}: its label map shows {names}, '
                f'which the current step has not learned; train on an IncrementalDataset of the '
                f'same scenario'
            )
        found: ImageTargets = super()._image_targets(sample)
        label_map = sample.gt_sem_seg.data.squeeze(0)
        return PixelTargets(
            found.labels,
            found.valid,
            found.masks,
            found.owner,
            from_memory=found.from_memory,
            ignored=label_map == IGNORE_LABEL,
        )

    def query_output(self, *args: Any, **kwargs: Any) -> PixelOutput:
        """Return the predictions of each level; see :class:`.IncrementalQueryHead`."""
        output = super().query_output(*args, **kwargs)
        return PixelOutput(**vars(output), mask_activation=self.mask_activation)

    def supervised_losses(  # type: ignore[override]  # what build_targets and query_output return
        self, output: PixelOutput, targets: Sequence[PixelTargets]
    ) -> tuple[dict[str, Tensor], list[list[Assignment]]]:
        """Return the losses of all levels; nothing is matched.

        Args:
            output: The student's output, with L levels.
            targets: :class:`PixelTargets` of each image, pseudo-labels included.

        Returns:
            ``loss_cls`` of the last level, the same with prefix ``d0.`` and so on for the others;
            and an empty list.
        """
        height, width = output.mask_pred.shape[-2:]
        background = self.scenario.num_seen
        labels = torch.stack(
            [target.label_map(background, (height, width), self.label_resize) for target in targets]
        )
        losses = {}
        last = len(output.cls_scores) - 1
        # last level first, as its names come first in the log
        for level in (last, *range(last)):
            prefix = '' if level == last else f'd{level}.'
            scores = output.scores(level).flatten(0, 2)
            losses[f'{prefix}loss_cls'] = self.loss_cls(scores, labels.flatten())
        return losses, []
