"""What only a CUDA device shows; skipped where there is none."""

import sys
from collections import Counter

import every_method
import pytest
import runs
import torch
from every_method import copies_that_agree
from mmcv.ops import multi_scale_deform_attn as attention
from runs import CONFIGS, TOOLS

from mmcomformer.compat import deterministic

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device, and -m gpu'),
]

KINDS = [
    *(('eclipse', 0), ('per_pixel', 0), ('simcis', 0), ('balconpas', 0), ('comformer', 0)),
    *(('balconpas_replay', 1), ('comformer', 1), ('comformer_semantic', 1), ('eclipse', 1)),
    *(('mib', 1), ('per_pixel_mib', 1), ('per_pixel_plop', 1), ('plop', 1), ('simcis', 1)),
]


@pytest.fixture(autouse=True)
def single_precision(monkeypatch):
    """Convolutions in float32, as on a CPU: by default they round to ten bits."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


def build(method, step, monkeypatch, device):
    student, semantic = every_method.build(method, step, monkeypatch)
    samples = every_method.batches(semantic)[0]
    for sample in samples:
        sample.set_metainfo({'hidden_label': 254})
    return move(student, device), samples


def move(student, device):
    """Move a student, and its teacher, which is not one of its modules."""
    if student.teacher is not None:
        student.teacher.model.to(device)
    return student.to(device)


def draw_on_host(monkeypatch):
    """Let both devices compute with the same random numbers."""
    for name in ('rand', 'randn', 'randperm'):
        draw = getattr(torch, name)

        def on_host(*size, draw=draw, device=None, **kwargs):
            return draw(*size, **kwargs).to(device or 'cpu')

        monkeypatch.setattr(torch, name, on_host)


def gradients(model, losses):
    sum(losses.values()).backward()
    return {
        name: parameter.grad.cpu()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


@pytest.mark.parametrize(('method', 'step'), KINDS)
def test_a_step_is_that_of_a_cpu(method, step, monkeypatch):
    draw_on_host(monkeypatch)
    results = []
    for device in ('cpu', 'cuda'):
        model, samples = build(method, step, monkeypatch, device)
        found = every_method.losses(model, samples, device)
        results.append(({key: loss.item() for key, loss in found.items()}, gradients(model, found)))
    (expected, of_cpu), (losses, of_cuda) = results
    assert losses == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert set(of_cuda) == set(of_cpu)
    # some are zero but for rounding: a softmax over queries does not see what all have in common
    allowed = 1e-6 * max(grad.norm() for grad in of_cpu.values())
    far = {
        name: (of_cuda[name] - grad).norm().item()
        for name, grad in of_cpu.items()
        if (of_cuda[name] - grad).norm() > 1e-3 * grad.norm() + allowed
    }
    assert far == {}


@pytest.mark.parametrize(('method', 'step'), KINDS)
def test_autocast_is_near_single_precision(method, step, monkeypatch):
    student, samples = build(method, step, monkeypatch, 'cuda')
    models = copies_that_agree(student, 3, monkeypatch)
    expected = every_method.losses(models[0], samples, 'cuda')
    values = {name: loss.item() for name, loss in expected.items()}
    for model, dtype in zip(models[1:], (torch.float16, torch.bfloat16), strict=True):
        found = every_method.losses(model, samples, 'cuda', dtype)
        assert {loss.dtype for loss in found.values()} == {torch.float32}
        every_method.check_near(found, values, dtype, least=1e-2)


@pytest.fixture
def deterministic_mode(monkeypatch):
    """Let torch refuse what has no deterministic form."""
    monkeypatch.setattr(torch.nn.functional, 'grid_sample', torch.nn.functional.grid_sample)
    monkeypatch.setattr(attention, 'IS_CUDA_AVAILABLE', attention.IS_CUDA_AVAILABLE)
    deterministic.enable_determinism()
    torch.use_deterministic_algorithms(True)
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(('method', 'step'), KINDS)
def test_the_same_bits_again(method, step, monkeypatch, deterministic_mode):
    results = []
    for _ in range(2):
        model, samples = build(method, step, monkeypatch, 'cuda')
        found = every_method.losses(model, samples, 'cuda')
        results.append((found, gradients(model, found)))
    # the losses of one model, and its gradients
    (first, of_first), (second, of_second) = results
    assert {key: loss.item() for key, loss in first.items()} == {
        key: loss.item() for key, loss in second.items()
    }
    assert [name for name, grad in of_first.items() if not grad.equal(of_second[name])] == []


def check_device(folder):
    steps = runs.read_summary(folder)['steps']
    assert Counter(step['machine']['peak_memory_of'] for step in steps) == {'cuda': 3}


def test_killed_runs_have_the_same_bits(shapes_root, tmp_path):
    leaf = tmp_path / 'comformer_shapes_6-3.py'
    leaf.write_text(
        f'_base_ = {str(CONFIGS / leaf.name)!r}\n'
        "visualizer = dict(vis_backends=[dict(type='LocalVisBackend')])\n"
        'randomness = dict(seed=3, deterministic=True)\n'
    )
    options = [*runs.shapes_options(shapes_root, iters=4, interval=2)]
    options.append('default_hooks.logger.interval=1')
    kills = ['iteration of step0:4', 'rename step0/.iter_4.pth', 'step of step2']
    tool = TOOLS / 'misc' / 'kill_campaign.py'
    command = [sys.executable, tool, leaf, '--work-dir', tmp_path / 'runs', '--at', *kills]
    arguments = [*command, '--cfg-options', *options]
    output = runs.run(arguments, cwd=tmp_path, env={'CUDA_VISIBLE_DEVICES': '0'}).stdout
    assert f'{len(kills)} kills of 1 runs: 0 runs differ []' in output
    check_device(tmp_path / 'runs' / 'undisturbed')


def test_a_process_group_with_mixed_precision(shapes_root, tmp_path):
    options = runs.shapes_options(shapes_root, iters=4, interval=2)
    config = CONFIGS / 'comformer_shapes_6-3.py'
    command = ['bash', TOOLS / 'dist_train.sh', config, '1', '--amp', '--work-dir', tmp_path]
    env = {'CUDA_VISIBLE_DEVICES': '0', 'PORT': str(runs.free_port())}
    runs.run([*command, '--cfg-options', *options], cwd=tmp_path, env=env)
    check_device(tmp_path)
    log = next((tmp_path / 'step1').glob('*/*.log')).read_text()
    assert 'Distributed launcher: pytorch' in log
    assert 'AmpOptimWrapper' in log
