import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from mmcomformer import compat

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.families

compiled = not isinstance(sys.modules['mmcv._ext'], compat._MissingOps)
without_ops = pytest.mark.skipif(compiled, reason='mmcv has compiled operators')


def run_python(code, *stubs_on_path):
    paths = [*map(str, stubs_on_path), str(ROOT)]
    return subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        cwd='/',
    )


class TestVersions:
    @pytest.mark.parametrize(
        ('stubs', 'message'),
        [
            ({'torch': '__version__ = "2.3.1"'}, 'needs torch >=2.4,<3, but 2.3.1 is installed'),
            (
                {'mmengine': 'raise ModuleNotFoundError("No module named \'mmengine\'")'},
                "needs mmengine >=0.10.7,<0.11, which cannot be imported (No module named 'mm",
            ),
            ({'mmengine': '__version__ = "0.10.6"'}, 'needs mmengine >=0.10.7,<0.11, but 0.10.6'),
            ({'mmcv': '__version__ = "1.7.2"'}, 'needs mmcv >=2.1,<2.4, but 1.7.2 is installed'),
            (
                {'mmdet': 'assert False, "MMCV==2.3.6 is used but incompatible"'},
                'needs mmdet >=3.3,<3.6, which cannot be imported (MMCV==2.3.6 is used but inc',
            ),
            ({'mmseg': '__version__ = "1.5.0"'}, 'needs mmseg >=1.2.2,<1.5, but 1.5.0 is inst'),
        ],
    )
    def test_bad_library_stops_the_import(self, tmp_path, stubs, message):
        good = {
            'torch': '2.13.0+cpu',
            'mmengine': '0.10.7',
            'mmcv': '2.1.0',
            'mmdet': '3.3.0',
            'mmseg': '1.2.2',
        }
        for name, version in good.items():
            content = stubs.get(name, f'__version__ = {version!r}')
            (tmp_path / f'{name}.py').write_text(content)
        done = run_python('import mmcomformer', tmp_path)
        assert done.returncode == 1
        last_line = done.stderr.strip().splitlines()[-1]
        assert last_line.startswith(f'ImportError: mmcomformer {message}')
        assert "pip install 'mmcomformer[onedl]'" in last_line

    @pytest.mark.parametrize(
        ('version', 'numbers'),
        [('2.13.0+cpu', (2, 13, 0)), ('0.10.12rc1', (0, 10, 12)), ('2.4', (2, 4)), ('dev', ())],
    )
    def test_numbers(self, version, numbers):
        assert compat._numbers(version) == numbers


class TestOperators:
    @without_ops
    def test_operator_without_pytorch_form_explains_itself(self):
        from mmcv.ops import nms

        boxes = torch.tensor([[0.0, 0, 9, 9], [1, 1, 9, 9]])
        with pytest.raises(RuntimeError, match=r"'nms'.*MMCV_WITH_OPS=1 pip install"):
            nms(boxes, torch.tensor([0.9, 0.8]), iou_threshold=0.5)

    def test_operators_of_mask2former_work(self):
        from mmcv.ops import MultiScaleDeformableAttention, point_sample

        image = torch.arange(16.0).reshape(1, 1, 4, 4)
        center = point_sample(image, torch.tensor([[[0.5, 0.5]]]))
        torch.testing.assert_close(center, torch.tensor([[[7.5]]]))

        attention = MultiScaleDeformableAttention(
            embed_dims=8, num_heads=2, num_levels=1, num_points=2, batch_first=True
        )
        query = torch.randn(1, 16, 8, requires_grad=True)
        attended = attention(
            query,
            value=query,
            reference_points=torch.rand(1, 16, 1, 2),
            spatial_shapes=torch.tensor([[4, 4]]),
            level_start_index=torch.tensor([0]),
        )
        attended.sum().backward()
        assert attended.shape == query.shape
        assert torch.isfinite(query.grad).all()

    def test_compiled_operators_are_left_alone(self, monkeypatch):
        from mmcv.ops import multi_scale_deform_attn

        fake = ModuleType('mmcv._ext')
        monkeypatch.setitem(sys.modules, 'mmcv._ext', fake)
        monkeypatch.setattr(multi_scale_deform_attn, 'IS_CUDA_AVAILABLE', 'untouched')
        compat.enable_uncompiled_ops()
        assert sys.modules['mmcv._ext'] is fake
        assert multi_scale_deform_attn.IS_CUDA_AVAILABLE == 'untouched'

    def test_operators_compiled_for_another_torch(self, monkeypatch):
        def import_module(name):
            raise ImportError('undefined symbol: _ZN3c10')

        monkeypatch.setattr(compat.importlib, 'import_module', import_module)
        with pytest.raises(ImportError, match=r'do not load .*_ZN3c10.*reinstall mmcv for this'):
            compat.enable_uncompiled_ops()

    @without_ops
    def test_mmdet_imported_first(self):
        done = run_python(
            'import contextlib, sys\n'
            'with contextlib.suppress(ImportError):\n'  # stock mmdet fails without operators
            '    import mmdet.models\n'
            'import mmcomformer, mmcv.ops\n'
            'import mmdet.models.layers.transformer.deformable_detr_layers as layers\n'
            'import mmdet.structures.mask.structures as masks\n'
            'assert layers.MultiScaleDeformableAttention is '
            'mmcv.ops.MultiScaleDeformableAttention\n'
            'assert masks.roi_align is mmcv.ops.roi_align\n'
        )
        assert done.returncode == 0, done.stderr


