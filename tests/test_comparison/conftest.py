"""A comparison of tiny entries whose trainings are played by a script."""

import json
from pathlib import Path

import pytest

from mmcomformer.comparison.plan import Comparison, Entry
from mmcomformer.evaluation.summary import merge_step, new_summary
from mmcomformer.scenario import Scenario

SCENARIO = Scenario([2, 1], ['cat', 'dog'], ['sky'])

TRAIN = """
import json, os, sys, time
from pathlib import Path

args = sys.argv[1:]
step = int(args[args.index('--step') + 1])
run = Path(args[args.index('--work-dir') + 1])
method = Path(args[0]).stem
if os.environ.get('METHOD') != method:
    sys.exit('error: METHOD is another')
with open(run.parents[1] / 'trained.txt', 'a') as file:
    file.write(json.dumps(args) + chr(10))
if method == 'broken' and step:
    print('log line')
    sys.exit('error: it broke')
if method.startswith('own'):
    time.sleep(0.2)
known = json.loads(Path(__file__).with_name('entries.json').read_text())
folder = run / f'step{step}'
folder.mkdir(parents=True, exist_ok=True)
(folder / 'iter_5.pth').write_text('weights')
(folder / 'last_checkpoint').write_text(str(folder / 'iter_5.pth'))
(run / 'new.json').write_text(json.dumps(known[step]))
if method != 'silent':
    # as a whole: it is read meanwhile
    (run / 'new.json').rename(run / 'summary.json')
"""


def summary_at(step, *, base=60.0, new=40.0):
    """The summary of a run whose last step is this one."""
    summary = new_summary(SCENARIO, config='toy', method='Toy')
    for number in range(step + 1):
        value = {'base': base - 10 * number, 'new': new if number else None, 'all': base}
        names = SCENARIO.order[: 2 + number]
        entry = {
            'step': number,
            'classes': list(SCENARIO.at_step(number).current_classes),
            'train_images': 7 + number,
            'train_iters': 5,
            'seconds': 2.0,
            'seconds_per_iter': 0.4,
            'trainable_parameters': 1000 - number,
            'machine': {'peak_memory_mb': 300 + number, 'peak_memory_of': 'process'},
            'metrics': dict.fromkeys(('PQ', 'SQ', 'RQ'), value),
            'per_class': {name: dict.fromkeys(('PQ', 'SQ', 'RQ'), 50.0) for name in names},
        }
        summary = merge_step(summary, entry)
    return summary


@pytest.fixture
def train(tmp_path, monkeypatch):
    """A script in place of tools/train.py, looked at often."""
    monkeypatch.setattr('mmcomformer.comparison.jobs._LOOK', 0.02)
    path = tmp_path / 'train.py'
    path.write_text(TRAIN)
    (tmp_path / 'entries.json').write_text(json.dumps([summary_at(0), summary_at(1)]))
    return path


@pytest.fixture
def make(tmp_path):
    """Make a comparison of methods; the ones after a colon have a step 0 of their own."""

    def comparison(*methods, seeds=(0,), options=(), recipe='fair', **settings):
        entries = [
            Entry(
                method=method,
                config=Path(f'{method}.py'),
                scenario=SCENARIO,
                task='instance' if method.startswith('instance') else 'panoptic',
                iters=(5, 5),
                settings={'step 0': {'model': {'width': 8, **settings}}},
                first_step={'model': method if method.startswith('own') else 'shared'},
            )
            for method in methods
        ]
        return Comparison('toy_2-1', tmp_path / 'runs', entries, seeds, recipe, options)

    return comparison


@pytest.fixture
def trained(tmp_path):
    """Return the arguments of the trainings so far, without the interpreter."""

    def read():
        path = tmp_path / 'runs' / 'trained.txt'
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    return read


def shown(args):
    """Method, step and whether it has a teacher, of the arguments of a training."""
    return Path(args[0]).stem, int(args[args.index('--step') + 1]), '--teacher' in args
