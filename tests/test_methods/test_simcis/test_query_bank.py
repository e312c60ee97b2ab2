"""The bank of queries: what is kept, drawn, merged, and which checkpoints are refused."""

import copy

import pytest
import several
import torch
from tiny import SCENARIO
from torch import nn

from mmcomformer.engine.method_state import gather_states
from mmcomformer.methods.simcis import QueryBank, query_bank
from mmcomformer.models.targets import ImageTargets
from mmcomformer.scenario import Scenario


def bank_of(step, size=3, width=2, num_virtual=50, power=0.5):
    scenario = Scenario.from_config({**SCENARIO, 'step': step})
    return QueryBank(scenario, width, size, num_virtual, power)


def push(bank, *pairs):
    """Push queries (value, value) with these values and labels."""
    values, labels = zip(*pairs, strict=True)
    bank.push(torch.tensor(values)[:, None].repeat(1, 2), torch.tensor(labels))


def kept(bank):
    """Return the values that a bank keeps of each class, oldest first."""
    state = bank.method_state()
    parts = state['queries'][:, 0].split(state['sizes'].tolist())
    return [part.tolist() for part in parts]


def test_the_newest_are_kept():
    bank = bank_of(0)
    push(bank, (1.0, 0), (2.0, 1), (3.0, 0))
    assert kept(bank) == [[1, 3], [2]]
    push(bank, (4.0, 0), (5.0, 0), (6.0, 1))
    assert kept(bank) == [[3, 4, 5], [2, 6]]
    # more at once than there is room for
    push(bank, *((float(value), 1) for value in range(10, 17)))
    assert kept(bank) == [[3, 4, 5], [14, 15, 16]]


def test_nothing_is_pushed():
    bank = bank_of(0)
    bank.push(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))
    assert kept(bank) == [[], []]


def test_the_next_step_draws_from_what_the_last_one_left():
    first, second = bank_of(0), bank_of(1)
    push(first, (1.0, 0), (2.0, 1), (3.0, 1), (4.0, 1), (5.0, 1))
    assert not second.can_draw
    second.load_method_state(first.method_state())
    assert second.can_draw
    assert kept(second) == [[1], [3, 4, 5], [], []]
    push(second, (7.0, 0), (8.0, 2))
    assert kept(second) == [[1, 7], [3, 4, 5], [8], []]
    torch.manual_seed(0)
    queries, labels = second.draw(4)
    assert (queries.shape, labels.shape) == ((4, 50, 2), (4, 50))
    for label, values in ((0, {1}), (1, {3, 4, 5})):
        assert set(queries[labels == label].unique().tolist()) == values
    assert labels.max() == 1


def test_rare_classes_are_drawn_more_often():
    """By the pseudo-labels that training showed, and never one without a query."""
    first, second = bank_of(1), bank_of(2, power=1.0)
    push(first, (1.0, 0), (2.0, 1), (3.0, 2))
    second.load_method_state(first.method_state())
    labels = torch.tensor([3, 0, 1, 0, 0])
    shown = ImageTargets(
        labels,
        torch.tensor([True, True, True, True, False]),
        torch.zeros(5, 4, 4),
        num_ground_truth=1,
    )
    # 6 of class 0, 3 of class 1, none of class 2 and 3: that of step 2 is no pseudo-label
    for _ in range(3):
        second.count([shown])
    assert second.fresh_counts.tolist() == [6, 3, 0, 0]
    torch.manual_seed(0)
    _, drawn = second.draw(600)
    shares = drawn.flatten().bincount(minlength=4) / 30000
    weights = torch.tensor([1 / 7, 1 / 4, 1, 0])
    torch.testing.assert_close(shares, weights / weights.sum(), atol=0.01, rtol=0)


def test_a_resumed_bank_draws_and_keeps_the_same():
    first, whole, resumed = bank_of(0), bank_of(1), bank_of(1)
    push(first, *((float(value), value % 2) for value in range(9)))
    whole.load_method_state(first.method_state())
    push(whole, *((float(value), value % 3) for value in range(20, 31)))
    whole.fresh_counts += torch.tensor([5, 1])
    resumed.load_method_state(whole.method_state())
    for bank in (whole, resumed):
        push(bank, (50.0, 1), (51.0, 3))
    assert kept(whole) == kept(resumed)
    drawn = []
    for bank in (whole, resumed):
        torch.manual_seed(3)
        drawn.append(bank.draw(2))
    for one, other in zip(*drawn, strict=True):
        assert torch.equal(one, other)


