import json

from report_runs import write_log

from mmcomformer.report.curves import logged_lines, read_curves, thinned


def entry(step, iters=40, **more):
    return {'step': step, 'train_iters': iters, **more}


def test_all_steps_on_one_axis(tmp_path):
    for step in (0, 1):
        write_log(tmp_path / f'step{step}' / 'a' / 'vis_data', 4)
    curves = read_curves(tmp_path, [entry(0), entry(1)])
    assert curves.starts == [0, 40, 80]
    assert [x for x, _ in curves.losses['loss']] == [10, 20, 30, 40, 50, 60, 70, 80]
    # 1 + 2 + 3: the levels together, and no level on its own
    assert {y for _, y in curves.losses['loss_cls']} == {6.0}
    assert set(curves.losses) == {'loss', 'loss_cls'}
    assert set(curves.others) == {'lr', 'time', 'grad_norm'}
    assert curves.missing == []


def test_steps_without_a_log(tmp_path):
    write_log(tmp_path / 'step1' / 'a' / 'vis_data', 2)
    curves = read_curves(tmp_path, [entry(0), entry(1)])
    assert curves.missing == [0]
    assert [x for x, _ in curves.losses['loss']] == [50, 60]


def test_step_of_another_run(tmp_path):
    write_log(tmp_path / 'other' / 'step0' / 'a' / 'vis_data', 2)
    curves = read_curves(tmp_path / 'run', [entry(0, of_run=str(tmp_path / 'other'))])
    assert [x for x, _ in curves.losses['loss']] == [10, 20]


def test_what_a_later_training_replaces(tmp_path):
    write_log(tmp_path / '1' / 'vis_data', 9)
    write_log(tmp_path / '2' / 'vis_data', 2, first=30)
    assert list(logged_lines(tmp_path, last=1000)) == [10, 20, 30, 40]


def test_lines_after_the_last_iteration_are_of_another_training(tmp_path):
    write_log(tmp_path / '1' / 'vis_data', 9)
    assert list(logged_lines(tmp_path, last=50)) == [10, 20, 30, 40, 50]


def test_broken_lines(tmp_path):
    write_log(tmp_path / '1' / 'vis_data', 1)
    path = tmp_path / '1' / 'vis_data' / 'scalars.json'
    bad = json.dumps({'loss': float('nan'), 'lr': 0.5, 'iter': 20, 'step': 20})
    path.write_text(f'{path.read_text()}{bad}\n[1]\n{{"loss": 1.0, "it')
    curves = read_curves(tmp_path.parent, [])
    assert curves.losses == {}
    (tmp_path / 'step0').mkdir()
    (tmp_path / '1').rename(tmp_path / 'step0' / '1')
    curves = read_curves(tmp_path, [entry(0)])
    assert [x for x, _ in curves.losses['loss']] == [10]
    assert [x for x, _ in curves.others['lr']] == [10, 20]


def test_thinned_keeps_mean_and_number():
    points = [(float(x), 2.0 * x) for x in range(1001)]
    thin = thinned(points, most=100)
    assert len(thin) == 100
    assert sum(y for _, y in thin) / 100 == 2 * sum(x for x, _ in thin) / 100
    assert thinned(points[:5], most=5) == points[:5]
