"""The page that compares runs."""

import statistics

import pytest
from report_runs import Page, make_run

from mmcomformer.evaluation.run_figures import Spread, figures
from mmcomformer.evaluation.summary import write_summary
from mmcomformer.report import write_comparison_page


def page_of(runs, tmp_path, **options):
    path = write_comparison_page(runs, tmp_path / 'comparison.html', **options)
    return Page(path.read_text(encoding='utf-8'))


@pytest.fixture
def folders(tmp_path):
    """Two seeds of one method, and another method."""
    runs = {'a0': ('Ours', 0), 'a1': ('Ours', 1), 'b0': ('Theirs', 5)}
    for name, (method, seed) in runs.items():
        make_run(tmp_path / name, method=method, seed=seed)
    return [tmp_path / name for name in runs]


def test_sections_and_nothing_missing(folders, tmp_path):
    page = page_of(folders, tmp_path)
    assert page.sections == ['table', 'curves', 'classes', 'pictures']
    assert 'Not available' not in page.text
    assert {a[:5] for a in page.addresses if not a.startswith('#')} == {'data:'}


def test_table_has_mean_and_spread_over_seeds(folders, tmp_path):
    page = page_of(folders, tmp_path)
    header, ours, theirs, *costs = page.table('table')
    assert (ours[:3], theirs[:3]) == (['Ours', '2', '0, 1'], ['Theirs', '1', '5'])
    found = [figures(make_run(tmp_path / f'again{seed}', seed=seed)) for seed in (0, 1, 5)]
    for column, cell, single in zip(header[3:9], ours[3:9], theirs[3:9], strict=True):
        key = column.removeprefix('PQ ')
        values = [of_run[key] for of_run in found]
        mean, sd = statistics.fmean(values[:2]), statistics.stdev(values[:2])
        assert cell == f'{mean:.2f} ± {sd:.2f}'
        assert single == f'{values[2]:.2f}'
    assert ours[9:] == ['2 + 1 + 1 overlap']
    assert costs[1] == ['Ours', '4.00 M', '0.125 ± 0.000', '321 (process)']
    assert costs[2] == ['Theirs', '4.00 M', '0.125', '321 (process)']
    assert f'Ours: toy, {folders[0]}' in page.text


def test_nothing_comes_after_the_only_step(tmp_path):
    several = make_run(tmp_path / 'run')
    first = several['steps'][0]['metrics']['PQ']['base']
    assert figures(several)['base after step 0'] == first
    # as joint training; what counts as base is still there
    found = figures({**several, 'increments': [4]})
    assert found['base after step 0'] is None
    assert found['base'] == several['final']['PQ']['base']


def test_classes_and_differences(folders, tmp_path):
    page = page_of(folders, tmp_path)
    finals = [
        make_run(tmp_path / f'again{seed}', seed=seed)['steps'][-1]['per_class']
        for seed in (0, 1, 5)
    ]
    rows = page.table('classes')
    assert [rows[0], rows[5]] == [['class', 'Ours', 'Theirs'], ['class', 'Theirs']]
    assert 'Difference to Ours (points)' in page.text
    for (name, ours, theirs), (again, difference) in zip(rows[1:5], rows[6:], strict=True):
        values = [of_run[name]['PQ'] for of_run in finals]
        mean = statistics.fmean(values[:2])
        assert (ours, theirs) == (f'{mean:.2f}', f'{values[2]:.2f}')
        assert (again, difference) == (name, f'{values[2] - mean:+.2f}')


def test_one_group_has_no_differences(folders, tmp_path):
    page = page_of(folders[:2], tmp_path)
    assert 'Difference to' not in page.text
    assert len(page.table('classes')) == 5


def test_the_same_pictures_side_by_side(folders, tmp_path):
    text = write_comparison_page(folders, tmp_path / 'c.html').read_text()
    for caption in ('ground truth', 'Ours', 'Theirs'):
        assert text.count(f'<figcaption>{caption}</figcaption>') == 2


def test_names_that_methods_do_not_tell_apart(tmp_path):
    for name in ('x', 'y'):
        make_run(tmp_path / name, config=name)
    make_run(tmp_path / 'z', (2, 2), config='y')
    page = page_of([tmp_path / name for name in 'xyz'], tmp_path)
    assert [row[0] for row in page.table('table')[1:4]] == [
        'CoMFormer, x, 2 + 1 + 1 overlap',
        'CoMFormer, y, 2 + 1 + 1 overlap',
        'CoMFormer, y, 2 + 2 overlap',
    ]


