"""What a comparison has to train, and whose folder it works in."""

import json

import pytest

from mmcomformer.comparison.plan import RECORD

from .conftest import summary_at


def test_jobs_are_in_an_order_in_which_they_can_be_done(make):
    jobs = make('a', 'b', 'own', seeds=(3, 5)).jobs
    assert len(jobs) == 10
    for index, job in enumerate(jobs):
        assert job.needs is None or job.needs in jobs[:index]
    names = [job.name for job in jobs if job.step == 0]
    assert names == [f'{method}, seed {seed}, step 0' for seed in (3, 5) for method in ('a', 'own')]


def test_tasks_are_not_mixed(make):
    message = (
        'config instances.py: its task is instance, and that of a.py is panoptic; .* on its own'
    )
    with pytest.raises(ValueError, match=message):
        make('a', 'b', 'instances')
    assert len(make('a', 'b').entries) == 2


@pytest.mark.parametrize(('iters', 'state'), [(5, 'done'), (4, 'new')])
def test_done_is_what_has_results_after_all_iterations(make, iters, state):
    run = make('a').runs[0]
    run.folder.mkdir(parents=True)
    summary = summary_at(0)
    summary['steps'][0]['train_iters'] = iters
    (run.folder / 'summary.json').write_text(json.dumps(summary))
    assert (run.state(0), run.state(1)) == (state, 'new')


def test_iterations_of_the_last_checkpoint(make):
    run = make('a').runs[0]
    assert run.iterations(1) == 0
    (run.folder / 'step1').mkdir(parents=True)
    for number in (2, 4):
        (run.folder / 'step1' / f'iter_{number}.pth').write_text('')
    assert (run.iterations(1), run.state(1)) == (4, 'begun')


def test_commands_can_be_printed_before_anything_is_trained(make, train):
    run = make('a', 'b', options=['a.b=1']).runs[1]
    command = run.jobs[0].command(train, resolve=False)
    assert command[0] == 'python'
    teacher = command[command.index('--teacher') + 1]
    assert teacher == str(run.shared.folder / 'step0' / 'iter_5.pth')
    assert command[-3:] == ['--cfg-options', 'a.b=1', 'randomness.seed=0']


class TestFolder:
    def test_methods_and_seeds_can_be_added(self, make):
        make('a').begin()
        make('b', seeds=(0, 1)).begin()
        record = json.loads((make('a').folder / RECORD).read_text())
        assert list(record['methods']) == ['a', 'b']

    @pytest.mark.parametrize('key', ['scenario', 'setting', 'recipe'])
    def test_of_another_comparison(self, make, key):
        comparison = make('a')
        comparison.begin()
        path = comparison.folder / RECORD
        path.write_text(json.dumps({**json.loads(path.read_text()), key: 'another'}))
        with pytest.raises(RuntimeError, match=f'runs: its runs have the {key} another, not '):
            comparison.check()

    def test_of_other_settings(self, make):
        make('a', 'b').begin()
        # nothing is trained yet
        make('a', width=9).begin()
        make('a', width=8).begin()
        (make('a').folder / 'a').mkdir()
        with pytest.raises(RuntimeError, match=r'runs of a had other .* 0.model.width was 8 and'):
            make('a', width=9).check()

    def test_looking_writes_nothing(self, make):
        make('a').check()
        assert not make('a').folder.exists()
        make('a').begin()
        before = (make('a').folder / RECORD).read_text()
        make('a', 'b').check()
        assert (make('a').folder / RECORD).read_text() == before
        assert make('b').noted_methods() == ['a']

    def test_a_file(self, make):
        make('a').folder.write_text('mine')
        with pytest.raises(RuntimeError, match='runs: expected a folder, and this is a file'):
            make('a').check()

    def test_of_unknown_runs(self, make):
        comparison = make('a')
        (comparison.runs[0].folder / 'step0').mkdir(parents=True)
        with pytest.raises(RuntimeError, match='it has runs, but no comparison.json'):
            comparison.check()

    @pytest.mark.parametrize('text', ['{', '[]', '{"methods": 3}'])
    def test_damaged(self, make, text):
        comparison = make('a')
        comparison.folder.mkdir(parents=True)
        (comparison.folder / RECORD).write_text(text)
        with pytest.raises(RuntimeError, match='comparison.json: not the note of a comparison'):
            comparison.check()
