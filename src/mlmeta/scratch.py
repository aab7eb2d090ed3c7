"""Folders for temporary files that go with their process: at its end, or when the next one needs such a folder.

A process holds a lock (flock) on a file in each of its folders for as long as it lives, however it ends: a folder whose
lock is free is a leftover. A process number would not tell: it may be another process's by now, or another machine's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

PREFIX = "mlmeta-"
_SUFFIX = ".tmp"
_LOCK = ".in-use"
_UNLOCKED = ".new"


@contextlib.contextmanager
def scratch_folder(place: Path | None = None, prefix: str = PREFIX) -> Iterator[Path]:
    """A new folder, removed at the end. Leftovers in the same place are removed first.

    Args:
        place: the folder to make it in; None: the one for temporary files.
        prefix: of its name, and of the names of the leftovers.
    """
    place = place or Path(tempfile.gettempdir())
    remove_leftovers(place, prefix)
    folder = place / f"{prefix}{uuid.uuid4().hex}{_SUFFIX}"
    folder.mkdir(mode=0o700)
    try:
        with (folder / _UNLOCKED).open("xb") as lock:
            with contextlib.suppress(OSError):  # a file system without locks: what is left over stays
                fcntl.flock(lock, fcntl.LOCK_EX)
                (folder / _UNLOCKED).rename(folder / _LOCK)  # which nobody ever sees without the lock
            yield folder
    finally:
        _remove(folder)


def remove_leftovers(place: Path, prefix: str = PREFIX) -> None:
    """Remove our scratch folders whose processes are gone. What can't be removed stays.

    Args:
        place: where they are.
        prefix: of their names.
    """
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(place)):
            if entry.name.startswith(prefix) and entry.name.endswith(_SUFFIX) and entry.is_dir(follow_symlinks=False):
                _remove_if_left(Path(entry.path))


def _remove_if_left(folder: Path) -> None:
    with contextlib.suppress(OSError):  # another user's, gone meanwhile, or in use
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(folder)
        finally:
            os.close(lock)


def _remove(folder: Path) -> None:
    """Remove a folder, its lock last: who is killed meanwhile leaves a leftover."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.name != _LOCK:
                Path(entry.path).unlink()
    shutil.rmtree(folder, ignore_errors=True)
