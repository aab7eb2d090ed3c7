"""What is temporary: folders that go with their process, and files that are renamed when they are complete.

A process holds a lock (flock) on a file in each of its folders for as long as it lives, however it ends: a folder whose
lock is free is a leftover. A process number would not tell: it may be another process's by now, or another machine's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

PREFIX = "mlmeta-"
_SUFFIX = ".tmp"
_LOCK = ".in-use"
_UNLOCKED = ".new"
_STALE_FILE = 3600
"""Seconds after which a file that is being made has no maker any more."""


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


@contextlib.contextmanager
def made_beside(path: Path) -> Iterator[Path]:
    """A name for a file that is being made, in the folder of another one; what still has it at the end goes.

    Args:
        path: of the file that it may become.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(
    path: Path, content: bytes, *, mode: int | None = None, flushed: bool = True, replaces: bool = True
) -> bool:
    """Write a file; whoever reads it sees all of it, or what was there before. A link is replaced, not followed.

    Args:
        path: of the file; its folder exists.
        content: of the file.
        mode: of the file, whatever the umask is; None: as the umask has it.
        flushed: whether it is safely on disk before it has its name. Not for what is of no use after a crash.
        replaces: whether it may take the place of one that is there.

    Returns:
        Whether it was written; False: there is one, and it stays.

    Raises:
        OSError: it can't be written.
    """
    with made_beside(path) as temporary:
        with temporary.open("xb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(content)
            if flushed:
                file.flush()
                os.fsync(file.fileno())
        if not replaces:
            return take_name(temporary, path)
        temporary.replace(path)
    return True


def take_name(temporary: Path, path: Path) -> bool:
    """Give a file a name that must be free; False: it is not. The temporary name may stay, for its maker to remove.

    Raises:
        OSError: it can't be done.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # no hard links here: claim the name first, then put the file over the empty one
        try:
            path.open("xb").close()
        except FileExistsError:
            return False
        try:
            temporary.replace(path)
        except OSError:
            path.unlink(missing_ok=True)
            raise
    return True


def remove_half_made(path: Path) -> None:
    """Remove what processes that were killed left of making a file. What can't be removed stays.

    Args:
        path: of the file, which was `made_beside`.
    """
    for left in path.parent.glob(f".{path.name}.????????.tmp"):
        with contextlib.suppress(OSError):
            if left.stat().st_mtime < time.time() - _STALE_FILE:
                left.unlink()
