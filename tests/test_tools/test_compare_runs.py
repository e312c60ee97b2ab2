"""A comparison from the command to the table: one config, its methods chosen by METHOD."""

import csv
import json
import sys

import pytest
import runs

from mmcomformer.engine.checkpoint import file_sha256, previous_checkpoint, read_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.families]


def test_one_config_for_two_methods(shapes_root, tmp_path):
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs' / 'comformer_small.py').write_text(
        "_base_ = 'mmcomformer::comformer_shapes_instances_6-2.py'\n"
    )
    options = [
        option
        for option in runs.shapes_options(shapes_root, iters=2)
        if not option.startswith('param_scheduler')
    ]
    command = [
        *(sys.executable, runs.TOOLS / 'compare.py', 'small', '--configs', tmp_path / 'configs'),
        *('--seeds', '3,', '--jobs', '2', '--work-dir', tmp_path / 'runs'),
    ]

    def compare(methods):
        arguments = [*command, '--methods', methods, '--cfg-options', *options]
        # that of the environment is of nobody
        return runs.run(arguments, cwd=tmp_path, env={'METHOD': 'plop'}).stdout

    first = compare('finetune,comformer')
    assert first.count('started ') == 3
    folder = tmp_path / 'runs'
    rows = json.loads((folder / 'results.json').read_text())['methods']
    assert [(row['name'], row['seeds'], row['iters']) for row in rows] == [
        ('fine-tuning', [3], [2, 2]),
        ('CoMFormer', [3], [2, 2]),
    ]
    # the first step is that of the other method
    teacher = previous_checkpoint(folder / 'finetune' / 'seed3' / 'step0')
    student = previous_checkpoint(folder / 'comformer' / 'seed3' / 'step1')
    digest = read_checkpoint(student)['meta']['continual']['teacher']['sha256']
    assert digest == file_sha256(teacher)
    assert 'distillation' in (folder / 'comformer' / 'seed3' / 'step1.log').read_text()
    assert 'distillation' not in (folder / 'finetune' / 'seed3' / 'step1.log').read_text()
    assert (folder / 'comparison.html').is_file()

    # nothing is trained again, and the table keeps the row that was not asked for
    again = compare('comformer')
    assert 'started' not in again
    with open(folder / 'results.csv', newline='') as file:
        assert {line['method'] for line in csv.DictReader(file)} == {'finetune', 'comformer'}