class TestOutput:
    def test_import_prints_nothing(self):
        done = run_python('import mmcomformer')
        assert (done.returncode, done.stdout, done.stderr) == (0, '', '')

    def test_only_the_known_note_is_dropped(self, tmp_path, monkeypatch, capsys):
        (tmp_path / 'noisy_module.py').write_text(
            'print("Could not import OneDL. Skipping.")\nprint("other")\nraise OSError("broken")'
        )
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(OSError, match='broken'):
            compat.import_quietly('noisy_module')
        assert capsys.readouterr().out == 'other\n'


class Numbers(Dataset):
    """24 numbers; writes each index that is read to a file, from whichever process."""

    metainfo = {'classes': ('number',)}

    def __init__(self, log):
        self.log = log

    def __len__(self):
        return 24

    def __getitem__(self, index):
        with self.log.open('a') as file:
            file.write(f'{index}\n')
        return {'number': float(index)}

    def read(self):
        return [int(line) for line in self.log.read_text().split()]


class TinyModel(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, number, mode='tensor'):
        return {'loss': self.layer(torch.tensor(number)[:, None]).square().mean()}


class Recorder(Hook):
    """Skips as a hook of the package does, and keeps the batches that are trained on."""

    def __init__(self):
        self.batches = []

    def before_train(self, runner):
        compat.skip_trained_batches(runner.train_loop)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.batches.append([int(number) for number in data_batch['number']])


def train(work_dir, iterations, workers, resume):
    """Train for so many iterations in all; return the batches and the indices that were read."""
    dataset = Numbers(work_dir / f'read-{iterations}-{resume}.txt')
    recorder = Recorder()
    runner = Runner(
        model=TinyModel(),
        work_dir=str(work_dir),
        train_dataloader={
            'dataset': dataset,
            'batch_size': 2,
            'num_workers': workers,
            'persistent_workers': workers > 0,
            'sampler': {'type': 'InfiniteSampler', 'seed': 3},
            'collate_fn': {'type': 'pseudo_collate'},
        },
        train_cfg={'by_epoch': False, 'max_iters': iterations, 'val_interval': 1000},
        optim_wrapper={'optimizer': {'type': 'AdamW', 'lr': 0.01}},
        param_scheduler={'type': 'LinearLR', 'start_factor': 0.1, 'end': 5, 'by_epoch': False},
        custom_hooks=[recorder],
        default_hooks={
            'checkpoint': {'type': 'CheckpointHook', 'interval': 5, 'by_epoch': False},
            'logger': {'type': 'LoggerHook', 'interval': 1},
        },
        resume=resume,
        experiment_name=f'{work_dir}-{iterations}-{resume}'.replace('/', '-'),
        log_level='ERROR',
    )
    runner.train()
    return recorder.batches, dataset.read()


class TestResume:
    @pytest.mark.parametrize('workers', [0, 2])
    def test_runner_resumes_its_own_checkpoint_with_the_same_batches(self, tmp_path, workers):
        stream = iter(InfiniteSampler(range(24), seed=3))
        whole = [[next(stream), next(stream)] for _ in range(12)]
        first, _ = train(tmp_path, 5, workers, resume=False)
        second, read = train(tmp_path, 12, workers, resume=True)
        # stock mmengine builds its iterator, whose workers prefetch, before any hook can act
        prefetched = 2 * workers * 2

        assert (len(first), len(second)) == (5, 7)
        assert first + second == whole
        assert len(read) <= 7 * 2 + 2 * prefetched

        # also after a load by mmengine, which shortens the allow-list in one family
        checkpoint = compat.load_weights_only(tmp_path / 'iter_12.pth')
        assert checkpoint['meta']['iter'] == 12
        losses = checkpoint['message_hub']['log_scalars']['train/loss'].data[0]
        assert isinstance(losses, np.ndarray)
        assert len(losses) == 12

    def test_batch_sampler_of_its_own_is_left_alone(self):
        dataset = torch.arange(8)
        batches = [[0, 1], [2], [3, 4, 5]]
        loader = DataLoader(dataset, batch_sampler=batches)
        loop = SimpleNamespace(iter=2, dataloader=loader, dataloader_iterator=iter(loader))
        before = loop.dataloader_iterator
        compat.skip_trained_batches(loop)
        assert loop.dataloader_iterator is before

    def test_skipping_restarts_the_stream(self):
        dataset = torch.arange(10)
        loader = DataLoader(dataset, batch_size=3, sampler=InfiniteSampler(dataset, seed=0))
        uninterrupted = iter(loader)
        expected = [next(uninterrupted).tolist() for _ in range(9)]
        loop = SimpleNamespace(iter=5, dataloader=loader, dataloader_iterator=uninterrupted)
        compat.skip_trained_batches(loop)
        assert [next(loop.dataloader_iterator) for _ in range(5)] == [None] * 5
        assert [next(loop.dataloader_iterator).tolist() for _ in range(4)] == expected[5:]
