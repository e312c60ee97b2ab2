"""What the benchmarks of training share: models, generated batches and training steps.

An image is cut into cells. Some are ground truth; the others only the teacher knows. Random weights
would give no pseudo-labels, so the teacher runs in full and then says what is planted: each cell
is claimed by a query that is sure of an old class, the other queries are sure of no-object.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
from measuring import (
    MEGABYTE,
    BenchmarkError,
    clock_of,
    in_child,
    peak_megabytes,
    positive,
    require,
    require_device,
)

# torch and the models are imported where they are used: --help need not wait for them
if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmcomformer.models import QueryOutput

CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_'
CELL_LOGIT = 10.0
BASE_MEGABYTES = 500


@dataclass(frozen=True)
class Size:
    """The size of a training step.

    Attributes:
        model: ``tiny`` or ``r50``: which config of ``configs/_base_/models``.
        batch: Images.
        resolution: Side of an image, pixels.
        queries: Queries of student and teacher.
        increments: Classes of each step; the last step is trained.
        truth: Ground-truth segments of an image.
        pseudo: Cells of an image that only the teacher knows.
        amp: Whether the step computes in float16 where that is safe.
    """

    model: str
    batch: int
    resolution: int
    queries: int
    increments: tuple[int, ...]
    truth: int = 5
    pseudo: int = 10
    amp: bool = False


TINY = Size('tiny', batch=4, resolution=128, queries=20, increments=(6, 3))
SIZES = {
    'tiny': TINY,
    # the step of the quickstart
    'shapes': replace(TINY, batch=8, resolution=96, truth=3, pseudo=3),
    'r50': Size('r50', batch=2, resolution=256, queries=100, increments=(100, 50)),
}


def add_size_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose model, size and device; their values are read by `size_of`."""
    parser.add_argument('--model', choices=sorted(SIZES), default='tiny', help='which step')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu', help='where to train')
    for name, text in (
        ('batch', 'images'),
        ('resolution', 'side of an image, pixels'),
        ('queries', 'queries of student and teacher'),
        ('pseudo', 'cells of an image that only the teacher knows'),
    ):
        values = ', '.join(f'{key}: {getattr(size, name)}' for key, size in SIZES.items())
        parser.add_argument(f'--{name}', type=positive, default=None, help=f'{text} ({values})')
    parser.add_argument('--amp', action='store_true', help='mixed precision (float16; cuda only)')
    parser.add_argument('--runs', type=positive, default=5, help='how often everything is measured')
    parser.add_argument('--json', metavar='FILE', help='write the figures into this file')


def size_of(args: argparse.Namespace) -> Size:
    """Return the chosen size; what was not given is put into ``args``, so that it is reported.

    Raises:
        BenchmarkError: If the device is not there or the size cannot be trained.
    """
    # the memory of a size is checked when the size is known
    require_device(args.device, memory=0)
    if args.amp and args.device != 'cuda':
        raise BenchmarkError(f'--amp: expected with --device cuda, got {args.device}')
    size = replace(SIZES[args.model], amp=args.amp)
    for name in ('batch', 'resolution', 'queries', 'pseudo'):
        if getattr(args, name) is None:
            setattr(args, name, getattr(size, name))
        size = replace(size, **{name: getattr(args, name)})
    check_size(size)
    return size


def check_size(size: Size) -> None:
    """Check that a size can be trained.

    Raises:
        BenchmarkError: If it cannot.
    """
    if size.resolution % 32 or size.resolution < 64:
        raise BenchmarkError(f'a side of {size.resolution}: expected a multiple of 32, at least 64')


def check_memory(sizes: Iterable[Size], device: str) -> None:
    """Check that students and teachers of these sizes fit into the memory of the host together.

    Raises:
        BenchmarkError: If they do not.
    """
    if device == 'cpu':
        needed = sum(needed_megabytes(size) for size in sizes)
        require(Path.cwd(), memory=BASE_MEGABYTES + needed)


def needed_megabytes(size: Size) -> float:
    """Return about how much memory the training of a student with a teacher takes."""
    weights, of_pixel, levels = {'tiny': (13.0, 2500.0, 4), 'r50': (170.0, 10000.0, 10)}[size.model]
    weights += 2 * 4 * 256 * (size.queries + sum(size.increments)) / MEGABYTE
    # each level keeps some maps of every query, at a quarter of the side
    of_pixel += 4 * 8 * levels * size.queries / 16
    pixels = size.batch * size.resolution**2
    # weights, gradients, two moments, and the teacher
    return 5 * weights + of_pixel * pixels / MEGABYTE


