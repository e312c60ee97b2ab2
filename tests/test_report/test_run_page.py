"""The page of a run: what it says, and what it says when something is missing."""

import dataclasses
import json
import os
import re

import pytest
from report_runs import Page, make_entry, make_run

from mmcomformer.evaluation.summary import merge_step, write_summary
from mmcomformer.report import run_page
from mmcomformer.report.collected import read_evaluation, write_evaluation
from mmcomformer.report.run_page import write_run_page
from mmcomformer.scenario import Scenario

SECTIONS = ['run', 'results', 'classes', 'confusion', 'pictures', 'pseudo-labels', 'training']


def page_of(run_dir, **options):
    return Page(write_run_page(run_dir, **options).read_text(encoding='utf-8'))


def test_all_sections_in_order(tmp_path):
    make_run(tmp_path, logs=4)
    page = page_of(tmp_path)
    assert page.sections == SECTIONS
    assert 'Not available' not in page.text
    assert len(page.table('pictures')) == 0


def test_plots_have_no_formulas(tmp_path):
    make_run(tmp_path, logs=4)
    assert 'mathdefault' not in write_run_page(tmp_path).read_text()


def test_nothing_is_fetched(tmp_path):
    make_run(tmp_path, logs=4)
    path = write_run_page(tmp_path)
    addresses = Page(path.read_text()).addresses
    assert {address[:5] for address in addresses if not address.startswith('#')} == {'data:'}
    text = path.read_text()
    assert '<script' not in text
    assert '@import' not in text


def test_numbers_are_those_of_the_summary(tmp_path):
    make_run(tmp_path)
    summary = json.loads((tmp_path / 'summary.json').read_text())
    page = page_of(tmp_path)

    def shown(value):
        return '-' if value is None else f'{value:.2f}'

    rows = page.table('results')
    assert rows[0] == ['after step', 'PQ base', 'PQ new', 'PQ all', 'SQ all', 'RQ all']
    for row, entry in zip(rows[1:], summary['steps'], strict=True):
        metrics = entry['metrics']
        assert row == [
            str(entry['step']),
            *(shown(metrics['PQ'][group]) for group in ('base', 'new', 'all')),
            shown(metrics['SQ']['all']),
            shown(metrics['RQ']['all']),
        ]
    rows = page.table('classes')
    order, steps = summary['class_order'], summary['steps']
    assert [row[0] for row in rows[1 : len(order) + 1]] == order
    for row in rows[1 : len(order) + 1]:
        values = [entry['per_class'].get(row[0], {}).get('PQ') for entry in steps]
        assert row[2:] == [shown(value) for value in values]
        assert row[0] in steps[int(row[1])]['classes']
    for row in rows[len(order) + 2 :]:
        taught = next(entry for entry in steps if row[0] in entry['classes'])
        then = taught['per_class'][row[0]]['PQ']
        for cell, entry in zip(row[1:], steps[1:], strict=True):
            later = entry['step'] > taught['step']
            assert cell == (shown(then - entry['per_class'][row[0]]['PQ']) if later else '-')
    for name, value in summary['final']['PQ'].items():
        assert shown(value) in page.text, name
    run = page.table('run')
    assert run[1][:9] == [
        *('0', '2', '12', '40', '1.0', '0.125', '321 (process)'),
        *('4\u202f000\u202f000', '0'),
    ]
    assert 'CPU, toy' in page.text


def test_confusion_is_what_was_kept(tmp_path):
    make_run(tmp_path)
    page = page_of(tmp_path)
    kept = run_page.evaluation_of(
        tmp_path, json.loads((tmp_path / 'summary.json').read_text())['steps'][-1]
    )
    pixels = kept.confusion
    rows = [row for row in page.table('confusion') if row[0].startswith('class')]
    for label, row in enumerate(rows[:4]):
        shares = 100 * pixels[label] / pixels[label].sum()
        assert row[1:-1] == [
            f'{share:.1f}' if n else '·' for share, n in zip(shares, pixels[label], strict=True)
        ]
    segments = [row for row in page.table('confusion') if len(row) == 4][1:]
    assert segments == [[n, *map(str, counts.values())] for n, counts in kept.segments.items()]


