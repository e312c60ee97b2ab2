"""ECLIPSE's heads: a group of prompts per step beside the queries of step 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...models.class_activation import SOFTMAX
from ...models.inference_settings import InferenceSetting
from ...models.matching import Assignment
from ...models.query_head import DecoderQueries, IncrementalQueryHead
from ...models.query_output import QueryOutput
from ...models.semantic_query_head import SemanticQueryHead
from ...models.targets import ImageTargets
from ...registry import MODELS
from .classifier import PromptClassifier, mlp
from .no_object import Deltas, manipulate_no_object, parse_deltas

LEVELS = ('all', 'ends')
MATCHING = ('sigmoid', 'softmax')


@dataclass(frozen=True)
class GroupedQueries(DecoderQueries):
    """Queries of several steps, one group after the other.

    Attributes:
        groups: The step of each group; 0 are the queries of step 0.
    """

    groups: tuple[int, ...] = (0,)


class PromptGroup(nn.Module):
    """What step t >= 1 adds to the queries: prompts, and an MLP that gives their masks.

    Args:
        num_prompts: Number of prompts.
        width: Width C of a query.
        mask_width: Channels of the mask features.
        num_layers: Layers of the decoder, each of which has positions of its own ("deep").
    """

    def __init__(self, num_prompts: int, width: int, mask_width: int, num_layers: int) -> None:
        super().__init__()
        self.features = nn.Embedding(num_prompts, width)
        self.positions = nn.ModuleList(nn.Embedding(num_prompts, width) for _ in range(num_layers))
        self.mask_embed = mlp(width, mask_width)

    def tables(self) -> list[Tensor]:
        """Return the positions of each layer, (N, C), as they are trained."""
        return [cast(nn.Embedding, position).weight for position in self.positions]


@MODELS.register_module()
class EclipseHead(IncrementalQueryHead):
    """Mask2Former's head with prompts in place of forgetting (ECLIPSE).

    Step 0 trains as Mask2Former does, with a sigmoid for each class. Each later step adds a group
    of prompts, which alone are in the decoder when it is trained; at inference all groups are, and
    what queries attend to each other for stays within a group. Freeze everything but what a step
    adds and the MLP of no-object with ``model.freeze``.

    Args:
        *args: See :class:`.IncrementalQueryHead`.
        num_prompts: Number N of prompts that each step after step 0 adds.
        deltas: How each group's no-object follows from other classes at inference after step 0,
            see :func:`.manipulate_no_object`; a number for all groups, a list whose last number
            holds for the groups after it, too, or None to leave no-object as it is.
        class_weights: Weight of the class loss, and of the class in matching, at step 0 and later.
        match_probability: The probability of a class in matching: ``sigmoid`` as in the loss, or
            ``softmax`` over all classes and no-object, as the released program has it.
        supervised_levels: Levels with a loss after step 0: ``all`` as at step 0, or ``ends``, the
            first and the last, as in the released program.
        **kwargs: See :class:`.IncrementalQueryHead`.

    Raises:
        TypeError: If ``num_prompts`` or ``deltas`` has another type.
        ValueError: If it has a value that makes no sense, or a class weight is given twice.
    """

    def __init__(
        self,
        *args: Any,
        num_prompts: int,
        deltas: Deltas = None,
        class_weights: Sequence[float] = (2.0, 10.0),
        match_probability: str = 'sigmoid',
        supervised_levels: str = 'all',
        loss_cls: dict[str, Any] | None = None,
        train_cfg: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._check_count(num_prompts)
        self._check_choice('match_probability', match_probability, MATCHING)
        self._check_choice('supervised_levels', supervised_levels, LEVELS)
        defaults = dict(
            mask_activation=dict(type='QuerySigmoid'),
            class_activation=dict(type='ClassSigmoid'),
            loss_mask=dict(type='SigmoidMaskLoss'),
            loss_dice=dict(type='SigmoidDiceLoss'),
        )
        loss_cls = loss_cls or dict(type='SigmoidFocalClassLoss')
        train_cfg = {'match_cost': dict(type='WeightedMatchCost'), **(train_cfg or {})}
        self._check_weights(class_weights, loss_cls, train_cfg['match_cost'])
        super().__init__(*args, **{**defaults, **kwargs}, loss_cls=loss_cls, train_cfg=train_cfg)
        step, width = self.scenario.step, self.query_feat.embedding_dim
        self.num_prompts = num_prompts
        self.set_deltas(deltas)
        self.supervised_levels = supervised_levels if step else 'all'
        if match_probability == 'softmax':
            self.match_activation = SOFTMAX
        self.loss_cls.loss_weight = class_weights[min(step, 1)]
        self.match_cost.cls_weight = class_weights[min(step, 1)]
        num_layers = self.num_transformer_decoder_layers
        # the first ones are those of step 1
        self.prompts = nn.ModuleList(
            PromptGroup(num_prompts, width, self.mask_embed[-1].out_features, num_layers)
            for _ in range(step)
        )

    def _check_count(self, num_prompts: Any) -> None:
        key = f'{self.config_key}.num_prompts'
        if isinstance(num_prompts, bool) or not isinstance(num_prompts, int):
            raise TypeError(f'{key}: expected a number of prompts such as 10, got {num_prompts!r}')
        if num_prompts < 1:
            raise ValueError(f'{key}: expected at least 1, got {num_prompts}')

    def _check_choice(self, name: str, value: Any, known: Sequence[str]) -> None:
        if value not in known:
            expected = ' or '.join(map(repr, known))
            raise ValueError(f'{self.config_key}.{name}: expected {expected}, got {value!r}')

    def _check_weights(
        self, weights: Any, loss_cls: Mapping[str, Any], match_cost: Mapping[str, Any]
    ) -> None:
        key = f'{self.config_key}.class_weights'
        numbers = isinstance(weights, (list, tuple)) and len(weights) == 2
        if not numbers or not all(isinstance(weight, (int, float)) for weight in weights):
            raise ValueError(f'{key}: expected two numbers, of step 0 and later, got {weights!r}')
        for other, name, config in (
            (f'{self.config_key}.loss_cls', 'loss_weight', loss_cls),
            ('model.train_cfg.match_cost', 'cls_weight', match_cost),
        ):
            if name in config:
                raise ValueError(f'{other}.{name}: remove it; {key} gives the weight of each step')

    def set_deltas(self, deltas: Deltas) -> None:
        """Replace the deltas of inference; see the class."""
        num_steps = self.scenario.num_steps
        self.deltas = parse_deltas(deltas, num_steps, f'{self.config_key}.deltas')

    def inference_settings(self) -> dict[str, InferenceSetting]:
        """Return what may change without training: the deltas too."""
        own = {'deltas': InferenceSetting(f'{self.config_key}.deltas', self.set_deltas)}
        return {**super().inference_settings(), **own}

    def make_classifier(self) -> nn.Module:
        """Return the classifier: an MLP per step, and one for no-object."""
        return PromptClassifier(self.query_feat.embedding_dim, self.scenario.seen_increments)

    def newest_parameters(self, prefix: str) -> frozenset[str]:
        """Return the names of the newest prompts and of the MLP of their masks."""
        newest = len(self.prompts) - 1
        names = self.prompts[newest].state_dict() if self.prompts else ()
        return frozenset(f'{prefix}prompts.{newest}.{name}' for name in names)

    def grow_state(self, state_dict: Mapping[str, Tensor], prefix: str) -> None:
        """Check that the step before has what this one starts from; nothing is changed.

        Raises:
            RuntimeError: If it was trained by another method, or with other prompts.
        """
        if f'{prefix}cls_embed.no_object.4.weight' not in state_dict:
            raise RuntimeError(
                f'{self.config_key}.type: {type(self).__name__} goes on from a step that it '
                f'trained itself, and the checkpoint has no MLP for no-object, so it is of '
                f'another method; train step 0 with this config'
            )
        for step in range(1, self.scenario.step):
            features = state_dict.get(f'{prefix}prompts.{step - 1}.features.weight')
            found = 0 if features is None else len(features)
            if found != self.num_prompts:
                raise RuntimeError(
                    f'{self.config_key}.num_prompts: expected that of the steps before, but it is '
                    f'{self.num_prompts} and the checkpoint has {found} prompts of step {step}'
                )

    @torch.no_grad()
    def initialise_newest(self) -> None:
        """Start the newest prompts as the mean query of step 0, with the MLP of its masks."""
        newest = self.prompts_of(self.scenario.step)
        newest.features.weight.copy_(self.query_feat.weight.mean(0, keepdim=True))
        for table in newest.tables():
            table.copy_(self.query_embed.weight.mean(0, keepdim=True))
        newest.mask_embed.load_state_dict(self.mask_embed.state_dict())

    def prompts_of(self, step: int) -> PromptGroup:
        """Return the prompts of a step from 1 on."""
        return cast(PromptGroup, self.prompts[step - 1])

    def initial_queries(
        self, mask_features: Tensor, memories: Sequence[Tensor], teacher: QueryOutput | None
    ) -> GroupedQueries:
        """Return what is trained: the prompts of the step alone, at step 0 the queries."""
        return self.queries_of([self.scenario.step], len(mask_features))

    def queries_of(self, groups: Sequence[int], batch_size: int) -> GroupedQueries:
        """Return the queries of some steps, which attend to those of their own step only."""
        sizes = self.group_sizes(groups)
        tokens = torch.cat([self._features_of(step) for step in groups])
        tables = zip(*(self._positions_of(step) for step in groups), strict=True)
        blocked = None
        if len(groups) > 1:
            group = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
            blocked = (group[:, None] != group).to(tokens.device)
        # (Q, C) -> (B, Q, C)
        tokens, *positions = (
            part.expand(batch_size, -1, -1) for part in (tokens, *map(torch.cat, map(list, tables)))
        )
        return GroupedQueries(tokens, positions, blocked, tuple(groups))

    def _features_of(self, step: int) -> Tensor:
        return self.prompts_of(step).features.weight if step else self.query_feat.weight

    def _positions_of(self, step: int) -> list[Tensor]:
        if step:
            return self.prompts_of(step).tables()
        return [self.query_embed.weight] * self.num_transformer_decoder_layers

    def embed_masks(self, tokens: Tensor, queries: DecoderQueries | None) -> Tensor:
        """Return what mask features are multiplied with, by the MLP of each group, (B, Q, C)."""
        groups = queries.groups if isinstance(queries, GroupedQueries) else (0,)
        layers = [self.prompts_of(step).mask_embed if step else self.mask_embed for step in groups]
        parts = tokens.split(self.group_sizes(groups), dim=1)
        return torch.cat([layer(part) for layer, part in zip(layers, parts, strict=True)], 1)

    def group_sizes(self, groups: Sequence[int]) -> list[int]:
        """Return how many queries the groups of some steps have."""
        return [self.num_prompts if step else self.num_queries for step in groups]

    def supervised_losses(
        self, output: QueryOutput, targets: Sequence[ImageTargets]
    ) -> tuple[dict[str, Tensor], list[list[Assignment]]]:
        """Return the losses of the supervised levels; see :class:`.IncrementalQueryHead`."""
        if self.supervised_levels == 'ends':
            scores, masks = output.cls_scores, output.mask_preds
            output = replace(
                output, cls_scores=(scores[0], scores[-1]), mask_preds=(masks[0], masks[-1])
            )
        return super().supervised_losses(output, targets)

    def forward(
        self, x: Sequence[Tensor], batch_data_samples: Sequence[Any]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return class and mask logits of each level, for inference: of all groups of queries.

        Args:
            x: Multi-scale features, each (B, C_i, h_i, w_i).
            batch_data_samples: The samples of the batch.

        Returns:
            Class logits (B, Q, K + 1), no-object as it was trained, and mask logits (B, Q, h, w).
        """
        mask_features, memories = self._decode_pixels(x)
        queries = self.queries_of(range(self.scenario.step + 1), len(mask_features))
        output = self._decode(mask_features, memories, queries)
        return list(output.cls_scores), list(output.mask_preds)

    def to_dataset_labels(self, cls_score: Tensor) -> Tensor:
        """Give no-object its value for inference, and renumber the logits of all groups.

        Args:
            cls_score: Class logits of :meth:`forward`, (B, Q, K + 1).

        Returns:
            See :meth:`.IncrementalQueryHead.to_dataset_labels`.
        """
        step = self.scenario.step
        cls_score = manipulate_no_object(
            cls_score.float(),
            self.group_sizes(range(step + 1)),
            self.scenario.seen_increments,
            # at step 0 there is no other class: no-object is left as it is
            self.deltas[: step + 1] if step else (0.0,),
        )
        return super().to_dataset_labels(cls_score)


@MODELS.register_module()
class EclipseSemanticHead(SemanticQueryHead, EclipseHead):
    """ECLIPSE's head as decode head of mmseg's ``EncoderDecoder``."""
