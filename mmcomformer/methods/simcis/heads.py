"""SimCIS' heads: queries come from the cells of the pixel decoder, with a box each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from ...models.incremental_classifier import IncrementalClassifier
from ...models.matching import Assignment, match
from ...models.query_head import IncrementalQueryHead
from ...models.query_output import QueryOutput
from ...models.semantic_query_head import SemanticQueryHead
from ...models.targets import ImageTargets, to_device
from ...registry import MODELS
from .boxes import cell_proposals, inverse_sigmoid, sine_of_boxes, target_boxes
from .output import SimCISOutput
from .query_bank import QueryBank

Classifier = Literal['growing', 'static']

_DEFAULTS: dict[str, Any] = dict(
    mask_activation=dict(type='QuerySigmoid'),
    class_activation=dict(type='ClassSigmoid', no_object=False, temperature=0.06),
    loss_cls=dict(type='ClassFocalLoss'),
    loss_mask=dict(type='SigmoidMaskLoss'),
    loss_dice=dict(type='SigmoidDiceLoss'),
)


@dataclass(frozen=True)
class _Image:
    """What the decoder attends to and predicts masks on: keys with positions, sizes, features."""

    keys: list[tuple[Tensor, Tensor]]
    sizes: list[Any]
    mask_features: Tensor


@dataclass(frozen=True)
class _Cells:
    """Queries (B, N, C) that cells would be, and logits of their boxes, (B, N, 4)."""

    tokens: Tensor
    boxes: Tensor

    def at(self, positions: Tensor) -> _Cells:
        """Return those of some cells, positions (B, Q)."""
        index = positions.unsqueeze(-1)
        return _Cells(*(part.take_along_dim(index, 1) for part in (self.tokens, self.boxes)))


def _mlp(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


@MODELS.register_module()
class SimCISHead(IncrementalQueryHead):
    """Head of SimCIS (CVPR 2025): queries are selected cells of the feature maps.

    Nothing is learned per query: the cells with the largest class logits become queries, with a box
    that each decoder layer refines and that says where the query is. A layer attends to the other
    queries first, then to the image.

    Args:
        num_virtual: Virtual queries for each image from step 1 on, drawn from a bank of earlier
            ones; they learn their class alone.
        sampling_power: See :func:`.sampling_weights`.
        bank_size: Queries that the bank keeps of each class.
        classifier: ``growing``: columns of the classes seen so far; ``static``: columns of all
            classes of the scenario from step 0 on, as released. Those of classes not seen yet are
            trained to say no, and are used neither for selection nor by the teacher.
        loss_box: Loss of matched boxes.
        loss_giou: Another one.
        **kwargs: See :class:`.IncrementalQueryHead`.

    Raises:
        ValueError: If a number is out of range, there is no such classifier, or the width is not
            divisible by 4.
    """

    labeller_settings: ClassVar[Mapping[str, Any]] = dict(score_thr=0.35)

    def __init__(
        self,
        *args: Any,
        num_virtual: int = 0,
        sampling_power: float = 0.5,
        bank_size: int = 80,
        classifier: Classifier = 'growing',
        loss_box: dict[str, Any] | None = None,
        loss_giou: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        for name, value, least in (
            ('num_virtual', num_virtual, 0),
            ('sampling_power', sampling_power, 0),
            ('bank_size', bank_size, 1),
        ):
            if value < least:
                raise ValueError(
                    f'{self.config_key}.{name}: expected at least {least}, got {value}'
                )
        if classifier not in get_args(Classifier):
            raise ValueError(
                f'{self.config_key}.classifier: expected one of {list(get_args(Classifier))}, got '
                f'{classifier!r}'
            )
        self._classifier = classifier
        super().__init__(*args, **{**_DEFAULTS, **kwargs})
        # queries are not learned
        del self.query_feat, self.query_embed
        width = self.decoder_embed_dims
        self.bank = QueryBank(self.scenario, width, bank_size, num_virtual, sampling_power)
        self.cell_embed = nn.Linear(width, width)
        self.cell_norm = nn.LayerNorm(width)
        self.box_embed = _mlp(width, width, width, 4)
        self.position_embed = _mlp(2 * width, width, width)
        self.position_scale = _mlp(width, width, width)
        self.loss_box = MODELS.build(loss_box or dict(type='BoxL1Loss'))
        self.loss_giou = MODELS.build(loss_giou or dict(type='BoxGIoULoss'))

    def make_classifier(self) -> nn.Module:
        """Return the module that gives class logits (..., K) of queries (..., C)."""
        width, scenario = self.decoder_embed_dims, self.scenario
        if width % 4:
            raise ValueError(
                f'{self.config_key}.feat_channels: expected a width divisible by 4, for the '
                f'positions of boxes, got {width}'
            )
        if self.class_activation.has_no_object:
            raise ValueError(
                f'{self.config_key}.class_activation: expected one without no-object, such as '
                f"dict(type='ClassSigmoid', no_object=False, temperature=0.06)"
            )
        if self._classifier == 'static':
            return nn.Linear(width, sum(scenario.increments))
        return IncrementalClassifier(width, scenario.seen_increments, no_object=False)

    def init_weights(self) -> None:
        """Set the weights; boxes start as the proposals of their cells."""
        super().init_weights()
        for parameter in self.box_embed[-1].parameters():
            nn.init.zeros_(parameter)

    def query_output(
        self,
        x: Sequence[Tensor],
        batch_data_samples: Sequence[Any],
        *,
        teacher: QueryOutput | None = None,
    ) -> SimCISOutput:
        """Return the predictions of each level.

        Args:
            x: Multi-scale features, each (B, C_i, h_i, w_i).
            batch_data_samples: The samples of the batch.
            teacher: The teacher's output for the batch, whose cells the student also looks at.
        """
        mask_features, memories = self._decode_pixels(x)
        keys = [self._keys(level, memory) for level, memory in enumerate(memories)]
        image = _Image(keys, [memory.shape[-2:] for memory in memories], mask_features)
        cells = self._cells(image)
        positions = self._select(cells)
        queries = cells.at(positions)
        output = self._decode_cells(queries, image)
        output = replace(output, positions=positions, selected_scores=output.cls_scores[0])
        if not self.training:
            # what a static classifier says of classes to come is nobody's business
            num_seen = self.scenario.num_seen
            return replace(output, cls_scores=tuple(x[..., :num_seen] for x in output.cls_scores))
        more: dict[str, Any] = {}
        if isinstance(teacher, SimCISOutput) and teacher.positions is not None:
            more |= self._at_teacher(cells.at(teacher.positions), queries, image)
        if self.bank.can_draw:
            virtual, labels = self.bank.draw(len(mask_features))
            more |= dict(virtual_scores=self._decode_virtual(virtual), virtual_labels=labels)
        return replace(output, **more)

    def _cells(self, image: _Image) -> _Cells:
        """Return the queries that all cells would be."""
        boxes, chosen = cell_proposals(image.sizes)
        # in float32 already on the host: there are devices without float64
        proposals, valid = (
            to_device(part, image.mask_features.device) for part in (boxes.float(), chosen)
        )
        # (B, N, C)
        feature = torch.cat([key for key, _ in image.keys], 1)
        tokens = self.cell_norm(self.cell_embed(feature * valid[:, None]))
        return _Cells(tokens, self.box_embed(tokens).float() + proposals)

    @torch.no_grad()
    def _select(self, cells: _Cells) -> Tensor:
        """Return the cells that are surest of a class seen so far, (B, Q), int64, best first."""
        scores = self._classify(cells.tokens)[..., : self.scenario.num_seen].amax(-1)
        return scores.topk(min(self.num_queries, scores.shape[1])).indices

    def _classify(self, tokens: Tensor) -> Tensor:
        return self.cls_embed(self.transformer_decoder.post_norm(tokens))

    def _decode_cells(self, queries: _Cells, image: _Image) -> SimCISOutput:
        """Return what queries predict before the first and after each layer of the decoder."""
        features, sizes = image.mask_features, image.sizes
        cls_score, mask_pred, blocked = self._forward_head(queries.tokens, features, sizes[0])
        tokens, boxes = [queries.tokens], [queries.boxes.sigmoid()]
        cls_scores, mask_preds = [cls_score], [mask_pred]
        # the layers do not train what they start from, nor each the boxes of the one before
        query, reference = queries.tokens.detach(), boxes[0].detach()
        for index, layer in enumerate(self.transformer_decoder.layers):
            position = self._position(query, reference)
            query = _self_attention_first(
                layer, query, position, *image.keys[index % len(sizes)], blocked
            )
            size = sizes[(index + 1) % len(sizes)]
            cls_score, mask_pred, blocked = self._forward_head(query, features, size)
            box = (self.box_embed(query).float() + inverse_sigmoid(reference)).sigmoid()
            reference = box.detach()
            for parts, part in (
                (tokens, query),
                (cls_scores, cls_score),
                (mask_preds, mask_pred),
                (boxes, box),
            ):
                parts.append(part)
        return SimCISOutput(
            tuple(cls_scores), tuple(mask_preds), tuple(tokens), features, boxes=tuple(boxes)
        )

    def _position(self, query: Tensor, box: Tensor) -> Tensor:
        """Return what attention adds to queries (B, Q, C) with these boxes, of the same shape."""
        sine = sine_of_boxes(box, self.decoder_embed_dims // 2)
        return self.position_scale(query) * self.position_embed(sine)

    def _at_teacher(self, cells: _Cells, own: _Cells, image: _Image) -> dict[str, Any]:
        """Return what the student says of the cells that the teacher selects."""

        def decode(boxes: str) -> Tensor:
            start = replace(cells, boxes=own.boxes) if boxes == 'own' else cells
            return self._decode_cells(start, image).cls_score

        return dict(scores_at_teacher=self._classify(cells.tokens), decode_at_teacher=decode)

    def _decode_virtual(self, query: Tensor) -> tuple[Tensor, ...]:
        """Return the class logits of virtual queries (B, V, C) at each level.

        They attend to nothing, and nothing attends to them.
        """
        scores = [self._classify(query)]
        for layer in self.transformer_decoder.layers:
            query = layer.norms[2](layer.ffn(query))
            scores.append(self._classify(query))
        return tuple(scores)

    def supervised_losses(
        self, output: QueryOutput, targets: Sequence[ImageTargets]
    ) -> tuple[dict[str, Tensor], list[list[Assignment]]]:
        """Return the losses of all levels, and what was matched with what.

        In training the bank takes over the queries that the last level matches.

        Args:
            output: The student's output, with L levels.
            targets: The segments of each image, pseudo-labels included.

        Returns:
            ``loss_cls``, ``loss_mask``, ``loss_dice``, ``loss_bbox`` and ``loss_giou`` of the last
            level, the same with prefix ``d0.`` and so on for the others; and for each level and
            image the matched queries and targets.
        """
        assert isinstance(output, SimCISOutput)
        cls_scores = [score.float() for score in output.cls_scores]
        maps = [self.mask_activation.loss_maps(pred.float()) for pred in output.mask_preds]
        boxes = [target_boxes(target) for target in targets]
        assignments, num_targets = match(
            cls_scores,
            [dice.detach() for _, dice in maps],
            targets,
            cost=self.match_cost,
            num_points=self.num_points,
            class_activation=self.class_activation,
            boxes=([box.detach() for box in output.boxes], boxes),
        )
        # averaged over ranks, at least 1
        avg_factor = reduce_mean(cls_scores[0].new_full((), num_targets)).clamp(min=1)
        losses: dict[str, Tensor] = {}
        for level in (len(maps) - 1, *range(len(maps) - 1)):
            prefix, assigned = '' if level == len(maps) - 1 else f'd{level}.', assignments[level]
            labels = self._labels(cls_scores[level], targets, assigned)
            found = (
                self._focal_loss(output, level, labels, avg_factor),
                *self._mask_losses(maps[level], targets, assigned, avg_factor),
                *self._box_losses(output.boxes[level], boxes, assigned, avg_factor),
            )
            names = ('loss_cls', 'loss_mask', 'loss_dice', 'loss_bbox', 'loss_giou')
            losses |= {f'{prefix}{name}': loss for name, loss in zip(names, found, strict=True)}
        if self.training:
            self._remember(output, targets, assignments[-1])
        return losses, assignments

    def _labels(
        self, cls_score: Tensor, targets: Sequence[ImageTargets], assigned: Sequence[Assignment]
    ) -> Tensor:
        """Return the learning index that each query is to say, (B, Q), -1 for unmatched ones."""
        labels = cls_score.new_full(cls_score.shape[:2], -1, dtype=torch.long)
        for image, (queries, chosen) in enumerate(assigned):
            query, index = (to_device(part, labels.device) for part in (queries, chosen))
            labels[image, query] = targets[image].labels[index]
        return labels

    def _focal_loss(
        self, output: SimCISOutput, level: int, labels: Tensor, avg_factor: Tensor
    ) -> Tensor:
        """Return the class loss of a level's queries, labels (B, Q), and of virtual ones."""
        scores = [output.cls_scores[level].float()]
        if output.virtual_labels is not None:
            scores.append(output.virtual_scores[level].float())
            labels = torch.cat([labels, output.virtual_labels], 1)
        score = torch.cat(scores, 1)
        return self.loss_cls(score.flatten(0, 1), labels.flatten(), avg_factor=avg_factor)

    def _box_losses(
        self,
        boxes: Tensor,
        of_targets: Sequence[Tensor],
        assigned: Sequence[Assignment],
        avg_factor: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the losses of the matched boxes of a level, (B, Q, 4)."""
        image, query = _matched(assigned, boxes.device)
        target = [
            of_image[to_device(chosen, boxes.device)]
            for of_image, (_, chosen) in zip(of_targets, assigned, strict=True)
        ]
        pairs = boxes[image, query], torch.cat(target)
        return (
            self.loss_box(*pairs, avg_factor=avg_factor),
            self.loss_giou(*pairs, avg_factor=avg_factor),
        )

    @torch.no_grad()
    def _remember(
        self,
        output: SimCISOutput,
        targets: Sequence[ImageTargets],
        assigned: Sequence[Assignment],
    ) -> None:
        """Push the initial queries that were matched, and count the pseudo-labels."""
        assert output.tokens is not None
        image, query = _matched(assigned, output.tokens[0].device)
        labels = self._labels(output.cls_scores[-1], targets, assigned)
        self.bank.push(output.tokens[0][image, query], labels[image, query])
        self.bank.count(targets)


def _matched(assigned: Sequence[Assignment], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return image and query of each matched query, each (M,), int64."""
    image = np.repeat(np.arange(len(assigned)), [len(queries) for queries, _ in assigned])
    query = np.concatenate([queries for queries, _ in assigned])
    return to_device(image, device), to_device(query, device)


def _self_attention_first(
    layer: Any, query: Tensor, position: Tensor, key: Tensor, key_position: Tensor, blocked: Tensor
) -> Tensor:
    """Run a layer of Mask2Former's decoder with its two attentions exchanged.

    Args:
        layer: The layer, whose first norm belongs to the attention to the image.
        query: Shape (B, Q, C).
        position: What attention adds to the queries, (B, Q, C).
        key: Cells of the image, (B, N, C).
        key_position: What attention adds to them, (B, N, C).
        blocked: Cells that a query may not attend to, (B * heads, Q, N), bool.
    """
    query = layer.self_attn(
        query=query, key=query, value=query, query_pos=position, key_pos=position
    )
    query = layer.cross_attn(
        query=layer.norms[1](query),
        key=key,
        value=key,
        query_pos=position,
        key_pos=key_position,
        # a query that may attend to nothing attends to everything
        attn_mask=blocked & ~blocked.all(-1, keepdim=True),
    )
    return layer.norms[2](layer.ffn(layer.norms[0](query)))


@MODELS.register_module()
class SimCISSemanticHead(SemanticQueryHead, SimCISHead):
    """SimCIS' head as decode head of mmseg's ``EncoderDecoder``.

    Pseudo-labels of one class are one segment, and no query is too unsure to give one.
    """

    labeller_settings: ClassVar[Mapping[str, Any]] = dict(
        score_thr=0.0,
        merge_classes=True,
        class_activation=dict(type='ClassSigmoid', no_object=False),
    )
