"""The head: Mask2Former's, with competing masks and a classifier that grows."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from mmdet.models.dense_heads import Mask2FormerHead
from mmdet.structures import SampleList
from mmdet.utils import reduce_mean
from mmengine.config import ConfigDict
from torch import Tensor, nn
from torch.nn import functional

from ..registry import MODELS, TASK_UTILS
from ..scenario import Scenario
from .class_activation import ClassSoftmax
from .incremental_classifier import IncrementalClassifier
from .inference_settings import InferenceSetting
from .matching import Assignment, match
from .point_sampling import sample_each, uncertain_points
from .query_output import QueryOutput
from .targets import ImageTargets, to_device

# mmdet's configs of this head have it, and nothing reads it
_UNREAD = {'strides'}
# by what the dice loss samples
_DEFAULT_COSTS = {'probability': 'HarmonicMatchCost', 'logit': 'WeightedMatchCost'}


@dataclass(frozen=True)
class DecoderQueries:
    """The queries that enter the decoder.

    Attributes:
        tokens: Shape (B, Q, C).
        positions: What each of the decoder's layers adds to them in attention, (B, Q, C).
        self_blocked: Which queries a query may not attend to, (Q, Q), bool; None blocks nothing.
    """

    tokens: Tensor
    positions: Sequence[Tensor]
    self_blocked: Tensor | None = None


def _check_keys(kwargs: Mapping[str, Any], head: type[IncrementalQueryHead]) -> None:
    """Refuse keys that mmdet's head would silently ignore.

    Raises:
        TypeError: If there is one, or class counts are given beside the scenario.
    """
    where = head.config_key
    for key in ('num_things_classes', 'num_stuff_classes', 'num_classes'):
        if key in kwargs:
            raise TypeError(f'{where}.{key}: remove it; the scenario counts classes')
    known = set(inspect.signature(Mask2FormerHead.__init__).parameters) - {'self', 'kwargs'}
    unknown = sorted(set(kwargs) - known - _UNREAD)
    if unknown:
        own = {
            name
            for kind in head.__mro__[: head.__mro__.index(Mask2FormerHead)]
            for name in inspect.signature(kind).parameters
        } - {'self', 'args', 'kwargs'}
        raise TypeError(f'{where}: unknown keys {unknown}; expected some of {sorted(known | own)}')


@MODELS.register_module()
class IncrementalQueryHead(Mask2FormerHead):
    """Mask2Former's head, for classes that come in steps.

    Inside the head classes are numbered in learning order, with no-object last; outside it by
    dataset label. Targets are renumbered on the way in and class logits on the way out.

    Args:
        scenario: The scenario with its current step, as a config dict.
        mask_activation: ``dict(type='QuerySoftmax')`` (CoMFormer) or ``dict(type='QuerySigmoid')``
            (Mask2Former), also used in the decoder's attention masks.
        loss_cls: Classification loss of all queries. One with a true ``reads_memory`` is also told
            which of them are of images from memory.
        loss_mask: Mask loss of matched queries at sampled points; it must fit the activation.
        loss_dice: Dice loss of matched queries at sampled points; it must fit the activation.
        class_activation: ``dict(type='ClassSoftmax')`` (default) or ``dict(type='ClassSigmoid')``.
        new_from_no_object: Whether the classes of a step start as equal shares of no-object, see
            :meth:`.IncrementalClassifier.initialise_newest`.
        train_cfg: ``match_cost`` (default ``HarmonicMatchCost``, or ``WeightedMatchCost`` for
            ``QuerySigmoid``), ``num_points`` (12544), ``oversample_ratio`` (3.0) and
            ``importance_sample_ratio`` (0.75).
        **kwargs: Arguments of mmdet's ``Mask2FormerHead`` except the class counts.

    Raises:
        TypeError: If there is no scenario, class counts are given beside it, or a key is unknown.
        ValueError: If a mask loss or the matching cost does not fit the mask activation, or new
            classes are to start from a no-object that there is not.
    """

    config_key: ClassVar[str] = 'model.panoptic_head'
    """Where its config is, for messages."""

    reads_of_teacher: ClassVar[frozenset[str]] = frozenset()
    """Optional parts of the teacher's output that :meth:`initial_queries` reads."""

    labeller_settings: ClassVar[Mapping[str, Any]] = {}
    """What its pseudo-labels are made with unless the config of the labeller says otherwise."""

    @property
    def targets_overlap(self) -> bool:
        """Whether targets of an image may share pixels: those of instances do."""
        return bool((self.test_cfg or {}).get('instance_on'))

    def __init__(
        self,
        scenario: dict[str, Any] | Scenario | None = None,
        *,
        mask_activation: dict[str, Any],
        loss_cls: dict[str, Any],
        loss_mask: dict[str, Any],
        loss_dice: dict[str, Any],
        class_activation: dict[str, Any] | None = None,
        new_from_no_object: bool = False,
        train_cfg: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        scenario = Scenario.from_config(scenario)
        _check_keys(kwargs, type(self))
        super().__init__(
            num_things_classes=scenario.num_things,
            num_stuff_classes=scenario.num_stuff,
            # built by the parent, replaced below
            loss_cls=ConfigDict(type='mmdet.CrossEntropyLoss', class_weight=None),
            loss_mask=ConfigDict(type='mmdet.CrossEntropyLoss', use_sigmoid=True),
            loss_dice=ConfigDict(type='mmdet.DiceLoss'),
            train_cfg=None,
            **kwargs,
        )
        self.scenario = scenario
        self.class_activation = MODELS.build(class_activation or dict(type='ClassSoftmax'))
        # what turns class logits into the probabilities that matching compares
        self.match_activation = self.class_activation
        self.new_from_no_object = new_from_no_object
        self.cls_embed = self.make_classifier()
        self._check_new_classes()
        self.mask_activation = MODELS.build(mask_activation)
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_mask = MODELS.build(loss_mask)
        self.loss_dice = MODELS.build(loss_dice)
        train_cfg = train_cfg or {}
        # inference may come without training settings: the default fits any activation
        default = _DEFAULT_COSTS.get(self.mask_activation.map_kinds[1], 'HarmonicMatchCost')
        self.match_cost = TASK_UTILS.build(train_cfg.get('match_cost', dict(type=default)))
        self._check_map_kinds()
        self.class_activation.check_loss(self.loss_cls, f'{self.config_key}.loss_cls')
        self.num_points = train_cfg.get('num_points', 12544)
        self.oversample_ratio = train_cfg.get('oversample_ratio', 3.0)
        self.importance_sample_ratio = train_cfg.get('importance_sample_ratio', 0.75)
        to_learning, to_label = scenario.label_to_learning, scenario.seen_learning_to_label
        self.register_buffer('label_to_learning', torch.tensor(to_learning), persistent=False)
        self.register_buffer('learning_to_label', torch.tensor(to_label), persistent=False)

    def _check_map_kinds(self) -> None:
        activation = type(self.mask_activation).__name__
        of_mask, of_dice = self.mask_activation.map_kinds
        for key, part, kind in (
            (f'{self.config_key}.loss_mask', self.loss_mask, of_mask),
            (f'{self.config_key}.loss_dice', self.loss_dice, of_dice),
            ('model.train_cfg.match_cost', self.match_cost, of_dice),
        ):
            expected = getattr(part, 'expects', 'map of its own')
            if expected != kind:
                raise ValueError(
                    f'{key}: {type(part).__name__} expects a {expected}, but {activation} '
                    f'gives a {kind}; use losses and match_cost of the same family'
                )

    def inference_settings(self) -> dict[str, InferenceSetting]:
        """Return what of the head's inference may change without training, by name: nothing."""
        return {}

    def make_classifier(self) -> nn.Module:
        """Return the module that gives class logits (..., K + 1) of queries (..., C)."""
        return IncrementalClassifier(
            self.query_feat.embedding_dim,
            self.scenario.seen_increments,
            self.class_activation.has_no_object,
            self.new_from_no_object,
        )

    def _check_new_classes(self) -> None:
        if not self.new_from_no_object:
            return
        key = f'{self.config_key}.new_from_no_object'
        if not isinstance(self.class_activation, ClassSoftmax):
            raise ValueError(
                f'{key}: shares of no-object are those of a softmax, but class_activation is '
                f'{type(self.class_activation).__name__}; set it to False'
            )
        if not getattr(self.cls_embed, 'new_from_no_object', False):
            raise ValueError(
                f'{key}: the classifier of {type(self).__name__}, '
                f'{type(self.cls_embed).__name__}, does not offer it; set it to False'
            )

    def initial_queries(
        self, mask_features: Tensor, memories: Sequence[Tensor], teacher: QueryOutput | None
    ) -> DecoderQueries:
        """Return what enters the decoder: by default learned queries, the same for each image.

        Args:
            mask_features: Shape (B, C, h, w).
            memories: Maps that the decoder attends to, coarsest first, each (B, C, h_i, w_i).
            teacher: The teacher's output for the batch, with the parts of :attr:`reads_of_teacher`.
        """
        batch_size = mask_features.shape[0]
        tokens, position = (
            embedding.weight.unsqueeze(0).repeat(batch_size, 1, 1)
            for embedding in (self.query_feat, self.query_embed)
        )
        return DecoderQueries(tokens, (position,) * self.num_transformer_decoder_layers)

    def forward(
        self, x: Sequence[Tensor], batch_data_samples: Sequence[Any]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return class and mask logits of each level, as mmdet's head does.

        Args:
            x: Multi-scale features, each (B, C_i, h_i, w_i).
            batch_data_samples: The samples of the batch.
        """
        output = self.query_output(x, batch_data_samples)
        return list(output.cls_scores), list(output.mask_preds)

    def query_output(
        self,
        x: Sequence[Tensor],
        batch_data_samples: Sequence[Any],
        *,
        teacher: QueryOutput | None = None,
    ) -> QueryOutput:
        """Return the predictions of each level (Mask2Former, section 3.2).

        Args:
            x: Multi-scale features, each (B, C_i, h_i, w_i).
            batch_data_samples: The samples of the batch.
            teacher: The teacher's output for the batch, for :meth:`initial_queries`.
        """
        mask_features, memories = self._decode_pixels(x)
        queries = self.initial_queries(mask_features, memories, teacher)
        return self._decode(mask_features, memories, queries)

    def _decode(
        self, mask_features: Tensor, memories: Sequence[Tensor], queries: DecoderQueries
    ) -> QueryOutput:
        """Return what queries predict before the first and after each layer of the decoder."""
        sizes: list[Any] = [memory.shape[-2:] for memory in memories]
        keys = [self._keys(level, memory) for level, memory in enumerate(memories)]
        tokens = [queries.tokens]
        cls_score, mask_pred, blocked = self._forward_head(
            tokens[0], mask_features, sizes[0], queries
        )
        cls_scores, mask_preds = [cls_score], [mask_pred]
        for index, layer in enumerate(self.transformer_decoder.layers):
            key, key_position = keys[index % len(keys)]
            out = layer(
                query=tokens[-1],
                key=key,
                value=key,
                query_pos=queries.positions[index],
                key_pos=key_position,
                self_attn_mask=queries.self_blocked,
                # a query that may attend to nothing attends to everything
                cross_attn_mask=blocked & ~blocked.all(-1, keepdim=True),
                query_key_padding_mask=None,
                # padding is attended to, as in the released program
                key_padding_mask=None,
            )
            tokens.append(out)
            size = sizes[(index + 1) % len(sizes)]
            cls_score, mask_pred, blocked = self._forward_head(out, mask_features, size, queries)
            cls_scores.append(cls_score)
            mask_preds.append(mask_pred)
        return QueryOutput(tuple(cls_scores), tuple(mask_preds), tuple(tokens), mask_features)

    def _decode_pixels(self, x: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """Return mask features (B, C, h, w), and memories (B, C, h_i, w_i), coarsest first."""
        # sampling locations and sums over the keys need more digits than autocast leaves; the
        # released program turns it off here too
        with torch.autocast(x[0].device.type, enabled=False):
            mask_features, memories = self.pixel_decoder([feature.float() for feature in x])
        return mask_features, memories[: self.num_transformer_feat_level]

    def _keys(self, level: int, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the queries attend to at a level and its positions, each (B, h * w, C)."""
        # (B, C, h, w) -> (B, h * w, C)
        key = self.decoder_input_projs[level](memory).flatten(2).permute(0, 2, 1)
        padded = memory.new_zeros((memory.shape[0], *memory.shape[-2:]), dtype=torch.bool)
        position = self.decoder_positional_encoding(padded).flatten(2).permute(0, 2, 1)
        return key + self.level_embed.weight[level], position

    def embed_masks(self, tokens: Tensor, queries: DecoderQueries | None) -> Tensor:
        """Return what the mask features are multiplied with, (B, Q, C).

        Args:
            tokens: The queries after the norm of the decoder, (B, Q, C).
            queries: What :meth:`initial_queries` returned.
        """
        return self.mask_embed(tokens)

    def _forward_head(
        self,
        decoder_out: Tensor,
        mask_feature: Tensor,
        attn_mask_target_size: tuple[int, int],
        queries: DecoderQueries | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Predict classes and masks, and which keys each query may not attend to next.

        Args:
            decoder_out: Queries, (B, Q, C).
            mask_feature: Shape (B, C, h, w).
            attn_mask_target_size: Height and width of the next level's keys.
            queries: What :meth:`initial_queries` returned.

        Returns:
            Class logits (B, Q, K + 1) in learning order, mask logits (B, Q, h, w), and blocked
            keys (B * heads, Q, h' * w'), bool.
        """
        decoder_out = self.transformer_decoder.post_norm(decoder_out)
        cls_score = self.cls_embed(decoder_out)
        embedding = self.embed_masks(decoder_out, queries)
        mask_pred = torch.einsum('bqc,bchw->bqhw', embedding, mask_feature)
        with torch.no_grad():
            resized = functional.interpolate(
                mask_pred, attn_mask_target_size, mode='bilinear', align_corners=False
            )
            blocked = self.mask_activation.probability(resized) < 0.5
            # (B, Q, h', w') -> (B * heads, Q, h' * w')
            blocked = blocked.flatten(2).repeat_interleave(self.num_heads, dim=0)
        return cls_score, mask_pred, blocked

    def build_targets(self, batch_data_samples: SampleList) -> list[ImageTargets]:
        """Return the ground truth of a batch, with classes in learning order.

        Args:
            batch_data_samples: Samples with ``batch_input_shape`` (H, W), to which the segments
                are padded on the right and below; ``gt_instances.labels``, (G,) int64, dataset
                labels; and the segments, as ``gt_panoptic_seg.sem_seg``, an integer map (1, h, w)
                in which 0 is not labelled and ``k`` is the segment of ``labels[k - 1]``, or as
                ``gt_instances.masks``, an mmdet mask container of G masks, which may overlap. The
                metadata ``from_memory`` says that the image was stored at an earlier step.

        Returns:
            The targets of each image, (H, W) in size: one map, or a mask for each segment.
        """
        return [self._image_targets(sample) for sample in batch_data_samples]

    def _image_targets(self, sample: Any) -> ImageTargets:
        labels = self.label_to_learning[sample.gt_instances.labels]
        from_memory = sample.metainfo.get('from_memory', False)
        if 'masks' in sample.gt_instances:
            masks = sample.gt_instances.masks.pad(sample.batch_input_shape, pad_val=0)
            masks = masks.to_tensor(dtype=torch.bool, device=labels.device)
            return ImageTargets.from_masks(labels, masks, from_memory)
        number = sample.gt_panoptic_seg.sem_seg[0]
        height, width = sample.batch_input_shape
        padding = (0, width - number.shape[1], 0, height - number.shape[0])
        owner = functional.pad(number, padding).long() - 1
        return ImageTargets.from_map(labels, owner, from_memory)

    def loss(self, x: Sequence[Tensor], batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Return the losses without a teacher.

        Args:
            x: Multi-scale features, each (B, C_i, h_i, w_i).
            batch_data_samples: See :meth:`build_targets`.
        """
        output = self.query_output(x, batch_data_samples)
        return self.supervised_losses(output, self.build_targets(batch_data_samples))[0]

    def supervised_losses(
        self, output: QueryOutput, targets: Sequence[ImageTargets]
    ) -> tuple[dict[str, Tensor], list[list[Assignment]]]:
        """Return the losses of all levels, and what was matched with what.

        Args:
            output: The student's output, with L levels.
            targets: The segments of each image, pseudo-labels included.

        Returns:
            ``loss_cls``, ``loss_mask``, ``loss_dice`` of the last level, the same with prefix
            ``d0.`` and so on for the others; and for each level and image the matched queries and
            targets.
        """
        cls_scores = [score.float() for score in output.cls_scores]
        maps = [self.mask_activation.loss_maps(pred.float()) for pred in output.mask_preds]
        assignments, num_targets = match(
            cls_scores,
            [dice.detach() for _, dice in maps],
            targets,
            cost=self.match_cost,
            num_points=self.num_points,
            class_activation=self.match_activation,
        )
        # averaged over ranks, at least 1
        avg_factor = reduce_mean(cls_scores[0].new_full((), num_targets)).clamp(min=1)
        losses: dict[str, Tensor] = {}
        # last level first, as its names come first in the log
        for level in (len(maps) - 1, *range(len(maps) - 1)):
            prefix = '' if level == len(maps) - 1 else f'd{level}.'
            assigned = assignments[level]
            losses[f'{prefix}loss_cls'] = self._class_loss(cls_scores[level], targets, assigned)
            mask, dice = self._mask_losses(maps[level], targets, assigned, avg_factor)
            losses[f'{prefix}loss_mask'] = mask
            losses[f'{prefix}loss_dice'] = dice
        return losses, assignments

    def _class_loss(
        self, cls_score: Tensor, targets: Sequence[ImageTargets], assigned: Sequence[Assignment]
    ) -> Tensor:
        # also where the classifier has no no-object: then a label that is no column
        no_object = self.scenario.num_seen
        # (B, Q): what each query is to say; unmatched queries say that they see nothing
        labels = cls_score.new_full(cls_score.shape[:2], no_object, dtype=torch.long)
        for image, (queries, chosen) in enumerate(assigned):
            query, index = (to_device(part, labels.device) for part in (queries, chosen))
            labels[image, query] = targets[image].labels[index]
        told = {}
        if getattr(self.loss_cls, 'reads_memory', False):
            from_memory = torch.tensor([target.from_memory for target in targets])
            told['from_memory'] = to_device(from_memory, labels.device).repeat_interleave(
                labels.shape[1]
            )
        # (B, Q, K + 1) -> (B * Q, K + 1): the loss is a mean over the queries of the whole batch
        return self.loss_cls(cls_score.flatten(0, 1), labels.flatten(), **told)

    def _mask_losses(
        self,
        maps: tuple[Tensor, Tensor],
        targets: Sequence[ImageTargets],
        assigned: Sequence[Assignment],
        avg_factor: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return mask and dice loss of one level; ``maps`` are each (B, Q, h, w)."""
        counts = [len(queries) for queries, _ in assigned]
        image = np.repeat(np.arange(len(counts)), counts)
        query = np.concatenate([queries for queries, _ in assigned])
        index = (to_device(image, maps[0].device), to_device(query, maps[0].device))
        # (B, Q, h, w) -> (M, h, w), M matched queries in (image, query) order
        mask_map = maps[0][index]
        dice_map = mask_map if maps[1] is maps[0] else maps[1][index]
        if sum(counts) == 0:
            # 0, but with a gradient to every parameter, which data parallelism waits for
            return mask_map.sum(), dice_map.sum()
        points = uncertain_points(
            dice_map.detach(),
            self.mask_activation.uncertainty,
            num_points=self.num_points,
            oversample_ratio=self.oversample_ratio,
            importance_ratio=self.importance_sample_ratio,
        )
        with torch.no_grad():
            samples = [
                target.sample_each(chosen, part)
                for target, (_, chosen), part in zip(
                    targets, assigned, points.split(counts), strict=True
                )
            ]
            target = torch.cat(samples)
        mask_samples = sample_each(mask_map, points)
        dice_samples = mask_samples if dice_map is mask_map else sample_each(dice_map, points)
        return (
            self.loss_mask(mask_samples, target, avg_factor=avg_factor),
            self.loss_dice(dice_samples, target, avg_factor=avg_factor),
        )

    def predict(self, x: Sequence[Tensor], batch_data_samples: SampleList) -> tuple[Tensor, Tensor]:
        """Return the last level's predictions.

        Args:
            x: Multi-scale features, each (B, C_i, h_i, w_i).
            batch_data_samples: The samples of the batch.

        Returns:
            Class logits by dataset label (B, Q, num_classes + 1), -inf for classes not seen yet,
            no-object last; and mask logits at padded input size (B, Q, H, W).
        """
        cls_score, mask_pred = super().predict(x, batch_data_samples)
        return self.to_dataset_labels(cls_score), mask_pred

    def to_dataset_labels(self, cls_score: Tensor) -> Tensor:
        """Renumber class logits from learning order to dataset labels.

        Args:
            cls_score: Shape (..., K + 1), K seen classes, no-object last; (..., K) without it.

        Returns:
            Shape (..., num_classes + 1), -inf for classes not seen yet, no-object last, -inf too
            where there is none.
        """
        by_label = cls_score.new_full((*cls_score.shape[:-1], self.num_classes + 1), -torch.inf)
        num_seen = self.scenario.num_seen
        by_label[..., self.learning_to_label] = cls_score[..., :num_seen]
        if self.class_activation.has_no_object:
            by_label[..., -1] = cls_score[..., num_seen]
        return by_label
