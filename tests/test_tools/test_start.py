"""Tools that need no model start without the libraries that take seconds to import."""

import json

import downloads
from pythons import run_python
from runs import TOOLS

from mmcomformer.evaluation.summary import new_summary, write_summary
from mmcomformer.scenario import Scenario

SLOW = ('torch', 'mmcv', 'mmdet', 'mmseg')
# what benchmarks share is no command
SHARED = ('measuring.py', 'stepping.py')
HELP = [path for path in sorted(TOOLS.rglob('*.py')) if path.name not in SHARED]
# runs each command line in this one process and prints its exit code, and what was slow in it
RUN = f"""
import contextlib, io, json, os, runpy, sys
outcomes = {{}}
for name, (script, *arguments) in json.loads(os.environ['COMMANDS']).items():
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(script)
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            runpy.run_path(script, run_name='__main__')
            code = 0
        except SystemExit as error:
            code = error.code or 0
    slow = [module for module in {SLOW!r} if module in sys.modules]
    outcomes[name] = [code, slow, output.getvalue()]
print(json.dumps(outcomes))
"""


def run_all(commands, monkeypatch):
    words = {name: [str(TOOLS / script), *map(str, rest)] for name, (script, *rest) in commands}
    monkeypatch.setenv('COMMANDS', json.dumps(words))
    done = run_python(RUN)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_help_is_fast(monkeypatch):
    commands = [(str(path.relative_to(TOOLS)), (path, '--help')) for path in HELP]
    for name, (code, slow, output) in run_all(commands, monkeypatch).items():
        assert (code, slow) == (0, []), f'{name}: {output}'
        assert output.startswith('usage: '), name


def test_tools_without_a_model_are_fast(tmp_path, monkeypatch):
    run = tmp_path / 'run'
    scenario = Scenario([1, 1], ['cat'], ['sky'])
    write_summary(run / 'summary.json', new_summary(scenario, config='toy', method='M'))
    instances = downloads.Instances(tmp_path / 'own')
    instances.add(7, 1, downloads.box(1, 1, 4, 4))
    instances.write()
    converters = 'dataset_converters'
    one = ('--workers', 1)
    commands = [
        ('report', ('report.py', run)),
        ('shapes', ('make_shapes.py', '--out', tmp_path / 'shapes', '--train', 2, '--val', 1)),
        ('ade', (f'{converters}/ade20k.py', downloads.write_ade(tmp_path), *one)),
        (
            'cityscapes',
            (f'{converters}/cityscapes_panoptic.py', downloads.write_cityscapes(tmp_path), *one),
        ),
        ('coco', (f'{converters}/coco_panoptic.py', downloads.write_coco(tmp_path), *one)),
        ('voc', (f'{converters}/voc_semantic.py', downloads.write_voc(tmp_path), *one)),
        (
            'instances',
            (
                f'{converters}/coco_instances.py',
                instances.json,
                instances.root / 'images',
                tmp_path / 'panoptic.json',
                *one,
            ),
        ),
    ]
    for name, (code, slow, output) in run_all(commands, monkeypatch).items():
        assert (code, slow) == (0, []), f'{name}: {output}'
