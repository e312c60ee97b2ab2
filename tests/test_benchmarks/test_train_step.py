import json
from multiprocessing import active_children
from types import SimpleNamespace

import pytest
import stepping
import torch
import train_step

from mmcomformer.models.point_sampling import sample_shared

pytestmark = pytest.mark.families

SMALL = ('--batch', 2, '--resolution', 64, '--pseudo', 4)
SIZE = stepping.Size('tiny', batch=2, resolution=64, queries=20, increments=(6, 3), pseudo=4)
PARTS = {'ground truth', 'student forward', 'matching', 'losses', 'backward', 'optimizer', 'whole'}


@pytest.fixture(scope='module')
def trainings():
    return [stepping.Training(SIZE, device='cpu', with_teacher=teacher) for teacher in (0, 1)]


def test_figures(run_benchmark, monkeypatch, tmp_path, capsys, trainings):
    out = tmp_path / 'figures.json'
    monkeypatch.setattr(
        train_step, 'Training', lambda *_, with_teacher, **__: trainings[with_teacher]
    )
    # iterations in processes of their own, see test_peak_of_steps
    monkeypatch.setattr(
        train_step, 'peak_of_steps', lambda *_, with_teacher, **__: 9 + with_teacher
    )
    assert run_benchmark(train_step, *SMALL, '--runs', 1, '--json', out) is None
    assert '5 ground-truth segments and [4, 4] pseudo-labels' in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert content['benchmark'] == 'train_step'
    assert content['checks'] == {'as many targets': True}
    # defaults of the model are filled in
    assert content['arguments']['queries'] == 20
    figures = content['figures']
    of_kinds = {f'fine-tuning: {part}, ms' for part in PARTS}
    of_kinds |= {f'CoMFormer: {part}, ms' for part in PARTS | {'teacher', 'pseudo-labels'}}
    steps = {'fine-tuning step, ms', 'teacher alone, ms', 'CoMFormer step, ms'}
    assert of_kinds | steps < set(figures)
    assert {figures[name]['runs'] for name in of_kinds | steps} == {1}
    assert figures['peak of CoMFormer, MB']['median'] == 10
    assert figures['peak of fine-tuning, MB']['median'] == 9
    # 3 M parameters without the three classes of the last step; 20 queries of 7 classes and 16 x 16
    assert 12 < figures['weights of the teacher, MB']['median'] < 13
    assert figures['its last outputs, MB']['median'] == 4 * 2 * 20 * (7 + 256) / 2**20


def test_ratios():
    steps = {
        'fine-tuning step, ms': [3.0, 1.0, 2.0],
        'teacher alone, ms': [1.0, 1.0, 2.0],
        'CoMFormer step, ms': [4.0, 6.0, 5.0],
    }
    assert train_step.ratios_to_parts(steps) == {
        'ratio of a run': [1.0, 3.0, 1.25],
        'ratio of medians': [5 / 3],
    }
    steps['deterministic CoMFormer step, ms'] = [8.0, 9.0, 15.0]
    ratios = train_step.ratios_to_parts(steps)
    assert ratios['deterministic / CoMFormer step'] == [2.0, 1.5, 3.0]


def test_mixed_precision(run_benchmark):
    message = run_benchmark(train_step, '--amp')
    assert message == 'error: --amp: expected with --device cuda, got cpu'
    student = torch.nn.Linear(2, 2)
    assert type(stepping.build_optimizer(student)).__name__ == 'OptimWrapper'
    # which says itself that it needs an accelerator
    with pytest.raises(AssertionError, match='AmpOptim'):
        stepping.build_optimizer(student, amp=True)


def test_parts_are_those_of_the_step(trainings):
    """Most of a step is in its parts, and they leave no trace."""
    comformer = trainings[1]
    before = comformer.student.teacher
    parts = stepping.time_parts(comformer)
    whole = parts.pop('whole')
    assert 0.9 * whole < sum(parts.values()) <= whole
    assert min(parts.values()) > 0
    assert comformer.student.teacher is before
    assert 'forward' not in vars(comformer.student.mask_head)


def test_planted_pseudo_labels(trainings):
    """What the teacher says gives the pseudo-labels that the fine-tuning step has as masks."""
    fine_tuning, comformer = trainings
    student = comformer.student
    assert comformer.pseudo == [4, 4]
    assert fine_tuning.num_targets() == comformer.num_targets() == [9, 9]
    output = student.teacher(comformer.images, comformer.samples)
    targets = student.mask_head.build_targets(comformer.samples)
    labelled = student.pseudo_labeller(targets, output)
    points = torch.rand(500, 2)
    for sample, target in zip(fine_tuning.samples, labelled, strict=True):
        number = sample.gt_panoptic_seg.sem_seg.long()
        masks = (number == torch.arange(1, 10)[:, None, None]).float()
        expected = sample_shared(masks[None], points[None])[0]
        found = target.sample_shared(points)[target.valid]
        # edges of planted masks come from a quarter of the size
        assert (found - expected).abs().mean() < 0.02


def test_step_trains_the_student_alone(trainings):
    comformer = trainings[1]
    teacher = comformer.student.teacher.model.state_dict()
    student = comformer.student.state_dict()
    before = [{k: v.clone() for k, v in state.items()} for state in (teacher, student)]
    comformer.step()
    assert all(v.equal(before[0][k]) for k, v in teacher.items())
    assert not all(v.equal(before[1][k]) for k, v in student.items())


def test_peak_of_steps():
    # more than its weights, gradients and moments, and those of the teacher
    assert stepping.peak_of_steps(SIZE, device='cpu', with_teacher=True, steps=1) > 5 * 12
    assert not any(child.is_alive() for child in active_children())


def test_unequal_targets(run_benchmark, monkeypatch):
    for name in ('measure_memory', 'time_steps'):
        monkeypatch.setattr(train_step, name, lambda *_: {'nothing': [0.0]})
    monkeypatch.setattr(
        train_step,
        'Training',
        lambda *_, with_teacher, **__: SimpleNamespace(
            num_targets=lambda: [9 - with_teacher], pseudo=[3]
        ),
    )
    message = run_benchmark(train_step, *SMALL, '--runs', 1)
    assert message == 'error: the two steps do not have as many targets'


@pytest.mark.parametrize('name', ['--batch', '--queries'])
def test_size_that_does_not_fit(run_benchmark, name):
    message = run_benchmark(train_step, name, 10**9)
    assert message.startswith('error: this size does not fit: about ')
    assert '\n' not in message


def test_want_of_memory():
    match = 'this size does not fit: '
    with pytest.raises(stepping.BenchmarkError, match=match), stepping.fitting():
        torch.empty(10**15)
    with pytest.raises(RuntimeError, match='other'), stepping.fitting():
        raise RuntimeError('other')


@pytest.mark.parametrize('side', [32, 100])
def test_side_that_cannot_be_trained(run_benchmark, side):
    message = run_benchmark(train_step, '--resolution', side)
    assert message == f'error: a side of {side}: expected a multiple of 32, at least 64'


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_cuda(run_benchmark, tmp_path):
    out = tmp_path / 'figures.json'
    assert run_benchmark(train_step, *SMALL, '--device', 'cuda', '--runs', 1, '--json', out) is None
    figures = json.loads(out.read_text())['figures']
    assert figures['peak of CoMFormer / allowed']['median'] < 1.05
    assert figures['deterministic / CoMFormer step']['median'] > 0
