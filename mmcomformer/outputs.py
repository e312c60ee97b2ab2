"""What the tools may write: never over an input, and only over files that they wrote themselves.

What was written is remembered in a file beside it, :data:`RECORD`, which ``sha256sum --check``
reads too. A file counts as written by these tools as long as it has the content that they gave it,
so that a file which its user has edited since is the user's.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from .atomic import replaced_file

RECORD = '.mmcomformer_written'
"""Name of the file that remembers what was written into its folder."""
PNG_CHUNK = b'coMF'
"""Type of the chunk of a PNG that holds how it was made: ancillary, private, not to be copied."""
_OVERWRITE = 'choose another name, or let it be replaced (--overwrite)'
_DRIVE = re.compile(r'[A-Za-z]:')


def check_name(name: object, where: str) -> str:
    """Return the name of a file below a folder, after checking that it cannot leave the folder.

    Args:
        name: What a file says; ``/`` separates folders.
        where: Where it says so, for the message.

    Raises:
        ValueError: If it is empty, no string, absolute, has a drive letter or a backslash, or
            leads to a parent folder.

    Example:
        >>> check_name('cam1/a.png', 'images')
        'cam1/a.png'
    """
    expected = 'the name of a file below the folder, such as a.png or cam1/a.png'
    if not isinstance(name, str):
        raise ValueError(f'{where}: expected {expected}, got {name!r} ({type(name).__name__})')
    reason = _leaves_folder(name)
    if reason:
        raise ValueError(f'{where}: expected {expected}, got {name!r}, {reason}')
    return name


_SUSPECT = re.compile(r'\\|\.\.|\0|/$|^[/~]|^[A-Za-z]:|^\.?$', re.MULTILINE)
"""What a name that is refused has, and few others."""


def check_names(names: Sequence[str], where: Callable[[int], str]) -> None:
    """Check names as :func:`check_name` does, in a hundredth of its time where all are right.

    Args:
        names: What a file says.
        where: Returns where it says the name at a position.

    Raises:
        ValueError: If one leads out of its folder.
    """
    text = '\n'.join(names)
    if _SUSPECT.search(text) or text.count('\n') >= len(names) or any(map(str.isspace, names)):
        for position, name in enumerate(names):
            check_name(name, where(position))


def _leaves_folder(name: str) -> str:
    """Return why a name is refused; empty if it is not."""
    if not name.strip() or name.endswith('/') or PurePosixPath(name).name in ('', '.'):
        return 'which names no file'
    if '\0' in name or '\n' in name:
        return 'which has a control character'
    if '\\' in name:
        return 'which has a backslash; write / between folders'
    if name.startswith(('/', '~')):
        return 'which is not relative'
    if _DRIVE.match(name):
        return 'which has a drive letter'
    if '..' in name.split('/'):
        return 'which leads to a parent folder'
    return ''


def check_outputs(
    paths: Iterable[str | Path],
    *,
    inputs: Iterable[str | Path] = (),
    folder: str | Path | None = None,
    overwrite: bool = False,
) -> None:
    """Check, before anything is written, that files may be written.

    Args:
        paths: The files to write.
        inputs: Files that are read; none of them is ever written.
        folder: The folder that all of them have to be in, links followed.
        overwrite: Whether files that are there, and were written by something else, are replaced.

    Raises:
        ValueError: If one is an input, a folder, or outside ``folder``.
        FileExistsError: If one is there and was not written by these tools.
    """
    targets = [Path(path) for path in paths]
    if folder is not None:
        _check_inside(targets, Path(folder))
    there = [path for path in targets if os.path.lexists(path)]
    read = _identities(inputs) if there else {}
    recorded = {parent: _recorded(parent) for parent in {path.parent for path in there}}
    foreign = []
    for path in there:
        if path.is_dir():
            raise ValueError(f'{path}: this is a folder; give the name of a file')
        source = read.get(identity) if (identity := _identity(path)) else None
        if source is not None:
            raise ValueError(
                f'{path}: it would be written over the input {source}; choose another place'
            )
        if not overwrite and not _is_ours(path, recorded[path.parent]):
            foreign.append(path)
    if foreign:
        more = f', and {len(foreign) - 1} more files' if len(foreign) > 1 else ''
        raise FileExistsError(
            f'{foreign[0]} exists, and was not written by this program or was changed '
            f'since{more}; nothing was written. {_OVERWRITE[0].upper()}{_OVERWRITE[1:]}'
        )


def _check_inside(paths: Iterable[Path], folder: Path) -> None:
    inside = folder.resolve()
    for parent in {path.parent for path in paths}:
        if not parent.resolve().is_relative_to(inside):
            raise ValueError(
                f'{parent}: it leads out of {folder}, the folder that is written to; nothing was '
                f'written'
            )


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Return what two names of a file share, whatever links or spelling lead to it."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _identities(paths: Iterable[str | Path]) -> dict[tuple[int, int], str | Path]:
    return {identity: path for path in paths if (identity := _identity(path)) is not None}


def check_apart(folder: Path, inputs: Iterable[Path], what: str) -> None:
    """Check that a folder to write to is not a folder of inputs.

    Raises:
        ValueError: If it is.
    """
    for path in inputs:
        same = path.resolve() == folder.resolve()
        if same or (folder.exists() and path.exists() and os.path.samefile(folder, path)):
            raise ValueError(
                f'{folder}: {what} would be written into this folder of inputs; choose another name'
            )


def written_here(path: str | Path) -> bool:
    """Tell whether a file has the content that one of these tools wrote."""
    return _is_ours(Path(path), _recorded(Path(path).parent))


def _is_ours(path: Path, recorded: Mapping[str, set[str]]) -> bool:
    try:
        if path.suffix == '.png' and _holds_record(path):
            return True
        hashes = recorded.get(path.name)
        return hashes is not None and _sha256(path) in hashes
    except OSError:
        return False


def _holds_record(path: Path) -> bool:
    """Tell whether a PNG has our chunk right after its header, which :mod:`.datasets.png` writes.

    It is found without reading the file, because a set has many.
    """
    with open(path, 'rb') as file:
        start = file.read(41)
    return start[37:] == PNG_CHUNK


@contextmanager
def output_file(path: str | Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path, as :func:`~.atomic.replaced_file` does, and remember the file.

    Raises:
        OSError: If it cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / 'a.txt'
        >>> with output_file(path) as temporary:
        ...     _ = temporary.write_text('new')
        >>> written_here(path)
        True
        >>> _ = path.write_text('edited')
        >>> written_here(path)
        False
    """
    with replaced_file(path, sync=sync) as temporary:
        yield temporary
        # remembered first: a kill in between must not leave a file that nobody may replace
        _remember(Path(path), _sha256(temporary))


