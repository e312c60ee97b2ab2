"""The table of a comparison, by hand."""

import csv
import json

import pytest

from mmcomformer.comparison.results import (
    NUMBERS,
    SHEET,
    TABLE,
    collect,
    per_step,
    write_page,
    write_results,
)

from .conftest import summary_at


def finish(run, step=1, **values):
    run.folder.mkdir(parents=True)
    (run.folder / 'summary.json').write_text(json.dumps(summary_at(step, **values)))


@pytest.fixture
def comparison(make):
    made = make('a', 'b', 'own', seeds=(0, 1))
    for run, base in zip(made.runs[:2], (60.0, 70.0), strict=True):
        finish(run, base=base)
    finish(made.runs[3], base=64.0)
    return made


def test_mean_and_spread(comparison):
    first, second, third = collect(comparison)
    assert first['seeds'] == [0, 1]
    assert first['mean']['base after step 0'] == 62.0
    assert first['mean']['base'] == 52.0
    assert first['sd']['base'] == pytest.approx(8**0.5)
    assert first['mean']['seconds per iteration'] == 0.4
    assert first['images'] == [7, 8]
    # those of the last step
    assert first['mean']['trained parameters'] == 999
    assert first['mean']['peak memory (MB)'] == 301
    assert first['trained_parameters'] == [1000, 999]
    # one run has no spread, none has no mean
    assert (second['seeds'], second['sd']['base']) == ([0], None)
    assert (third['seeds'], third['mean']['base']) == ([], None)


def test_a_run_that_is_not_done_is_not_counted(make):
    made = make('a', seeds=(0, 1))
    finish(made.runs[0], step=0)
    assert collect(made)[0]['seeds'] == []


def test_page_of_the_runs_that_are_done(comparison, make):
    page = write_page(comparison)
    assert page == comparison.folder / 'comparison.html'
    text = page.read_text()
    for run in comparison.runs:
        assert (str(run.folder) in text) == (run.folder / 'summary.json').is_file()
    page.write_text('mine')
    with pytest.raises(FileExistsError):
        write_page(comparison)


def test_no_page_of_nothing(make):
    assert write_page(make('a')) is None


def test_files(comparison):
    text = write_results(comparison)
    assert 'toy_2-1, overlap setting, recipe fair; PQ in percent' in text
    row = next(line for line in text.splitlines() if line.startswith('| Toy'))
    assert [cell.strip() for cell in row.split('|')[1:5]] == [
        'Toy',
        '0, 1',
        '62.0 ± 2.8',
        '52.0 ± 2.8',
    ]
    header = text.splitlines()[2].split('|')
    cells = dict(zip(map(str.strip, header), map(str.strip, row.split('|')), strict=True))
    assert cells['images of each step'] == '7, 8'
    assert cells['trained parameters of each step'] == '1000, 999'
    assert (comparison.folder / TABLE).read_text() == text
    numbers = json.loads((comparison.folder / NUMBERS).read_text())
    assert [row['method'] for row in numbers['methods']] == ['a', 'b', 'own']
    with open(comparison.folder / SHEET, newline='') as file:
        lines = list(csv.DictReader(file))
    assert [(line['method'], line['seed'], line['base']) for line in lines] == [
        ('a', '0', '50.0'),
        ('a', '1', '54.0'),
        ('b', '0', '60.0'),
    ]
    assert lines[0]['images of each step'] == '7, 8'
    assert lines[0]['trained parameters'] == '999'


@pytest.mark.parametrize(
    ('images', 'memory', 'trained', 'expected'),
    [
        ([9, 5, 5], [0, 2, 2], [30, 4, 4], ('9, 5 + 2 (2 x)', '30, 4 (2 x)')),
        ([9, 5, 9], [0, 0, 0], [30, 30, None], ('9, 5, 9', '30 (2 x), -')),
        ([], [], [], ('-', '-')),
    ],
)
def test_figures_of_each_step(images, memory, trained, expected):
    row = {'images': images, 'images_from_memory': memory, 'trained_parameters': trained}
    assert tuple(per_step(row).values()) == expected


def test_a_table_keeps_methods_and_seeds_that_were_not_asked_for(comparison, make):
    comparison.begin()
    asked = make('own', seeds=(0,))
    shown = asked.with_others(make('a', 'b').entries)
    assert [row['seeds'] for row in collect(shown)] == [[], [0, 1], [0]]
    # and leaves those of other settings out
    shown = asked.with_others([*make('a', width=9).entries, *make('b').entries])
    assert [row['method'] for row in collect(shown)] == ['own', 'b']