def test_pictures_after_each_step(tmp_path):
    make_run(tmp_path, images=11)
    text = write_run_page(tmp_path).read_text()
    # 8 images, each with ground truth and three predictions; 2 steps with 4 images of 4 panels
    assert text.count('<img alt="image: val/') == 8 + 8
    assert text.count('<figcaption>after step') == 8 * 3
    assert text.count('<figcaption>ground truth') == 8
    assert text.count('<figcaption>pseudo-labels') == 8
    assert 'class="gone"' not in text
    assert len(text) < 5_000_000


def test_a_page_may_be_written_elsewhere_and_again(tmp_path):
    make_run(tmp_path / 'run')
    path = write_run_page(tmp_path / 'run', tmp_path / 'new' / 'page.html')
    first = path.read_text()
    assert write_run_page(tmp_path / 'run', path) == path
    # the plots name their parts at random
    assert abs(len(path.read_text()) - len(first)) < 100
    assert not (tmp_path / 'run' / 'report.html').exists()


def test_a_file_of_the_user_stays(tmp_path):
    make_run(tmp_path)
    (tmp_path / 'report.html').write_text('mine')
    with pytest.raises(FileExistsError, match=r'report.html exists, and was not written by this'):
        write_run_page(tmp_path)
    assert (tmp_path / 'report.html').read_text() == 'mine'
    assert page_of(tmp_path, overwrite=True).sections == SECTIONS


def test_killed_while_it_is_written(tmp_path, monkeypatch):
    make_run(tmp_path)
    before = write_run_page(tmp_path).read_bytes()

    def kill(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'replace', kill)
    with pytest.raises(KeyboardInterrupt):
        write_run_page(tmp_path)
    assert (tmp_path / 'report.html').read_bytes() == before
    monkeypatch.undo()
    assert page_of(tmp_path).sections == SECTIONS


def test_semantic(tmp_path):
    make_run(tmp_path, task='semantic')
    page = page_of(tmp_path)
    assert page.table('results')[0] == [
        'after step',
        'mIoU base',
        'mIoU new',
        'mIoU all',
        'mAcc all',
    ]


def test_without_pseudo_labels_the_section_is_absent(tmp_path):
    make_run(tmp_path, pseudo=False)
    assert page_of(tmp_path).sections == [name for name in SECTIONS if name != 'pseudo-labels']


def test_no_steps(tmp_path):
    make_run(tmp_path, steps=0)
    page = page_of(tmp_path)
    assert 'No step has been evaluated yet' in page.text
    assert 'pseudo-labels' not in page.sections


def test_steps_that_are_missing(tmp_path):
    make_run(tmp_path, steps=2)
    assert 'Steps without results: 2.' in page_of(tmp_path).text


def test_only_a_later_step(tmp_path):
    scenario = Scenario([1, 1], ['a', 'b'], [], step=1)
    summary = make_run(tmp_path, (1, 1), names=['a', 'b'], steps=0)
    write_summary(tmp_path / 'summary.json', merge_step(summary, make_entry(scenario)))
    page = page_of(tmp_path)
    assert page.table('classes')[1][:2] == ['a', '-']
    assert 'No log' in page.text


def test_what_is_gone_is_named(tmp_path):
    make_run(tmp_path)
    for path in tmp_path.glob('step*/*.npz'):
        path.unlink()
    text = page_of(tmp_path).text
    assert f'Not available, step 0: {tmp_path}/step0/evaluation.npz: no such file' in text
    assert f'Not available: {tmp_path}/step2/evaluation.npz: no such file' in text
    assert 'No log (step*/*/vis_data/scalars.json) of step 0, 1, 2' in text


def test_one_step_without_pictures(tmp_path):
    make_run(tmp_path)
    (tmp_path / 'step1' / 'evaluation.npz').write_bytes(b'broken')
    (tmp_path / 'step1' / 'pseudo_labels.npz').write_bytes(b'broken')
    path = write_run_page(tmp_path)
    assert path.read_text().count('<div class="gone">not kept</div>') == 2
    text = Page(path.read_text()).text
    assert 'step 1: ' in text
    assert 'pseudo_labels.npz: it cannot be read' in text


def test_pictures_of_another_evaluation_are_not_shown(tmp_path):
    summary = make_run(tmp_path)
    summary['steps'][2]['per_class']['class0']['PQ'] += 1
    write_summary(tmp_path / 'summary.json', summary)
    assert 'what was kept there is of another evaluation of the step' in page_of(tmp_path).text


