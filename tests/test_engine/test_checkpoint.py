"""What a checkpoint must be to start the next step from."""

import dataclasses
import os

import pytest
import torch

from mmcomformer.engine.checkpoint import (
    check_previous_step,
    check_seen_classes,
    check_seen_images,
    continual_meta,
    file_sha256,
    previous_checkpoint,
    read_checkpoint,
)
from mmcomformer.scenario import Scenario

THINGS, STUFF = ['cat', 'dog', 'cow'], ['sky', 'sea']
ORDER = ['sky', 'dog', 'cat', 'sea', 'cow']


def scenario(increments=(2, 2, 1), step=1, order=ORDER):
    return Scenario(increments, THINGS, STUFF, order, step=step)


def saved(path, continual=None):
    meta = {} if continual is None else {'continual': continual}
    torch.save({'state_dict': {'weight': torch.ones(2)}, 'meta': meta}, path)
    return path


def continual_of(scenario):
    return {'step': scenario.step, 'scenario': scenario.to_dict()}


class Malicious:
    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim),)


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match='no.pth: no such file'):
        read_checkpoint(tmp_path / 'no.pth')


def test_truncated(tmp_path):
    path = saved(tmp_path / 'a.pth')
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(RuntimeError, match='a.pth: truncated or not a checkpoint'):
        read_checkpoint(path)


def test_text_is_not_a_checkpoint(tmp_path):
    path = tmp_path / 'a.pth'
    path.write_text('hello')
    with pytest.raises(RuntimeError, match='a.pth: .*not a checkpoint'):
        read_checkpoint(path)


def test_without_state_dict(tmp_path):
    torch.save([1, 2], tmp_path / 'a.pth')
    with pytest.raises(RuntimeError, match='not a checkpoint, it has no state_dict'):
        read_checkpoint(tmp_path / 'a.pth')


def test_code_is_refused_and_not_run(tmp_path):
    victim = tmp_path / 'made-by-unpickling'
    torch.save({'state_dict': {}, 'meta': Malicious(victim)}, tmp_path / 'a.pth')
    with pytest.raises(RuntimeError, match=r'refused, because loading it would run code .*mkdir'):
        read_checkpoint(tmp_path / 'a.pth')
    assert not victim.exists()


def test_of_another_program(tmp_path):
    path = saved(tmp_path / 'a.pth')
    with pytest.raises(RuntimeError, match='no step and scenario'):
        continual_meta(read_checkpoint(path), path)


def test_meta_round_trip(tmp_path):
    path = saved(tmp_path / 'a.pth', continual_of(scenario(step=0)))
    assert continual_meta(read_checkpoint(path, mmap=True), path)['step'] == 0


def test_same_scenario_is_accepted():
    check_previous_step(continual_of(scenario(step=0)), scenario(step=1), 'a.pth')
    check_previous_step(continual_of(scenario(step=1)), scenario(step=2), 'a.pth')


class TestSeenImages:
    """A memory holds what was shown; in another setting these are other images."""

    def check(self, theirs, ours):
        then, now = (dataclasses.replace(scenario(), **changes) for changes in (theirs, ours))
        check_seen_images(continual_of(then.at_step(0)), now, 'a.pth')

    def test_the_same(self):
        self.check({}, {})
        # only the partition is drawn
        self.check({'partition_seed': 1}, {'partition_seed': 2})

    def test_another_setting(self):
        message = r"memory: .*setting 'overlap' .*a\.pth was trained with 'disjoint'"
        with pytest.raises(RuntimeError, match=message):
            self.check({'setting': 'disjoint'}, {})

    def test_another_partition(self):
        theirs, ours = ({'setting': 'partitioned', 'partition_seed': seed} for seed in (1, 2))
        self.check(theirs, theirs)
        with pytest.raises(RuntimeError, match='memory: .*partition_seed 2 .*trained with 1'):
            self.check(theirs, ours)


def test_only_seen_classes_count():
    """A step-0 checkpoint serves every scenario that starts with the same classes."""
    other = scenario(increments=(2, 1, 1, 1), order=['sky', 'dog', 'cow', 'sea', 'cat'])
    check_previous_step(continual_of(other.at_step(0)), scenario(step=1), 'a.pth')


@pytest.mark.parametrize(
    ('theirs', 'match'),
    [
        (scenario(step=1), 'starts from a checkpoint of step 0, but this one is of step 1'),
        (
            scenario(step=0, order=['dog', 'sky', 'cat', 'sea', 'cow']),
            "the same classes in another order: class 0 is 'sky' here, but 'dog' there",
        ),
        (
            scenario(step=0, order=['sky', 'cow', 'cat', 'sea', 'dog']),
            "other classes: class 1 is 'dog' here, but 'cow' there",
        ),
        (
            scenario(increments=(3, 2), step=0),
            'step 0 teaches 2 classes here, but 3 there',
        ),
    ],
)
def test_another_scenario(theirs, match):
    with pytest.raises(RuntimeError, match=match):
        check_previous_step(continual_of(theirs), scenario(step=1), 'a.pth')


def test_seen_classes_of_the_same_step():
    check_seen_classes(continual_of(scenario(step=1)), scenario(step=1), 'a.pth')
    with pytest.raises(RuntimeError, match='step 1 teaches 2 classes here, but 3 there'):
        check_seen_classes(
            continual_of(scenario(increments=(2, 3), step=1)), scenario(step=1), 'a.pth'
        )


def test_previous_checkpoint_after_a_move(tmp_path):
    step_dir = tmp_path / 'step0'
    step_dir.mkdir()
    with pytest.raises(FileNotFoundError, match='train that step first .*--step 0'):
        previous_checkpoint(step_dir)
    (step_dir / 'last_checkpoint').write_text('/an/older/place/step0/iter_5.pth')
    with pytest.raises(FileNotFoundError, match='names iter_5.pth, which is not in its folder'):
        previous_checkpoint(step_dir)
    saved(step_dir / 'iter_5.pth')
    assert previous_checkpoint(step_dir) == step_dir / 'iter_5.pth'


def test_sha256(tmp_path):
    (tmp_path / 'a').write_bytes(b'abc')
    assert file_sha256(tmp_path / 'a').startswith('ba7816bf8f01cfea')
