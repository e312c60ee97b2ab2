"""The pretrained weights that a training begins with, got before it starts."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from mmengine.config import Config


def fetch_pretrained(cfg: Config) -> None:
    """Get the pretrained weights of a model, unless they are there.

    mmengine gets them when the model is initialised, in the middle of building a training, and
    what fails there does not say what to do.

    Args:
        cfg: The config of a step that starts without a checkpoint.

    Raises:
        FileNotFoundError: If a file of weights does not exist.
        RuntimeError: If an address cannot be reached; the message names it, and the file that
            takes its place.
    """
    for key, source in pretrained_of(cfg.model.to_dict(), 'model'):
        if source.startswith(('http://', 'https://')):
            _fetch(key, source)
        elif '://' not in source and not Path(source).expanduser().is_file():
            raise FileNotFoundError(
                f'{key}: {source} does not exist; pass the path of a file of weights, or None to '
                f'start without'
            )


def pretrained_of(node: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield the dotted key and the source of all pretrained weights in a model's config."""
    if isinstance(node, Mapping):
        source = node.get('checkpoint')
        if node.get('type') == 'Pretrained' and isinstance(source, str):
            yield f'{key}.checkpoint', source
        if isinstance(node.get('pretrained'), str):
            yield f'{key}.pretrained', node['pretrained']
        for name, value in node.items():
            yield from pretrained_of(value, f'{key}.{name}')
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from pretrained_of(value, f'{key}[{index}]')


def _fetch(key: str, url: str) -> None:
    # where torch, and with it mmengine, looks for it
    path = Path(torch.hub.get_dir()) / 'checkpoints' / os.path.basename(urlparse(url).path)
    if path.is_file():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=False)
    except (URLError, OSError, http.client.HTTPException) as error:
        reason = getattr(error, 'reason', None) or error
        raise RuntimeError(
            f'{key}: {url} cannot be fetched ({reason}); get it on another machine and put it '
            f'into {path}, or start without pretrained weights: --cfg-options '
            f'{key.rsplit(".", 1)[0]}=None'
        ) from error
