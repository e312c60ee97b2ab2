"""What the check of a scenario's data found, as text and as JSON takes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..tables import format_table
from .file_checks import Finding


@dataclass
class DatasetReport:
    """What a scenario's data hold.

    Attributes:
        datasets: Per split (``train``, ``val``, ``test``): images, segments, crowds, sizes, and
            images, segments and pixels of each class. A class in a label map is one segment.
        steps: Per step: the same of what training sees there, its classes without an image, and
            ``memory``: the same of the images of earlier steps, or None without a memory.
        findings: Faults, at which training would stop or have nothing to learn a class from, and
            warnings.
        same_names: Number of file names that occur in training and in evaluation.
    """

    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    same_names: int = 0

    @property
    def faults(self) -> list[Finding]:
        """Findings at which training would stop, or have nothing to learn a class from."""
        return [finding for finding in self.findings if finding.is_fault]

    @property
    def warnings(self) -> list[Finding]:
        """Findings that training does not notice."""
        return [finding for finding in self.findings if not finding.is_fault]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON takes it."""
        return {
            'can_train': not self.faults,
            'datasets': self.datasets,
            'steps': self.steps,
            'same_names': self.same_names,
            'faults': [asdict(finding) for finding in self.faults],
            'warnings': [asdict(finding) for finding in self.warnings],
        }

    def add(self, kind: str, file: str, message: object, *, is_fault: bool = True) -> None:
        """Add a finding that is not about a segment."""
        self.findings.append(Finding(kind, file, str(message), is_fault=is_fault))


def format_report(report: DatasetReport, *, limit: int = 5) -> str:
    """Return a report as text: tables of steps and sets, then what was found, by kind.

    Args:
        report: The report.
        limit: How many findings of a kind to list.
    """
    lines = []
    for step in report.steps:
        title = f'step {step["step"]} ({step["setting"]})'
        lines += [_headline(title, step), _class_table(step['classes']), '']
        if step.get('memory'):
            lines += [_headline(f'step {step["step"]}, from memory', step['memory'])]
            lines += [_class_table(step['memory']['classes']), ''] if step['step'] else ['']
    for split, counts in report.datasets.items():
        lines.append(_headline(f'{split}, whole set' if split == 'train' else split, counts))
        if split != 'train':
            lines += [_class_table(counts['classes']), '']
    if report.same_names:
        lines.append(f'note: {report.same_names} file names occur in training and in evaluation')
    for kind, findings in (('fault', report.faults), ('warning', report.warnings)):
        lines += _format_findings(kind, findings, limit)
    return '\n'.join([*lines, '', _verdict(report)])


def _verdict(report: DatasetReport) -> str:
    faults, warnings = len(report.faults), len(report.warnings)
    found = f'{faults} fault{"s"[faults == 1 :]}, {warnings} warning{"s"[warnings == 1 :]}'
    return f'{found}: training {"cannot" if faults else "can"} start'


def _headline(title: str, counts: Mapping[str, Any]) -> str:
    line = f'{title}: {counts["images"]} images, {counts["segments"]} segments'
    if counts['crowds']:
        line += f', {counts["crowds"]} crowds'
    if counts['smallest_size']:
        sizes = dict.fromkeys('x'.join(map(str, counts[f'{end}_size'])) for end in _ENDS)
        line += f', {" to ".join(sizes)} pixels'
    return line


_ENDS = ('smallest', 'largest')


def _class_table(classes: Mapping[str, Mapping[str, int]]) -> str:
    columns = ['images', 'segments', 'pixels', 'crowds']
    rows = [[name, *(str(counts[key]) for key in columns)] for name, counts in classes.items()]
    return format_table(['class', *columns], rows)


def _format_findings(word: str, findings: Sequence[Finding], limit: int) -> Iterator[str]:
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_kind[finding.kind].append(finding)
    for kind, members in by_kind.items():
        yield f'{word}: {kind}: {len(members)}'
        for finding in members[:limit]:
            segment = '' if finding.segment is None else f', segment {finding.segment}'
            where = '' if finding.file in finding.message else finding.file
            place = f'{where}{segment}'.strip(', ')
            yield f'  {place}: {finding.message}' if place else f'  {finding.message}'
        if len(members) > limit:
            yield f'  ... and {len(members) - limit} more; --json FILE writes them all'