@pytest.mark.parametrize('change', [{'task': 'depth'}, {'steps': None}, {'final': {}}])
def test_another_summary(tmp_path, change):
    summary = make_run(tmp_path, (1,))
    (tmp_path / 'summary.json').write_text(json.dumps({**summary, **change}))
    with pytest.raises(ValueError, match=r'summary.json: not a summary of a run'):
        write_run_page(tmp_path)
    assert not (tmp_path / 'report.html').exists()


def test_a_class_that_no_image_shows(tmp_path):
    summary = make_run(tmp_path)
    for entry in summary['steps']:
        entry['per_class']['class1'] = dict.fromkeys(entry['per_class']['class1'])
        folder = tmp_path / f'step{entry["step"]}'
        kept = read_evaluation(folder)
        kept.confusion[1] = 0
        write_evaluation(folder, dataclasses.replace(kept, per_class=entry['per_class']))
    write_summary(tmp_path / 'summary.json', summary)
    page = page_of(tmp_path)
    assert page.table('classes')[2] == ['class1', '0', '-', '-', '-']
    assert 'A dash: not taught yet, or on none of the images.' in page.text
    assert 'class1' not in page.text.split('Lost most')[1].split('Who took whom')[0]
    shares = next(row for row in page.table('confusion') if row[0] == 'class1')
    assert shares == ['class1', *'-----', '0']


def test_an_early_summary_without_machine(tmp_path):
    summary = make_run(tmp_path, (1, 1))
    for entry in summary['steps']:
        for key in ('machine', 'seconds_per_iter', 'trainable_parameters', 'parameters', 'seed'):
            del entry[key]
    del summary['increments']
    write_summary(tmp_path / 'summary.json', summary)
    page = page_of(tmp_path)
    assert 'Device and versions were not recorded' in page.text
    assert page.table('run')[1][5:9] == ['-', '-', '-', '?']


NAMES = ['<script>alert(1)</script>', '"quoted" & \'single\'', 'Größe $x_1$', '🐈 cat', '_hidden']


def test_names_are_escaped(tmp_path):
    make_run(tmp_path, (3, 2), names=NAMES, config='<b>config</b>', method='A & "B"')
    path = write_run_page(tmp_path)
    assert '<script' not in path.read_text()
    assert '<b>config' not in path.read_text()
    page = Page(path.read_text())
    assert [row[0] for row in page.table('classes')[1:6]] == NAMES
    assert 'A & "B"' in page.text


def test_names_with_commas_are_told_apart(tmp_path):
    make_run(tmp_path, (2, 1), names=['painting, picture', 'sofa', 'tree'], images=0, seed=1)
    page = page_of(tmp_path)
    assert [row[9] for row in page.table('run')[1:]] == ['painting, picture; sofa', 'tree']
    [takers] = [row[2] for row in page.table('confusion') if row[0] == 'sofa' and len(row) == 3]
    assert re.fullmatch(r'\S.* \d+\.\d %(; \S.* \d+\.\d %)+', takers)


@pytest.mark.parametrize('steps', [4, 5])
def test_many_steps_have_the_width_of_the_page(tmp_path, steps):
    make_run(tmp_path, (1,) * steps, images=0)
    section = write_run_page(tmp_path).read_text().split('id="classes"')[1].split('<table')[0]
    assert ('class="columns"' in section) == (steps == 4)


@pytest.mark.parametrize('increments', [(1,), (100, 100)], ids=['1 class', '200 classes'])
def test_few_and_many_classes(tmp_path, increments):
    make_run(tmp_path, increments, images=12)
    page = page_of(tmp_path)
    assert len([row for row in page.table('classes') if row[0].startswith('class1')]) >= len(
        increments
    ) * (sum(increments) > 1)
    # so many are a picture, not a table
    assert ('Matrix of 200 classes' in page.text) == (sum(increments) > 100)


def test_no_permission(tmp_path, monkeypatch):
    make_run(tmp_path)

    def refuse(path, *args, **kwargs):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr('mmcomformer.report.rendering.output_file', refuse)
    with pytest.raises(PermissionError, match=r'report.html'):
        write_run_page(tmp_path)
