"""A config's data: checked before training, and drawn as training sees them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mmengine.registry import init_default_scope

from ..datasets.check_report import DatasetReport
from ..datasets.checking import check_scenario
from ..outputs import output_file
from .request import Request, load_config
from .scenario_config import default_scope_of, scenario_of


def check_config(
    config: str, *, cfg_options: Mapping[str, Any] | None = None, workers: int | None = None
) -> DatasetReport:
    """Check the data of all steps of a config.

    Args:
        config: Path of the config.
        cfg_options: Settings that override the config's, by dotted key.
        workers: Number of processes that read files; None for one per core.

    Raises:
        FileNotFoundError: If there is no such config.
        TypeError: If it has no scenario.
        ValueError: If it contradicts itself.
    """
    request = Request(config=config, cfg_options=cfg_options or {})
    first = load_config(request, 0)
    init_default_scope(default_scope_of(first))
    num_steps = scenario_of(first).num_steps
    configs = [first, *(load_config(request, step) for step in range(1, num_steps))]
    evaluation = {'val': first.val_dataloader.dataset}
    if first.test_dataloader.dataset != first.val_dataloader.dataset:
        evaluation['test'] = first.test_dataloader.dataset
    return check_scenario(
        [cfg.train_dataloader.dataset for cfg in configs], evaluation, workers=workers
    )


def write_report(path: str, config: str, report: DatasetReport) -> None:
    """Write a report as JSON, whole or not at all.

    Raises:
        OSError: If the folder cannot be written.
    """
    text = json.dumps({'config': config, **report.to_dict()}, indent=2, ensure_ascii=False)
    with output_file(path) as temporary:
        temporary.write_text(f'{text}\n', encoding='utf-8')