@contextmanager
def fitting() -> Iterator[None]:
    """Turn want of memory into a :class:`BenchmarkError`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and 'memory' not in str(error):
            raise
        reason = str(error).split('\n', 1)[0]
        raise BenchmarkError(f'this size does not fit: {reason}') from error


def build_model(size: Size, *, step: int, device: str) -> Any:
    """Build the detector of a step, with random weights."""
    import torch
    from mmengine.config import Config
    from mmengine.registry import MODELS, DefaultScope

    import mmcomformer.components  # noqa: F401  (registers)

    config = Config.fromfile(CONFIGS / 'models' / f'comformer_{size.model}.py').model
    config.backbone.init_cfg = None
    names = [f'class {label}' for label in range(sum(size.increments))]
    config.panoptic_head.num_queries = size.queries
    config.panoptic_head.scenario = {
        'increments': list(size.increments),
        'thing_classes': names,
        'stuff_classes': [],
        'step': step,
    }
    torch.manual_seed(step)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(config)
    model.init_weights()
    return model.to(device)


def draw_cells(size: Size, count: int) -> np.ndarray:
    """Return which of ``count`` cells each pixel belongs to, int64, shape (B, H, W)."""
    rng = np.random.default_rng(0)
    centres = rng.random((size.batch, count, 2)) * size.resolution
    rows, columns = np.indices((size.resolution, size.resolution))
    cells = np.zeros((size.batch, size.resolution, size.resolution), np.int64)
    for image, of_image in enumerate(centres):
        nearest = np.full(rows.shape, np.inf)
        for cell, (y, x) in enumerate(of_image):
            distance = (rows - y) ** 2 + (columns - x) ** 2
            cells[image][distance < nearest] = cell
            nearest = np.minimum(distance, nearest)
    return cells


def make_samples(size: Size, cells: np.ndarray, counts: Sequence[int], *, device: str) -> list[Any]:
    """Return data samples whose first ``counts[i]`` cells are ground truth of the last step."""
    import torch
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData, PixelData

    side, old = size.resolution, sum(size.increments[:-1])
    samples = []
    for of_image, count in zip(cells, counts, strict=True):
        # as PackContinualInputs makes it: position in the labels, plus 1
        number = np.where(of_image < count, of_image + 1, 0).astype(np.uint8)
        labels = old + torch.arange(count) % size.increments[-1]
        shapes = dict.fromkeys(('img_shape', 'ori_shape', 'batch_input_shape'), (side, side))
        sample = DetDataSample(metainfo=shapes)
        sample.gt_instances = InstanceData(labels=labels)
        sample.gt_panoptic_seg = PixelData(sem_seg=torch.from_numpy(number[None]))
        samples.append(sample.to(device))
    return samples


def plant_output(size: Size, cells: np.ndarray, *, device: str) -> tuple[Tensor, Tensor]:
    """Return logits of a teacher in which query i claims cell i.

    Returns:
        Class logits (B, Q, K_old + 1) and mask logits (B, Q, H / 4, W / 4).
    """
    import torch

    old = sum(size.increments[:-1])
    claims = torch.arange(size.queries) < cells.max() + 1
    labels = torch.where(claims, torch.arange(size.queries) % old, old)
    classes = 5.0 * torch.nn.functional.one_hot(labels, old + 1).float()
    coarse = torch.from_numpy(cells[:, 2::4, 2::4]).to(device)
    masks = coarse[:, None] == torch.arange(size.queries, device=device)[:, None, None]
    return classes.repeat(size.batch, 1, 1).to(device), CELL_LOGIT * masks.float()


class PlantedTeacher:
    """A teacher that runs in full and then says what is planted."""

    def __init__(self, model: nn.Module, cls_score: Tensor, mask_pred: Tensor) -> None:
        from mmcomformer.models import FrozenTeacher

        self._teacher = FrozenTeacher(model)
        self.model = self._teacher.model
        self.cls_score, self.mask_pred = cls_score, mask_pred

    def __call__(
        self,
        batch_inputs: Tensor,
        batch_data_samples: Sequence[Any],
        wanted: Collection[str] = (),
    ) -> QueryOutput:
        """Return the planted logits, and the real features."""
        output = self._teacher(batch_inputs, batch_data_samples, wanted)
        return replace(output, cls_scores=(self.cls_score,), mask_preds=(self.mask_pred,))


class Step:
    """One iteration of a student with a batch; what derives from it sets these.

    Attributes:
        device: ``cpu`` or ``cuda``.
        student: The model.
        images: The batch, (B, 3, H, W).
        samples: Its samples.
        optim_wrapper: The optimizer.
    """

    device: str
    student: Any
    images: Tensor
    samples: list[Any]
    optim_wrapper: Any

    def step(self, _: int = 0) -> None:
        """Do one iteration, and wait for it."""
        with self.optim_wrapper.optim_context(self.student):
            losses = self.student.loss(self.images, self.samples)
        loss, _log = self.student.parse_losses(losses)
        self.optim_wrapper.update_params(loss)
        synchronize(self.device)


class Training(Step):
    """A student, its optimizer and a batch, with or without a teacher.

    Args:
        size: The size of the step.
        device: ``cpu`` or ``cuda``.
        with_teacher: Whether the step is CoMFormer's; fine-tuning otherwise, with as many targets.
    """

    def __init__(self, size: Size, *, device: str, with_teacher: bool) -> None:
        import torch

        from mmcomformer.models import MaskPseudoLabels, QueryOutput

        step = len(size.increments) - 1
        self.size, self.device = size, device
        self.student = build_model(size, step=step, device=device).train()
        torch.manual_seed(0)
        self.images = torch.randn(size.batch, 3, size.resolution, size.resolution, device=device)
        cells = draw_cells(size, size.truth + size.pseudo)
        truth = make_samples(size, cells, [size.truth] * size.batch, device=device)
        planted = plant_output(size, cells, device=device)
        labeller = MaskPseudoLabels(self.student.mask_head.mask_activation)
        targets = labeller(
            self.student.mask_head.build_targets(truth),
            QueryOutput((planted[0],), (planted[1],)),
        )
        #: pseudo-labels of each image
        self.pseudo = [int(target.valid.sum()) - size.truth for target in targets]
        self.samples = truth
        if with_teacher:
            teacher = build_model(size, step=step - 1, device=device)
            self.student.teacher = PlantedTeacher(teacher, *planted)
            self.student.pseudo_labeller = labeller
        else:
            counts = [size.truth + count for count in self.pseudo]
            self.samples = make_samples(size, cells, counts, device=device)
        self.optim_wrapper = build_optimizer(self.student, amp=size.amp)

    def num_targets(self) -> list[int]:
        """Return how many targets each image of the batch has."""
        truth = [len(sample.gt_instances) for sample in self.samples]
        if self.student.teacher is None:
            return truth
        return [count + pseudo for count, pseudo in zip(truth, self.pseudo, strict=True)]

    def ask_teacher(self, _: int = 0) -> None:
        """Do the teacher's forward pass alone, and wait for it."""
        with self.optim_wrapper.optim_context(self.student):
            self.student.teacher(self.images, self.samples)
        synchronize(self.device)


