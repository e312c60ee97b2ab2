"""Killed runs end as an undisturbed one, bit by bit."""

import re
import sys

import pytest
import runs
from runs import CONFIGS, TOOLS

pytestmark = [pytest.mark.slow, pytest.mark.families]

TOOL = TOOLS / 'misc' / 'kill_campaign.py'
# each ends the process that went on from the one before
FIVE_KILLS = [
    'iteration of step0:4',
    'rename step0/.iter_4.pth',
    'rename .summary.json',
    'evaluation of step1:2',
    'step of step2',
]


def campaign(folder, root, config, *arguments, check=True):
    """Run the tool on a config with few iterations; return the exit code and the output."""
    leaf = folder / config
    # each backend formats the whole config, and this one alone writes what is compared
    leaf.write_text(
        f'_base_ = {str(CONFIGS / config)!r}\n'
        "visualizer = dict(vis_backends=[dict(type='LocalVisBackend')])\n"
    )
    options = [*runs.shapes_options(root, iters=4, interval=2), 'default_hooks.logger.interval=1']
    command = [sys.executable, TOOL, leaf, '--work-dir', folder / 'runs', *arguments]
    result = runs.run([*command, '--cfg-options', *options], cwd=folder, check=check)
    return result.returncode, result.stdout


def check_table(output, kills):
    row, last = output.splitlines()[-2:]
    assert last == f'{len(kills)} kills of 1 runs: 0 runs differ []'
    number, places, result = (cell.strip() for cell in row.split('|')[2:5])
    assert (int(number), result) == (len(kills), 'identical')
    for place, kill in zip(places.split('; '), kills, strict=True):
        assert place.startswith(kill.split(':')[0])


def test_five_kills(shapes_root, tmp_path):
    _, output = campaign(tmp_path, shapes_root, 'comformer_shapes_6-3.py', '--at', *FIVE_KILLS)
    check_table(output, FIVE_KILLS)
    # all three steps were trained to the end, and what is equal is removed
    counted = re.search(r"'iteration': (\d+), 'evaluation': (\d+), 'step': (\d+)", output)
    assert tuple(map(int, counted.groups())) == (12, 12, 3)
    assert sorted(path.name for path in (tmp_path / 'runs').iterdir()) == [
        'killed1.rank0.log',
        'undisturbed',
        'undisturbed.rank0.log',
    ]


def test_two_processes(shapes_root, tmp_path):
    kills = ['iteration of step0:4', 'write step0/.iter_4.pth']
    config = 'joint_shapes_semantic_6-3.py'
    _, output = campaign(tmp_path, shapes_root, config, '--processes', '2', '--at', *kills)
    check_table(output, kills)
    assert (tmp_path / 'runs' / 'undisturbed.rank1.log').exists()


def test_folder_that_exists(tmp_path):
    command = [sys.executable, TOOL, 'config.py', '--work-dir', tmp_path]
    result = runs.run(command, cwd=tmp_path, check=False)
    assert result.returncode == 1
    assert f'error: --work-dir {tmp_path}: expected a new folder' in result.stdout
