"""summary.json: merging, safe writing, damaged files, table."""

import copy
import json
import os

import pytest

from mmcomformer.evaluation.summary import (
    check_same_run,
    merge_step,
    missing_steps,
    new_summary,
    read_summary,
    steps_up_to,
    update_summary,
    write_summary,
)
from mmcomformer.evaluation.summary_tables import (
    format_evaluation,
    format_per_class,
    format_summary,
)
from mmcomformer.scenario import Scenario

SCENARIO = Scenario(
    increments=[2, 1, 1],
    thing_classes=['cat', 'dog'],
    stuff_classes=['sky', 'sea'],
    class_order=['sky', 'dog', 'sea', 'cat'],
)
RUN = new_summary(SCENARIO, config='comformer_toy', method='CoMFormer')


def make_entry(step, per_class, **extra):
    """An entry with PQ = SQ = RQ, and 'all' as the mean of the seen classes."""
    scenario = SCENARIO.at_step(step)
    overall = sum(per_class.values()) / len(per_class)
    new = None if step == 0 else per_class[scenario.order[-1]] if step == 2 else per_class['sea']
    means = {'base': (per_class['sky'] + per_class['dog']) / 2, 'new': new, 'all': overall}
    return {
        'step': step,
        'classes': list(scenario.current_classes),
        'train_images': 10 * (step + 1),
        'train_iters': 100,
        'seconds': 90.0,
        'metrics': {name: dict(means) for name in ('PQ', 'SQ', 'RQ')},
        'per_class': {
            name: dict.fromkeys(('PQ', 'SQ', 'RQ'), pq) for name, pq in per_class.items()
        },
        **extra,
    }


ENTRIES = [
    make_entry(0, {'sky': 60.0, 'dog': 40.0}),
    make_entry(1, {'sky': 50.0, 'dog': 40.0, 'sea': 90.0}),
    make_entry(2, {'sky': 40.0, 'dog': 44.0, 'sea': 80.0, 'cat': 36.0}),
]


def merged(*entries):
    summary = RUN
    for entry in entries:
        summary = merge_step(summary, entry)
    return summary


def test_final_by_hand():
    final = merged(*ENTRIES)['final']
    assert final == {
        'PQ': {
            'base': 42.0,
            'new': 36.0,
            'all': 50.0,
            'avg': pytest.approx((50 + 60 + 50) / 3),
            'forgetting': pytest.approx((20 - 4 + 10) / 3),
        }
    }


def test_run_without_steps():
    assert RUN['final'] == {'PQ': dict.fromkeys(('base', 'new', 'all', 'avg', 'forgetting'))}
    assert missing_steps(RUN) == [0, 1, 2]


def test_unknown_step_makes_average_and_forgetting_unknown():
    final = merged(*ENTRIES[1:])['final']['PQ']
    assert (final['avg'], final['forgetting']) == (None, None)
    assert final['base'] == 42.0
    assert missing_steps(merged(*ENTRIES[1:])) == [0]


def test_step_that_runs_again_replaces_its_entry_and_drops_later_ones():
    summary = merged(*ENTRIES)
    before = copy.deepcopy(summary)
    again = merge_step(summary, make_entry(1, {'sky': 1.0, 'dog': 2.0, 'sea': 3.0}))
    assert [entry['step'] for entry in again['steps']] == [0, 1]
    assert again['final']['PQ']['all'] == 2.0
    assert summary == before


SEMANTIC = new_summary(SCENARIO, config='a', method='b', task='semantic')


def semantic_entry(step, per_class, background=None):
    """An entry with mIoU = mAcc, and with a background class if it has a value."""
    entry = make_entry(step, per_class)
    means = entry['metrics']['PQ']
    entry['metrics'] = {'mIoU': means, 'mAcc': dict(means)}
    if background is not None:
        per_class = {'nothing': background, **per_class}
        entry['metrics'] |= {'mIoU_foreground': means, 'mAcc_foreground': means}
        with_background = {**means, 'all': sum(per_class.values()) / len(per_class)}
        entry['metrics'] |= {'mIoU': with_background, 'mAcc': with_background}
    entry['per_class'] = {
        name: dict.fromkeys(('mIoU', 'mAcc'), value) for name, value in per_class.items()
    }
    return entry