def remember(path: str | Path) -> None:
    """Remember a file as written here.

    Raises:
        OSError: If it cannot be read, or its folder cannot be written.
    """
    _remember(Path(path), _sha256(Path(path)))


def _remember(path: Path, digest: str) -> None:
    # one short write at the end of the file: processes can share a folder
    with open(path.parent / RECORD, 'a', encoding='utf-8', errors='surrogateescape') as file:
        file.write(f'{digest}  {path.name}\n')


def _recorded(folder: Path) -> dict[str, set[str]]:
    """Return the hashes that each file of a folder was written with."""
    found: dict[str, set[str]] = {}
    try:
        content = (folder / RECORD).read_text(encoding='utf-8', errors='surrogateescape')
    except OSError:
        return found
    for line in content.splitlines():
        digest, _, name = line.partition('  ')
        found.setdefault(name, set()).add(digest)
    return found


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


_PICTURES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')
"""Extensions of the formats that every library here writes."""


def picture_path(out: str | os.PathLike[str], image: str | os.PathLike[str]) -> Path:
    """Return the file that a picture of an image is written to.

    Args:
        out: What a user asked for: a file, of which the extension may be missing, or a folder,
            which gets a PNG of the name of the image.
        image: Path of the image.

    Example:
        >>> str(picture_path('result', 'a.jpg')), str(picture_path('folder/', 'b/a.jpg'))
        ('result.png', 'folder/a.png')
    """
    path = Path(out)
    if os.fspath(out).endswith(('/', os.sep)) or path.is_dir():
        return path / f'{Path(image).stem}.png'
    return path if path.suffix.lower() in _PICTURES else path.with_name(f'{path.name}.png')


@contextmanager
def output_picture(path: Path) -> Iterator[Path]:
    """Yield a temporary path with the same extension; what is drawn there becomes the output.

    Raises:
        OSError: If nothing was drawn, or it cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / f'picture{path.suffix}'
        yield temporary
        with output_file(path, sync=False) as target:
            shutil.copyfile(temporary, target)
