"""Which validation images a run keeps, and which of them its page shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .collected import NOTHING, KeptPicture

LEAST_SHARE = 0.01
"""A class is seen on an image if it covers this share of it."""
MOST_KEPT = 48
_IN_MEMORY = 160
_SAMPLED_SIDE = 128
SHOWN = 8

_Rank = tuple[int, float, str]


def classes_on(truth: NDArray[np.integer], least: float = LEAST_SHARE) -> dict[int, float]:
    """Return the share of an image that each dataset label covers, if it can be seen.

    Args:
        truth: Map of codes, see :class:`.KeptPicture`.
        least: Smallest share.

    Example:
        >>> classes_on(np.array([[0, 1003], [3, -1]]))
        {0: 0.25, 3: 0.5}
    """
    codes, counts = np.unique(truth, return_counts=True)
    shares: dict[int, float] = {}
    for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
        if code != NOTHING:
            label = code % 1000
            shares[label] = shares.get(label, 0.0) + count / truth.size
    return {label: share for label, share in sorted(shares.items()) if share >= least}


class PicturePool:
    """For each class the images that show it together with the most other classes.

    Among equals those of which it covers the largest share are kept, then the first by name. So
    the choice depends on the ground truth only: it is the same after every step and for any number
    of processes. Of few classes more images are kept, so that a page has enough of them.

    Args:
        num_classes: Number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        self._per_class = max(1, min(SHOWN, _IN_MEMORY // num_classes))
        # the best ones of each class, in order
        self._best: dict[int, list[_Rank]] = {}
        self._pictures: dict[str, KeptPicture] = {}

    def offer(self, name: str, truth: NDArray[np.integer], make: Callable[[], KeptPicture]) -> None:
        """Keep an image if it is among the best ones of a class so far.

        Args:
            name: Its name.
            truth: Map of codes, (H, W).
            make: Returns the picture; called only if it is kept.
        """
        # a sample of the pixels is enough, and sorting all of them takes long
        stride = max(1, min(truth.shape) // _SAMPLED_SIDE)
        shares = classes_on(truth[::stride, ::stride])
        ranks = {label: (-len(shares), -share, name) for label, share in shares.items()}
        if any(self._is_kept(label, rank) for label, rank in ranks.items()):
            self._add(make(), ranks)

    def _is_kept(self, label: int, rank: _Rank) -> bool:
        best = self._best.get(label, [])
        return rank not in best and (len(best) < self._per_class or rank < best[-1])

    def _add(self, picture: KeptPicture, ranks: Mapping[int, _Rank]) -> None:
        for label, rank in ranks.items():
            if self._is_kept(label, rank):
                best = sorted([*self._best.get(label, []), rank])
                self._best[label] = best[: self._per_class]
        self._pictures[picture.name] = picture
        names = {name for best in self._best.values() for _, _, name in best}
        self._pictures = {name: kept for name, kept in self._pictures.items() if name in names}

    def merge(self, other: PicturePool) -> None:
        """Add what another process kept."""
        for name, picture in other._pictures.items():
            ranks = {
                label: rank
                for label, best in other._best.items()
                for rank in best
                if rank[2] == name
            }
            if any(self._is_kept(label, rank) for label, rank in ranks.items()):
                self._add(picture, ranks)

    def pictures(self, most: int = MOST_KEPT) -> list[KeptPicture]:
        """Return the pictures, those first that show the most classes that none before shows."""
        rest = {name: set(classes_on(p.maps['truth'])) for name, p in self._pictures.items()}
        chosen: list[KeptPicture] = []
        every: set[int] = set().union(*rest.values())
        missing = set(every)
        while rest and len(chosen) < most:
            # once each class has been shown, each is to be shown again
            missing = missing if any(missing & shown for shown in rest.values()) else set(every)
            name = min(rest, key=lambda key: (-len(rest[key] & missing), key))
            missing -= rest.pop(name)
            chosen.append(self._pictures[name])
        return chosen


def choose_pictures(
    pictures: Sequence[KeptPicture], rankings: Iterable[Sequence[int]], count: int = SHOWN
) -> list[KeptPicture]:
    """Choose the pictures of a page.

    Args:
        pictures: Those that were kept.
        rankings: Dataset labels of the classes to show, in order of importance: the classes that
            lost most, the new ones, the best ones. One picture is taken for each in turn.
        count: How many to choose.
    """
    shares = [classes_on(picture.maps['truth']) for picture in pictures]
    queues = [list(ranking) for ranking in rankings]
    chosen: list[int] = []
    while any(queues) and len(chosen) < count:
        for queue in filter(None, queues):
            label = queue.pop(0)
            free = [i for i, of in enumerate(shares) if label in of and i not in chosen]
            if free and len(chosen) < count:
                chosen.append(max(free, key=lambda i: (shares[i][label], -i)))
    rest = [i for i in range(len(pictures)) if i not in chosen]
    return [pictures[i] for i in [*chosen, *rest][:count]]