SEMANTIC_VALUES = ({'sky': 60.0, 'dog': 40.0}, {'sky': 50.0, 'dog': 40.0, 'sea': 90.0})


def test_semantic_task(tmp_path):
    path = tmp_path / 'summary.json'
    for step, values in enumerate(SEMANTIC_VALUES):
        summary = update_summary(path, SEMANTIC, semantic_entry(step, values))
    assert summary == read_summary(path)
    assert summary['final'] == {
        'mIoU': {'base': 45.0, 'new': 90.0, 'all': 60.0, 'avg': 55.0, 'forgetting': 5.0}
    }
    lines = format_summary(summary).splitlines()
    assert cells(lines[1])[5:] == ['mIoU base', 'mIoU new', 'mIoU all', 'mAcc all']
    assert cells(lines[4])[5:] == ['45.00', '90.00', '60.00', '60.00']


def test_background_class(tmp_path):
    path = tmp_path / 'summary.json'
    for step, (values, background) in enumerate(zip(SEMANTIC_VALUES, (80.0, 20.0), strict=True)):
        summary = update_summary(path, SEMANTIC, semantic_entry(step, values, background))
    assert summary == read_summary(path)
    # the background is not taught by a step, so it does not count as forgotten
    assert summary['final'] == {
        'mIoU': {'base': 45.0, 'new': 90.0, 'all': 50.0, 'avg': 55.0, 'forgetting': 5.0}
    }
    lines = format_summary(summary).splitlines()
    assert cells(lines[1])[7:] == ['mIoU all', 'mAcc all', 'mIoU_foreground all']
    assert cells(lines[4])[7:] == ['50.00', '50.00', '60.00']
    assert cells(format_per_class(summary).splitlines()[2]) == [
        *('nothing', '-', '-', '20.00', '20.00')
    ]


def test_step_without_foreground_has_no_value_in_its_column():
    entries = (semantic_entry(0, SEMANTIC_VALUES[0]), semantic_entry(1, SEMANTIC_VALUES[1], 20.0))
    summary = merge_step(merge_step(SEMANTIC, entries[0]), entries[1])
    lines = format_summary(summary).splitlines()
    assert [cells(line)[-1] for line in lines[3:5]] == ['-', '60.00']


def test_damaged_foreground():
    entry = semantic_entry(0, SEMANTIC_VALUES[0], 20.0)
    entry['metrics']['mAcc_foreground'] = {'base': 1.0}
    with pytest.raises(ValueError, match=r"metrics\.mAcc_foreground: keys \['new', 'all'\]"):
        merge_step(SEMANTIC, entry)


def test_semantic_task_needs_the_accuracy():
    entry = semantic_entry(0, SEMANTIC_VALUES[0])
    del entry['metrics']['mAcc']
    with pytest.raises(ValueError, match=r'step 0, metrics\.mAcc: expected an object'):
        merge_step(SEMANTIC, entry)


def test_table_of_one_evaluation():
    entry = semantic_entry(0, SEMANTIC_VALUES[0], 80.0)
    lines = format_evaluation(entry['metrics'], entry['per_class']).splitlines()
    assert cells(lines[0]) == ['class', 'mIoU', 'mAcc']
    assert [cells(line)[:2] for line in lines[2:]] == [
        ['nothing', '80.00'],
        ['sky', '60.00'],
        ['dog', '40.00'],
        ['base', '50.00'],
        ['new', '-'],
        ['all', '60.00'],
        ['base without background', '50.00'],
        ['all without background', '50.00'],
    ]


def test_unknown_task():
    with pytest.raises(ValueError, match=r"task: expected one of .*'panoptic'.* got 'depth'"):
        new_summary(SCENARIO, config='a', method='b', task='depth')


