"""What a conversion or a check found, as text for its user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_SHOWN = 10
"""How many faults are listed; of notes, three examples."""


@dataclass
class Report:
    """What happened to one split.

    Args:
        title: Name of the split.
        num_images: Number of images that it has.
        full_count: Number of images of the split as published, if that is known.
        num_written: Files that were written.
        num_reused: Files that were there from an earlier call.
        faults: What keeps an image out, one line each.
        faulty: Names of the images that faults keep out.
        notes: By kind, what was decided: number of times in each image.
        left_out: Whether images with faults were left out on the user's demand.
        outputs: What was written, for the last line.
        shortfalls: Why the result is not what a user expects, whatever was left out on demand.
    """

    title: str
    num_images: int
    full_count: int | None = None
    num_written: int = 0
    num_reused: int = 0
    faults: list[str] = field(default_factory=list)
    faulty: list[str] = field(default_factory=list)
    notes: dict[str, dict[str, int]] = field(default_factory=dict)
    left_out: bool = False
    outputs: list[str] = field(default_factory=list)
    shortfalls: list[str] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """Whether a training can use the result."""
        return not self.shortfalls and (not self.faults or self.left_out)

    def add_notes(self, name: str, notes: Mapping[str, int]) -> None:
        """Add what was decided in one image."""
        for kind, count in notes.items():
            self.notes.setdefault(kind, {})[name] = count

    def lines(self) -> list[str]:
        """Return the report."""
        lines = [f'{self.title}: {self._counts()}']
        if self.full_count is not None and self.num_images != self.full_count:
            lines.append(
                f'  note: the set as published has {self.full_count} images here; if this is not '
                f'a part of it on purpose, the download is incomplete'
            )
        for kind, counts in sorted(self.notes.items()):
            examples = ', '.join(list(counts)[:3])
            more = ', ...' if len(counts) > 3 else ''
            lines.append(
                f'  {kind}: {sum(counts.values())} in {len(counts)} images ({examples}{more})'
            )
        if self.faults:
            fate = 'left out' if self.left_out else 'to correct'
            lines.append(f'  {len(self.faults)} faults, {fate}:')
            lines += [f'    {fault}' for fault in self.faults[:_SHOWN]]
            if len(self.faults) > _SHOWN:
                lines.append(f'    and {len(self.faults) - _SHOWN} more')
        lines += [f'  {output}' for output in self.outputs]
        return lines + [f'  nothing to train on: {reason}' for reason in self.shortfalls]

    def _counts(self) -> str:
        parts = [f'{self.num_images} images']
        if self.num_written:
            parts.append(f'{self.num_written} files written')
        if self.num_reused:
            parts.append(f'{self.num_reused} files were there')
        return ', '.join(parts)


def summary(reports: Iterable[Report]) -> str:
    """Return the lines of several reports, the last of which says whether all is well."""
    reports = list(reports)
    lines = [line for report in reports for line in report.lines()]
    if reports and all(report.usable for report in reports):
        missing = sum(len(report.faulty) for report in reports)
        lines.append(
            f'complete, without {missing} images that have faults' if missing else 'complete'
        )
    else:
        lines.append('not complete: correct the faults and run the command again')
    return '\n'.join(lines)