def merged(banks):
    """Merge as the processes of a training do before a checkpoint."""
    states = [copy.deepcopy(bank.method_state()) for bank in banks]
    results = [bank.merge_states(states) for bank in banks]
    for bank, state in zip(banks, results, strict=True):
        bank.load_method_state(state)


def test_banks_of_two_processes():
    """The newest of each are kept, and what both have is kept once."""
    banks = [bank_of(0, size=4), bank_of(0, size=4)]
    push(banks[0], (1.0, 0), (2.0, 0), (3.0, 0), (4.0, 1))
    push(banks[1], (11.0, 0), (12.0, 0), (13.0, 0))
    merged(banks)
    assert [kept(bank) for bank in banks] == [[[2, 12, 3, 13], [4]]] * 2
    merged(banks)
    assert [kept(bank) for bank in banks] == [[[2, 12, 3, 13], [4]]] * 2
    push(banks[1], (14.0, 0), (15.0, 1))
    push(banks[0], (5.0, 1))
    merged(banks)
    assert [kept(bank) for bank in banks] == [[[12, 3, 13, 14], [4, 5, 15]]] * 2


def test_counts_of_two_processes():
    banks = [bank_of(1), bank_of(1)]
    for bank, counts in zip(banks, ([3, 1], [0, 5]), strict=True):
        bank.fresh_counts += torch.tensor(counts)
    for _ in range(2):
        merged(banks)
        assert [bank.counts.tolist() for bank in banks] == [[3, 6]] * 2
        assert [bank.fresh_counts.tolist() for bank in banks] == [[0, 0]] * 2


@pytest.mark.parametrize(('num_virtual', 'reports'), [(2, 1), (0, 0)])
def test_an_empty_bank_is_reported_once(monkeypatch, num_virtual, reports):
    said = []
    monkeypatch.setattr(query_bank, 'print_log', lambda text, **kwargs: said.append(text))
    bank = bank_of(1, num_virtual=num_virtual)
    bank.load_method_state(bank_of(0).method_state())
    assert not bank.can_draw
    assert len(said) == reports
    assert all('step 0 holds no queries' in text for text in said)
    # as at every checkpoint
    bank.load_method_state(bank.method_state())
    assert len(said) == reports


def test_nothing_is_drawn_unless_asked_for():
    first, second = bank_of(0), bank_of(1, num_virtual=0)
    push(first, (1.0, 0))
    second.load_method_state(first.method_state())
    assert not second.can_draw
    assert kept(second)[0] == [1]


@pytest.mark.parametrize(
    ('state', 'message'),
    [
        (lambda: bank_of(0, width=4).method_state(), 'up to 0 queries of width 4 .*of width 2'),
        (lambda: large().method_state(), r'up to 5 queries .* keeps 3 \(bank_size\)'),
        (lambda: bank_of(2).method_state(), 'it is of step 2, and the model of step 1'),
        (
            lambda: {**bank_of(0).method_state(), 'sizes': torch.zeros(7, dtype=torch.long)},
            'it is of 7 classes, but the scenario has 2 by step 0',
        ),
    ],
)
def test_a_bank_that_does_not_fit(state, message):
    with pytest.raises(RuntimeError, match=f'query bank: .*{message}'):
        bank_of(1).load_method_state(state())


def large():
    bank = bank_of(0, size=9)
    push(bank, *((1.0, 0) for _ in range(5)))
    return bank


def test_two_real_processes(tmp_path):
    """Each ends with the queries of both, and counts nothing twice."""

    def work(rank):
        model = nn.ModuleDict({'bank': bank_of(1)})
        bank = model['bank']
        push(bank, (10.0 * rank, 0), (10.0 * rank + 1, 2 + rank))
        bank.fresh_counts[rank] += 4
        states = [gather_states(model) for _ in range(2)]
        first, second = (state['bank'] for state in states)
        assert all(torch.equal(value, second[key]) for key, value in first.items())
        return kept(bank), bank.counts.tolist()

    assert several.run_two(work, tmp_path) == [([[0, 10], [], [1], [11]], [4, 4])] * 2