def test_file_grows_step_by_step(tmp_path):
    path = tmp_path / 'run' / 'summary.json'
    for entry in ENTRIES:
        written = update_summary(path, RUN, entry)
    assert written == merged(*ENTRIES) == read_summary(path)
    assert os.listdir(path.parent) == ['summary.json']


def test_file_has_the_documented_keys(tmp_path):
    path = tmp_path / 'summary.json'
    update_summary(path, RUN, ENTRIES[0])
    summary = json.loads(path.read_text())
    assert set(summary) == {
        *('config', 'method', 'task', 'setting', 'class_order', 'increments', 'steps', 'final')
    }
    assert summary['class_order'] == ['sky', 'dog', 'sea', 'cat']
    assert summary['steps'][0]['metrics']['PQ'] == {'base': 50.0, 'new': None, 'all': 50.0}


def test_keys_of_others_are_kept(tmp_path):
    path = tmp_path / 'summary.json'
    write_summary(path, {**merged(ENTRIES[0]), 'note': 'mine'})
    assert update_summary(path, RUN, ENTRIES[1])['note'] == 'mine'


@pytest.mark.parametrize('failing', ['fsync', 'replace'])
def test_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch, failing):
    path = tmp_path / 'summary.json'
    update_summary(path, RUN, ENTRIES[0])
    before = path.read_bytes()

    def crash(*args):
        raise OSError('disk full')

    monkeypatch.setattr(os, failing, crash)
    with pytest.raises(OSError, match='disk full'):
        update_summary(path, RUN, ENTRIES[1])
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ['summary.json']


def test_nan_is_not_written(tmp_path):
    path = tmp_path / 'summary.json'
    update_summary(path, RUN, ENTRIES[0])
    before = path.read_bytes()
    with pytest.raises(ValueError, match='JSON compliant'):
        update_summary(path, RUN, {**ENTRIES[1], 'seconds': float('nan')})
    assert path.read_bytes() == before


def damage(**changes):
    summary = copy.deepcopy(merged(*ENTRIES))
    for key, value in changes.items():
        if value is None:
            del summary[key]
        else:
            summary[key] = value
    return json.dumps(summary)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'Expecting value'),
        (json.dumps(merged(*ENTRIES))[:100], 'not a summary'),
        ('[1]', 'expected an object'),
        (damage(steps=None), r"keys \['steps'\] are missing"),
        (damage(task='depth'), 'expected one of'),
        (damage(steps={}), 'steps has the wrong type'),
        (damage(steps=[{'step': 0}]), r"keys \['classes', .* are missing"),
        (damage(steps=[{**ENTRIES[0], 'step': True}]), 'step has the wrong type: True'),
        (damage(steps=[{**ENTRIES[0], 'step': -1}]), 'steps count from 0'),
        (damage(steps=[ENTRIES[1], ENTRIES[0]]), r'ascending order, got \[1, 0\]'),
        (damage(steps=[ENTRIES[0], ENTRIES[0]]), r'each step once'),
        (damage(steps=[{**ENTRIES[0], 'metrics': {}}]), r'step 0, metrics.PQ: expected an object'),
        (damage(steps=[{**ENTRIES[0], 'per_class': {'sky': {'PQ': 'x'}}}]), 'per_class.sky'),
        (damage(final={}), r'final\.PQ: expected an object'),
    ],
)
def test_damaged_file_is_named_and_left_alone(tmp_path, text, message):
    path = tmp_path / 'summary.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        update_summary(path, RUN, ENTRIES[0])
    assert str(path) in str(error.value)
    assert 'move it away' in str(error.value)
    assert path.read_text() == text


def test_file_that_is_not_text(tmp_path):
    path = tmp_path / 'summary.json'
    path.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(ValueError, match='not a summary of a run'):
        read_summary(path)