def build_optimizer(student: nn.Module, *, amp: bool = False) -> Any:
    """Return the optimizer wrapper of the released recipe: AdamW, gradients clipped.

    Args:
        student: The model.
        amp: Whether it computes in float16 where that is safe; in float32 otherwise.
    """
    from mmengine.config import Config
    from mmengine.optim import build_optim_wrapper

    recipe = Config.fromfile(CONFIGS / 'schedules' / 'comformer_160k.py')
    config = recipe.optim_wrapper
    config.optimizer.lr = recipe.schedule.base_lr
    if not amp:
        config.type = 'OptimWrapper'
    return build_optim_wrapper(student, config)


def synchronize(device: str) -> None:
    """Wait for what was started on a device."""
    if device == 'cuda':
        import torch

        torch.cuda.synchronize()


class Stopwatch:
    """Sums up the time that functions take.

    Args:
        device: Waits for this device before the clock is read.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.clock = clock_of(device)
        self.seconds: dict[str, float] = {}

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose time is added to that of a name."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            synchronize(self.device)
            start = self.clock()
            try:
                return function(*args, **kwargs)
            finally:
                synchronize(self.device)
                elapsed = self.clock() - start
                self.seconds[name] = self.seconds.get(name, 0.0) + elapsed

        return timed


def time_parts(training: Training) -> dict[str, float]:
    """Do one iteration, and return the seconds of its parts."""
    student, wrapper = training.student, training.optim_wrapper
    head = student.mask_head
    watch = Stopwatch(training.device)
    # the loss calls `match` by its name in the module that defines it
    home = sys.modules[type(head).supervised_losses.__module__]
    places = {
        'teacher': [(student, 'teacher')],
        'pseudo-labels': [(student, 'pseudo_labeller')],
        'ground truth': [(head, 'build_targets')],
        'student forward': [(student, 'extract_feat'), (head, 'query_output')],
        'matching': [(home, 'match')],
        'losses': [(head, 'supervised_losses')],
        'backward': [(wrapper, 'backward')],
        'optimizer': [(wrapper, 'step'), (wrapper, 'zero_grad')],
    }
    with ExitStack() as stack:
        for name, functions in places.items():
            for owner, attribute in functions:
                function = getattr(owner, attribute)
                # fine-tuning has no teacher
                if function is None:
                    continue
                timed = watch.wrap(name, function)
                stack.enter_context(mock.patch.object(owner, attribute, timed))
        watch.wrap('whole', training.step)()
    parts = dict(watch.seconds)
    parts['losses'] -= parts['matching']
    return parts


def peak_of_steps(size: Size, *, device: str, with_teacher: bool, steps: int = 3) -> float:
    """Return the largest memory of some iterations of a :class:`Training`, see `peak_of`."""
    return peak_of(
        lambda: Training(size, device=device, with_teacher=with_teacher), device=device, steps=steps
    )


def peak_of(build: Callable[[], Step], *, device: str, steps: int = 3) -> float:
    """Return the largest memory of some iterations of a new training, in MB.

    On CUDA that which tensors take there; on a CPU the resident set of a process of its own. Call
    it before this process has computed anything: its memory would be inherited.
    """

    def train() -> float:
        import torch

        if device == 'cuda':
            torch.cuda.reset_peak_memory_stats()
        training = build()
        for _ in range(steps):
            training.step()
        if device == 'cuda':
            return torch.cuda.max_memory_allocated() / MEGABYTE
        return peak_megabytes()

    return train() if device == 'cuda' else in_child(train)


def megabytes_of(model: nn.Module) -> float:
    """Return the size of the parameters and buffers of a model."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / MEGABYTE
