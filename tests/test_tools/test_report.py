"""tools/report.py on what runs left."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mmcomformer.evaluation.summary import merge_step, new_summary, write_summary
from mmcomformer.scenario import Scenario
from mmcomformer.tasks import task_named

SCRIPT = Path(__file__).parents[2] / 'tools' / 'report.py'
SCENARIO = Scenario([1, 1], ['cat'], ['sky'], class_order=['sky', 'cat'])


@pytest.fixture(scope='module')
def report():
    spec = importlib.util.spec_from_file_location('report', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_run(folder, values, *, config='toy', method='CoMFormer', seed=0, task='panoptic'):
    """Write the summary of a run; ``values`` holds, per step, the percentage by class."""
    summary = new_summary(SCENARIO, config=config, method=method, task=task)
    metrics = task_named(task).measures
    for step, per_class in enumerate(values):
        means = {
            'base': per_class['sky'],
            'new': per_class.get('cat'),
            'all': sum(per_class.values()) / len(per_class),
        }
        entry = {
            'step': step,
            'classes': list(SCENARIO.step_classes(step)),
            'train_images': 4,
            'train_iters': 5,
            'seconds': 60.0,
            'seed': seed,
            'metrics': dict.fromkeys(metrics, means),
            'per_class': {name: dict.fromkeys(metrics, value) for name, value in per_class.items()},
        }
        summary = merge_step(summary, entry)
    write_summary(folder / 'summary.json', summary)
    return str(folder)


@pytest.fixture
def run_a(tmp_path):
    return make_run(tmp_path / 'a', [{'sky': 60.0}, {'sky': 50.0, 'cat': 30.0}])


@pytest.fixture
def run_b(tmp_path):
    return make_run(tmp_path / 'b', [{'sky': 64.0}, {'sky': 58.0, 'cat': 34.0}], seed=1)


@pytest.fixture
def semantic_run(tmp_path):
    return make_run(tmp_path / 'c', [{'sky': 90.0}, {'sky': 80.0, 'cat': 70.0}], task='semantic')


def cells(line):
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_one_run(report, run_a, capsys):
    assert report.main([run_a]) == 0
    out, err = capsys.readouterr()
    assert cells(out.splitlines()[4])[:8] == ['1', '1', '4', '5', '1.0', '50.00', '30.00', '40.00']
    assert 'PQ avg over steps: 50.00   forgetting: 10.00' in out
    assert err == ''


def test_per_class(report, run_a, capsys):
    report.main([run_a, '--per-class'])
    assert ['sky', '0', '60.00', '50.00', '50.00', '50.00'] in [
        cells(line) for line in capsys.readouterr().out.splitlines()
    ]


def test_several_runs_are_compared(report, run_a, run_b, capsys):
    assert report.main([run_a, run_b]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert cells(lines[0]) == [
        *('run', 'config', 'method', 'PQ base after step 0'),
        *('PQ base', 'PQ new', 'PQ all', 'PQ avg', 'PQ forgetting'),
    ]
    assert cells(lines[2]) == [
        *(run_a, 'toy', 'CoMFormer', '60.00', '50.00', '30.00', '40.00', '50.00', '10.00')
    ]


def test_mean_over_seeds(report, run_a, run_b, tmp_path, capsys):
    other = make_run(tmp_path / 'c', [{'sky': 9.0}, {'sky': 0.0, 'cat': 3.0}], method='none')
    assert report.main([run_a, run_b, other, '--mean']) == 0
    lines = capsys.readouterr().out.splitlines()
    # sample standard deviation of two values: their distance / sqrt(2)
    assert cells(lines[2])[:8] == [
        *('toy', 'CoMFormer', '2', '0, 1'),
        *('62.00 ± 2.83', '54.00 ± 5.66', '32.00 ± 2.83', '43.00 ± 4.24'),
    ]
    assert cells(lines[3])[:5] == ['toy', 'none', '1', '0', '9.00 ± -']


def test_semantic_run(report, semantic_run, capsys):
    assert report.main([semantic_run, '--per-class']) == 0
    out, _ = capsys.readouterr()
    lines = [cells(line) for line in out.splitlines()]
    assert lines[1][5:] == ['mIoU base', 'mIoU new', 'mIoU all', 'mAcc all']
    assert lines[4][5:] == ['80.00', '70.00', '75.00', '75.00']
    assert 'mIoU avg over steps: 82.50   forgetting: 10.00' in out
    assert ['sky', '0', '90.00', '80.00', '80.00'] in lines


def test_each_task_has_its_own_table(report, run_a, run_b, semantic_run, capsys):
    assert report.main([semantic_run, run_a, run_b]) == 0
    panoptic, semantic = capsys.readouterr().out.strip().split('\n\n')
    assert 'PQ all' in panoptic
    assert [cells(line)[0] for line in panoptic.splitlines()[2:]] == [run_a, run_b]
    assert 'PQ' not in semantic
    assert cells(semantic.splitlines()[0])[3:5] == ['mIoU base after step 0', 'mIoU base']
    assert cells(semantic.splitlines()[2])[3:7] == ['90.00', '80.00', '70.00', '75.00']


def test_means_do_not_mix_tasks(report, run_a, semantic_run, capsys):
    # both have the same config and method
    assert report.main([run_a, semantic_run, '--mean']) == 0
    panoptic, semantic = capsys.readouterr().out.strip().split('\n\n')
    assert cells(panoptic.splitlines()[2])[2:6] == ['1', '0', '60.00 ± -', '50.00 ± -']
    assert cells(semantic.splitlines()[2])[2:6] == ['1', '0', '90.00 ± -', '80.00 ± -']
    report.main([run_a, semantic_run, '--mean', '--json'])
    groups = json.loads(capsys.readouterr().out)
    assert [(group['task'], group['mean']['base']) for group in groups] == [
        ('panoptic', 50.0),
        ('semantic', 80.0),
    ]


def test_incomplete_run_has_no_mean(report, run_a, tmp_path, capsys):
    half = make_run(tmp_path / 'half', [{'sky': 60.0}])
    assert report.main([run_a, half, '--mean']) == 0
    out, err = capsys.readouterr()
    assert cells(out.splitlines()[2])[4:7] == ['60.00 ± 0.00', '55.00 ± 7.07', '- ± -']
    assert f'{half}: no results of step 1 of the steps 0 to 1' in err
    assert f'python tools/train.py configs/toy.py --resume --work-dir {half}' in err


def test_json(report, run_a, run_b, capsys):
    assert report.main([run_a, '--json']) == 0
    (run,) = json.loads(capsys.readouterr().out)
    assert run['work_dir'] == run_a
    assert run['missing_steps'] == []
    assert run['final']['PQ']['forgetting'] == 10.0
    assert report.main([run_a, run_b, '--mean', '--json']) == 0
    (group,) = json.loads(capsys.readouterr().out)
    assert group['seeds'] == [0, 1]
    assert group['mean']['all'] == 43.0
    assert group['sd']['all'] == pytest.approx(4.2426, abs=1e-4)


def test_missing_summary(report, run_a, tmp_path, capsys):
    empty = tmp_path / 'comformer_x'
    empty.mkdir()
    assert report.main([run_a, str(empty)]) == 1
    out, err = capsys.readouterr()
    assert 'PQ avg' in out
    assert f'{empty}: no summary.json yet' in err
    assert f'python tools/train.py configs/comformer_x.py --resume --work-dir {empty}' in err


def test_folder_that_is_not_there(report, tmp_path, capsys):
    assert report.main([str(tmp_path / 'x')]) == 1
    assert f'{tmp_path / "x"}: no such folder' in capsys.readouterr().err


def test_folder_of_a_step(report, run_a, capsys):
    (Path(run_a) / 'step0').mkdir()
    assert report.main([f'{run_a}/step0']) == 1
    assert f'this is the folder of one step; give {run_a}' in capsys.readouterr().err


def test_damaged_summary(report, tmp_path, capsys):
    (tmp_path / 'summary.json').write_text('{')
    assert report.main([str(tmp_path)]) == 1
    assert f'{tmp_path}/summary.json: not a summary of a run' in capsys.readouterr().err


def test_debug(report, tmp_path):
    (tmp_path / 'summary.json').write_text('{')
    with pytest.raises(ValueError, match='summary.json'):
        report.main(['--debug', str(tmp_path)])


def test_script_prints_nothing_but_json(run_a):
    result = subprocess.run(
        [sys.executable, str(SCRIPT), run_a, '--json'], capture_output=True, text=True, check=True
    )
    assert json.loads(result.stdout)[0]['config'] == 'toy'


class TestHtml:
    def test_one_run(self, report, run_a, capsys):
        assert report.main([run_a, '--html']) == 0
        page = Path(run_a) / 'report.html'
        assert capsys.readouterr().out == f'{page}\n'
        assert '<h1>toy</h1>' in page.read_text()

    def test_one_run_elsewhere(self, report, run_a, tmp_path):
        assert report.main([run_a, '--html', str(tmp_path / 'x.html')]) == 0
        assert '<h1>toy</h1>' in (tmp_path / 'x.html').read_text()
        assert not (Path(run_a) / 'report.html').exists()

    def test_several_runs(self, report, run_a, run_b, tmp_path, capsys):
        assert report.main([run_a, run_b, '--html', str(tmp_path / 'x.html')]) == 0
        text = (tmp_path / 'x.html').read_text()
        assert '<td>54.00 ± 5.66</td>' in text
        assert capsys.readouterr().err == ''

    def test_a_file_of_the_user(self, report, run_a, capsys):
        page = Path(run_a) / 'report.html'
        page.write_text('mine')
        assert report.main([run_a, '--html']) == 1
        assert capsys.readouterr().err.startswith(f'{page} exists, and was not written by this')
        assert page.read_text() == 'mine'
        assert report.main([run_a, '--html', '--overwrite']) == 0

    @pytest.mark.parametrize(
        ('names', 'message'),
        [
            (['none'], 'none: no such folder; expected the work dir of a run\n'),
            (['a', 'none'], 'none: no such folder; expected the work dir of a run\n'),
            (['a', 'c'], 'their metrics cannot be compared, write a page of each\n'),
        ],
    )
    def test_refused(self, report, run_a, semantic_run, tmp_path, capsys, names, message):
        out = tmp_path / 'x.html'
        assert report.main([*(str(tmp_path / name) for name in names), '--html', str(out)]) == 1
        assert capsys.readouterr().err.endswith(message)
        assert not out.exists()

    def test_a_folder_that_cannot_be_written(self, report, run_a, tmp_path, capsys):
        (tmp_path / 'file').write_text('')
        assert report.main([run_a, '--html', str(tmp_path / 'file' / 'x.html')]) == 1
        assert str(tmp_path / 'file') in capsys.readouterr().err

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (['b', '--html'], '--html: the page of several runs needs a FILE'),
            (['--html', '--json'], '--html: leave out --json, --mean and --per-class'),
        ],
    )
    def test_options_that_do_not_fit(self, report, options, message, capsys):
        with pytest.raises(SystemExit):
            report.main(['a', *options])
        assert message in capsys.readouterr().err