@pytest.mark.parametrize(
    ('key', 'other'),
    [
        ('method', new_summary(SCENARIO, config='a', method='fine-tuning')),
        ('setting', new_summary(Scenario.from_config(
            {**SCENARIO.to_dict(), 'setting': 'disjoint'}), config='a', method='CoMFormer')),
        ('setting', new_summary(Scenario.from_config(
            {**SCENARIO.to_dict(), 'setting': 'partitioned'}), config='a', method='CoMFormer')),
        ('class_order', new_summary(Scenario.from_config(
            {**SCENARIO.to_dict(), 'class_order': ['cat', 'dog', 'sea', 'sky']}),
            config='a', method='CoMFormer')),
        ('increments', new_summary(Scenario.from_config(
            {**SCENARIO.to_dict(), 'increments': [2, 2]}), config='a', method='CoMFormer')),
        ('task', new_summary(SCENARIO, config='a', method='CoMFormer', task='semantic')),
    ],
)  # fmt: skip
def test_summary_of_another_run(tmp_path, key, other):
    path = tmp_path / 'summary.json'
    write_summary(path, merged(*ENTRIES))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f'another {key}: .*use another work dir') as error:
        update_summary(path, other, ENTRIES[0])
    assert str(path) in str(error.value)
    assert path.read_bytes() == before


def test_config_may_be_renamed(tmp_path):
    check_same_run({**RUN, 'config': 'old'}, RUN, tmp_path)


class TestGrownScenario:
    """More classes were added after the last step, as they came."""

    @pytest.fixture
    def grown(self):
        # a thing more moves the labels of all stuff, but no learning index
        scenario = Scenario.from_config(
            {
                **SCENARIO.to_dict(),
                'thing_classes': ['cat', 'fox', 'dog'],
                'increments': [2, 1, 1, 1],
                'class_order': [*SCENARIO.order, 'fox'],
            }
        )
        return new_summary(scenario, config='comformer_toy', method='CoMFormer')

    def test_is_the_same_run(self, grown, tmp_path):
        path = tmp_path / 'summary.json'
        write_summary(path, merged(*ENTRIES))
        check_same_run(read_summary(path), grown, path)
        more = {**ENTRIES[-1], 'step': 3, 'classes': ['fox']}
        summary = update_summary(path, grown, more)
        assert summary['increments'] == [2, 1, 1, 1]
        assert summary['class_order'] == [*SCENARIO.order, 'fox']
        assert summary['steps'][:-1] == list(ENTRIES)
        assert missing_steps(summary) == []

    def test_does_not_shrink(self, grown, tmp_path):
        with pytest.raises(ValueError, match='another class_order'):
            check_same_run(grown, RUN, tmp_path)

    def test_keeps_the_finished_steps(self, grown, tmp_path):
        other = {**grown, 'class_order': ['dog', 'sky', *grown['class_order'][2:]]}
        with pytest.raises(ValueError, match='another class_order'):
            check_same_run(RUN, other, tmp_path)
        with pytest.raises(ValueError, match='another increments'):
            check_same_run(RUN, {**grown, 'increments': [2, 2, 1]}, tmp_path)

    def test_needs_to_know_the_steps(self, grown, tmp_path):
        unknown = {key: value for key, value in RUN.items() if key != 'increments'}
        check_same_run(unknown, RUN, tmp_path)
        with pytest.raises(ValueError, match='another class_order'):
            check_same_run(unknown, grown, tmp_path)