def test_two_tasks(tmp_path):
    make_run(tmp_path / 'a')
    make_run(tmp_path / 'b', task='semantic')
    with pytest.raises(ValueError, match=r'b: its task is semantic, that of .*a is panoptic'):
        page_of([tmp_path / 'a', tmp_path / 'b'], tmp_path)
    assert not (tmp_path / 'comparison.html').exists()


def test_run_without_steps_and_unfinished_run(tmp_path):
    make_run(tmp_path / 'a', steps=2)
    make_run(tmp_path / 'b', steps=0, method='Empty')
    page = page_of([tmp_path / 'a', tmp_path / 'b'], tmp_path)
    assert f'{tmp_path}/a: no results of step 2.' in page.text
    assert f'{tmp_path}/b: no results of step 0, 1, 2.' in page.text
    assert page.table('table')[2][3:] == [*['-'] * 6, '2 + 1 + 1 overlap']
    assert page.table('table')[5][1:] == ['-', '-', '-']
    assert 'None of the runs has results' in page_of([tmp_path / 'b'], tmp_path).text


def test_pictures_that_are_gone(folders, tmp_path):
    (folders[2] / 'step2' / 'evaluation.npz').unlink()
    page = page_of(folders, tmp_path)
    assert f'Not available, Theirs: {folders[2]}/step2/evaluation.npz: no such file' in page.text
    for folder in folders[:2]:
        (folder / 'step2' / 'evaluation.npz').unlink()
    assert 'Not available, Ours: ' in page_of(folders, tmp_path).text


def test_no_common_images(folders, tmp_path):
    make_run(tmp_path / 'other', images=0, method='Blind')
    page = page_of([folders[0], tmp_path / 'other'], tmp_path)
    assert 'the runs have kept no image in common' in page.text


def test_joint_training_is_a_point_beside_the_curves(folders, tmp_path):
    make_run(tmp_path / 'joint', (4,), method='Joint')
    page = page_of([folders[0], tmp_path / 'joint'], tmp_path)
    row = page.table('table')[2]
    assert (row[0], row[-1]) == ('Joint', '4 overlap')


def test_early_summary_without_costs(tmp_path):
    summary = make_run(tmp_path / 'a')
    for entry in summary['steps']:
        del entry['machine'], entry['seconds_per_iter'], entry['trainable_parameters']
    write_summary(tmp_path / 'a' / 'summary.json', summary)
    assert page_of([tmp_path / 'a'], tmp_path).table('table')[3][1:] == ['-', '-', '-']


def test_parameters_that_grow(tmp_path):
    summary = make_run(tmp_path / 'a')
    # what differs by less than is written is one number
    for count, shown in ((500_000, '0.50 M to 4.00 M'), (4_000_100, '4.00 M')):
        summary['steps'][2]['trainable_parameters'] = count
        write_summary(tmp_path / 'a' / 'summary.json', summary)
        assert page_of([tmp_path / 'a'], tmp_path).table('table')[3][1] == shown


def test_names_are_escaped(tmp_path):
    for name, method in (('<i>', '<script>x</script>'), ('ä & "b"', '🐈 & $y$')):
        make_run(tmp_path / name, method=method)
    path = write_comparison_page([tmp_path / '<i>', tmp_path / 'ä & "b"'], tmp_path / 'c.html')
    assert '<script' not in path.read_text()
    page = Page(path.read_text())
    assert [row[0] for row in page.table('table')[1:3]] == ['<script>x</script>', '🐈 & $y$']


@pytest.mark.parametrize(
    ('runs', 'error', 'message'),
    [
        ([], ValueError, 'runs: expected at least one folder'),
        (['none'], FileNotFoundError, 'none/summary.json'),
    ],
)
def test_nothing_to_compare(tmp_path, runs, error, message):
    with pytest.raises(error, match=message):
        page_of([tmp_path / run for run in runs], tmp_path)


def test_a_file_of_the_user_stays(folders, tmp_path):
    (tmp_path / 'comparison.html').write_text('mine')
    with pytest.raises(FileExistsError):
        page_of(folders, tmp_path)
    assert page_of(folders, tmp_path, overwrite=True).sections


def test_spread_of_incomplete_values():
    assert Spread.of([]) == Spread(None, None)
    assert Spread.of([1.0, None]) == Spread(None, None)
    assert Spread.of([1.0]) == Spread(1.0, None)
    assert Spread.of([1.0, 2.0]).sd == pytest.approx(0.5**0.5)
