"""The file that the page becomes."""

from __future__ import annotations

import os
from pathlib import Path

from mlmeta.errors import UsageError
from mlmeta.whole import write_whole

_MODE = 0o600


def check(path: Path, *, force: bool) -> None:
    """See that a file can be written, before there is work.

    Args:
        path: of the file.
        force: whether it may take the place of one that is there.

    Raises:
        UsageError: it can't.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint=f"name a file, such as {path / 'report.html'}")
    if path.exists() and not path.is_file():  # /dev/null would be gone
        raise UsageError(f"{path} is not a regular file", hint="name another one, or write to stdout with --output -")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", hint="make it first, or choose another one")
    if not force and os.path.lexists(path):
        raise _taken(path)


def _taken(path: Path) -> UsageError:
    return UsageError(
        f"{path} is there already", hint="choose another name with --output, or overwrite it with --force"
    )


def write(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file that appears as a whole, or not at all; readable by its owner only.

    Args:
        path: of the file; its folder exists.
        content: of the file.
        force: take the place of one that is there.

    Raises:
        UsageError: there is one, and it stays.
        OSError: it can't be written.
    """
    if force and path.is_symlink():
        path = path.resolve()
    if not write_whole(path, content, mode=_MODE, replaces=force):
        raise _taken(path)