class TestStepsOfTheTeacher:
    """A run that starts from a checkpoint of another run has the steps before it from there."""

    @pytest.fixture
    def other(self, tmp_path):
        path = tmp_path / 'other' / 'summary.json'
        path.parent.mkdir()
        entries = [{**entry, 'seed': 3} for entry in ENTRIES]
        write_summary(path, {**merged(*entries), 'method': 'fine-tuning'})
        return path

    @pytest.mark.parametrize('step', [0, 1])
    def test_up_to_its_own(self, other, step):
        found = steps_up_to(other, RUN, step=step, iters=100, seed=3)
        folder = str(other.parent)
        expected = [{'of_run': folder, **entry, 'seed': 3} for entry in ENTRIES[: step + 1]]
        assert found == expected

    def test_averages_are_those_of_all_steps(self, other, tmp_path):
        before = steps_up_to(other, RUN, step=0, iters=100, seed=3)
        path = tmp_path / 'summary.json'
        assert (
            update_summary(path, RUN, ENTRIES[1], before)['final']
            == (merged(*ENTRIES[:2])['final'])
        )
        # what the file has itself stays
        changed = [{**before[0], 'seconds': 1.0}]
        summary = update_summary(path, RUN, ENTRIES[2], changed)
        assert [entry['seconds'] for entry in summary['steps']] == [90.0] * 3
        assert [entry['step'] for entry in summary['steps']] == [0, 1, 2]

    def test_later_steps_may_be_others(self, other):
        scenario = Scenario([2, 2], SCENARIO.thing_classes, SCENARIO.stuff_classes, SCENARIO.order)
        run = new_summary(scenario, config='a', method='CoMFormer')
        assert len(steps_up_to(other, run, step=0, iters=100, seed=3)) == 1
        with pytest.raises(ValueError, match='another increments'):
            steps_up_to(other, run, step=1, iters=100, seed=3)

    @pytest.mark.parametrize('change', [{'iters': 99}, {'seed': 4}, {'step': 3}])
    def test_of_another_checkpoint(self, other, change):
        with pytest.raises(ValueError, match=r'other/summary.json: it has no step \d of \d+ iter'):
            steps_up_to(other, RUN, **{'step': 0, 'iters': 100, 'seed': 3, **change})


def cells(line):
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_table():
    lines = format_summary(merged(*ENTRIES)).splitlines()
    assert lines[0] == 'comformer_toy: CoMFormer, overlap setting'
    assert cells(lines[1]) == [
        *('step', 'classes', 'images', 'iters', 'minutes'),
        *('PQ base', 'PQ new', 'PQ all', 'SQ all', 'RQ all'),
    ]
    assert cells(lines[3]) == [
        *('0', '2', '10', '100', '1.5'),
        *('50.00', '-', '50.00', '50.00', '50.00'),
    ]
    assert len(lines) == 7
    assert len({len(line) for line in lines[1:6]}) == 1
    assert lines[-1] == 'PQ avg over steps: 53.33   forgetting: 8.67'


def test_table_without_steps():
    assert 'PQ avg over steps: -' in format_summary(RUN)
    assert format_per_class(RUN) == 'no step has been evaluated'


def test_table_per_class():
    lines = format_per_class(merged(*ENTRIES)).splitlines()
    assert [line.split()[1] for line in lines[2:]] == ['sky', 'dog', 'sea', 'cat']
    assert cells(lines[4]) == ['sea', '1', '90.00', '80.00', '80.00', '80.00']
    # a step that is unknown taught it
    lines = format_per_class(merged(*ENTRIES[1:])).splitlines()
    assert cells(lines[2]) == ['sky', '-', '-', '40.00', '40.00', '40.00']


class TestPartition:
    """The seed tells which images a run was trained on."""

    def run(self, setting='partitioned', seed=0):
        changes = {'setting': setting, 'partition_seed': seed}
        scenario = Scenario.from_config({**SCENARIO.to_dict(), **changes})
        return new_summary(scenario, config='a', method='CoMFormer')

    def test_is_in_the_summary(self):
        assert self.run(seed=3)['partition_seed'] == 3
        assert self.run()['partition_seed'] == 0
        assert 'partition_seed' not in self.run('disjoint', seed=3)

    def test_another_seed_is_another_run(self, tmp_path):
        check_same_run(self.run(seed=3), self.run(seed=3), tmp_path)
        with pytest.raises(ValueError, match=r'another partition_seed: expected 4, found 3'):
            check_same_run(self.run(seed=3), self.run(seed=4), tmp_path)


def test_images_from_memory_are_in_the_table():
    last = {**ENTRIES[-1], 'memory_images': 7}
    table = format_summary(merged(*ENTRIES[:-1], last))
    assert f'| {last["train_images"]} + 7 |' in table
    assert '+' not in format_summary(merged(*ENTRIES))
