"""Runs as trainings leave them, made up; and a reader of their pages."""

import json
from html.parser import HTMLParser

import numpy as np

from mmcomformer.evaluation.summary import merge_step, new_summary, write_summary
from mmcomformer.palette import distinct_palette
from mmcomformer.report.collected import (
    Evaluation,
    KeptPicture,
    PseudoLabelQuality,
    write_evaluation,
    write_pseudo_labels,
)
from mmcomformer.scenario import Scenario
from mmcomformer.tasks import task_named


def make_run(
    folder,
    increments=(2, 1, 1),
    *,
    names=None,
    task='panoptic',
    method='CoMFormer',
    config='toy',
    seed=0,
    size=(24, 32),
    images=2,
    steps=None,
    pseudo=True,
    logs=0,
):
    """Write a run and return its summary.

    Args:
        folder: Its folder.
        increments: Classes per step.
        names: Names of the classes, in learning order.
        steps: How many steps were evaluated; all by default.
        images: Validation images that are kept.
        logs: Lines that each step has logged.
    """
    names = names or [f'class{index}' for index in range(sum(increments))]
    scenario = Scenario(list(increments), names, [])
    summary = new_summary(scenario, config=config, method=method, task=task)
    write_summary(folder / 'summary.json', summary)
    for step in range(len(increments) if steps is None else steps):
        at_step = scenario.at_step(step)
        entry = make_entry(at_step, task, seed=seed)
        summary = merge_step(summary, entry)
        write_summary(folder / 'summary.json', summary)
        keep(folder / f'step{step}', at_step, entry, size=size, images=images, pseudo=pseudo)
        write_log(folder / f'step{step}' / 'time' / 'vis_data', logs)
    return summary


def make_entry(scenario, task='panoptic', *, seed=0):
    measures = task_named(task).measures
    random = np.random.default_rng([seed, scenario.step])
    per_class = {
        name: {measure: float(random.uniform(0, 100)) for measure in measures}
        for name in scenario.seen_classes
    }
    values = {'base': 100 * random.random(), 'new': None, 'all': 100 * random.random()}
    if scenario.step:
        values['new'] = 100 * random.random()
    return {
        'step': scenario.step,
        'classes': list(scenario.current_classes),
        'train_images': 12 + scenario.step,
        'train_iters': 40,
        'seconds': 61.5,
        'seed': seed,
        'metrics': dict.fromkeys(measures, values),
        'per_class': per_class,
        'seconds_per_iter': 0.125,
        'parameters': 5_000_000,
        'trainable_parameters': 4_000_000,
        'machine': {
            'device': 'CPU, toy',
            'versions': {'torch': '2.9'},
            'peak_memory_mb': 321,
            'peak_memory_of': 'process',
        },
    }


def keep(folder, scenario, entry, *, size=(24, 32), images=10, pseudo=True):
    """Write what the evaluation, and the start of the step, leave in its folder."""
    count = scenario.num_classes
    # the same images at every step
    random = np.random.default_rng(0)
    pictures = [make_picture(random, f'val/{i}.jpg', size, count, scenario) for i in range(images)]
    confusion = random.integers(0, 1000, (count + 1, count + 1))
    segments = {
        name: {kind: int(random.integers(90)) for kind in ('matched', 'missed', 'wrong')}
        for name in scenario.seen_classes
    }
    classes, palette = scenario.classes, distinct_palette(None, count)
    evaluation = Evaluation(classes, palette, entry['per_class'], confusion, segments, pictures)
    write_evaluation(folder, evaluation)
    if pseudo and scenario.step:
        quality = {
            name: {'precision': 90.5, 'recall': 70.25, 'PQ': None} for name in scenario.old_classes
        }
        kept = [
            KeptPicture(p.name, p.jpeg, dict.fromkeys(('shown', 'pseudo', 'hidden'), truth))
            for p in pictures[:4]
            for truth in [p.maps['truth']]
        ]
        write_pseudo_labels(folder, PseudoLabelQuality(classes, palette, quality, 12, kept))


def make_picture(random, name, size, count, scenario):
    """Return a picture of stripes, each of a class; what is not taught yet is not predicted."""
    truth = np.full(size, -1)
    for position, label in enumerate(random.integers(0, count, 6).tolist()):
        truth[:, position * size[1] // 6 : (position + 1) * size[1] // 6] = label + 1000 * position
    truth[:3] = -1
    seen = list(scenario.seen_labels)
    prediction = np.where(np.isin(truth % 1000, seen), truth, -1)
    image = random.integers(0, 255, (*size, 3), dtype=np.uint8)
    return KeptPicture.of(name, image, {'truth': truth, 'prediction': prediction})


def write_log(folder, lines, *, first=10, every=10):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / 'scalars.json', 'w', encoding='utf-8') as file:
        for index in range(lines):
            iteration = first + every * index
            line = {
                'lr': 1e-3,
                'time': 0.5,
                'grad_norm': 3.0,
                'loss': 6.0,
                'loss_cls': 1.0,
                'd0.loss_cls': 2.0,
                'd1.loss_cls': 3.0,
                'iter': iteration,
                'step': iteration,
            }
            file.write(json.dumps(line) + '\n')
        file.write(json.dumps({'continual/PQ': 30.0, 'step': iteration if lines else 0}) + '\n')


class Page(HTMLParser):
    """Texts of the cells of each section's tables, all texts, and addresses."""

    VOID = ('meta', 'link', 'img', 'br')

    def __init__(self, text):
        super().__init__()
        self.section = None
        self.sections, self.rows, self.texts, self.addresses = [], [], [], []
        self.open = []
        self.feed(text)
        assert self.open == [], 'elements that are not closed'

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        attrs = dict(attrs)
        self.addresses += [attrs[key] for key in ('src', 'href', 'xlink:href') if key in attrs]
        if tag == 'h2':
            self.sections.append(attrs['id'])
        if tag == 'tr':
            self.rows.append((self.sections[-1], []))
        if tag in ('td', 'th'):
            self.rows[-1][1].append('')

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if 'style' in self.open or 'svg' in self.open:
            return
        if self.open and self.open[-1] in ('td', 'th'):
            self.rows[-1][1][-1] += data
        self.texts.append(data)

    def table(self, section):
        return [cells for where, cells in self.rows if where == section]

    @property
    def text(self):
        return ' '.join(' '.join(self.texts).split())
