"""An endless stream of shuffled images, each with random numbers of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from ..random_state import kept_host_generators, seed_host_generators
from ..registry import DATA_SAMPLERS


class Draw(int):
    """The index of an image in a dataset, and what its random numbers are derived from.

    Args:
        index: The index.
        key: The sampler's seed, and the number of the draw in the stream of all processes.
    """

    key: tuple[int, int]

    def __new__(cls, index: int, key: tuple[int, int]) -> Draw:
        """Make an integer that knows its key."""
        draw = super().__new__(cls, index)
        draw.key = key
        return draw

    def __reduce__(self) -> tuple[type[Draw], tuple[int, tuple[int, int]]]:
        """Keep the key on the way to a worker process."""
        return Draw, (int(self), self.key)


class _SeededImages:
    """Loads a batch; the random numbers of each image depend on its draw alone."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __call__(self, indices: Sequence[int]) -> list[Any]:
        if not all(isinstance(index, Draw) for index in indices):
            return [self._dataset[index] for index in indices]
        # without worker processes, these are the generators of the model
        with kept_host_generators():
            return [self._load(index) for index in indices if isinstance(index, Draw)]

    def _load(self, draw: Draw) -> Any:
        seed_host_generators(*draw.key)
        return self._dataset[int(draw)]


@DATA_SAMPLERS.register_module()
class ContinualSampler(Sampler[int]):
    """Draw images endlessly, in the order of mmengine's ``InfiniteSampler``.

    What a transform does at random to an image follows from the seed and the number of the draw,
    not from the process that loads it: any number of worker processes, and any number of training
    processes with the same total batch, see the same images. The state of a training is one
    number, so it goes on exactly where a checkpoint was written, whatever workers had loaded in
    advance.

    It works through the batches that torch's loader asks of a dataset, so the dataset may be
    wrapped (``RepeatDataset``, ``ConcatDataset``).

    Args:
        dataset: The dataset of the loader.
        shuffle: Whether to shuffle it, anew in each round.
        seed: Seed of order and transforms; None draws one for all processes.
    """

    def __init__(self, dataset: Any, shuffle: bool = True, seed: int | None = None) -> None:
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.shuffle = shuffle
        self.seed: int = sync_random_seed() if seed is None else seed
        self._draws = 0
        self._iterations = 0
        self._first = 0
        # torch's loader looks for this attribute before it asks for single images
        dataset.__getitems__ = _SeededImages(dataset)

    def __iter__(self) -> Iterator[Draw]:
        """Yield this process's part of the stream."""
        stream = enumerate(self._indices())
        first = self._first + self.rank
        for number, index in itertools.islice(stream, first, None, self.world_size):
            yield Draw(index, (self.seed, number))

    def _indices(self) -> Iterator[int]:
        generator = torch.Generator()
        generator.manual_seed(self.seed)
        while True:
            if self.shuffle:
                yield from torch.randperm(len(self), generator=generator).tolist()
            else:
                yield from range(len(self))

    def __len__(self) -> int:
        """Return the number of images, after which they are shuffled anew."""
        return len(self.dataset)

    def skip(self, num_samples: int) -> None:
        """Begin after so many draws of this process; mmengine calls it when it resumes."""
        self._first = num_samples * self.world_size

    def state_after(self, iterations: int, batch_size: int) -> dict[str, int]:
        """Return what a checkpoint has to keep.

        Args:
            iterations: Trained so far, resumed ones included.
            batch_size: Images per iteration and process.

        Returns:
            ``seed``, and ``draws`` of all processes together.
        """
        trained = (iterations - self._iterations) * batch_size * self.world_size
        return {'seed': self.seed, 'draws': self._draws + trained}

    def load_state(self, state: Mapping[str, int], iterations: int) -> None:
        """Begin where a checkpoint was written.

        Args:
            state: From :meth:`state_after`, of a run with any batch size and number of processes.
            iterations: Trained when it was written.
        """
        self.seed, self._draws = int(state['seed']), int(state['draws'])
        self._first = self._draws
        self._iterations = iterations
