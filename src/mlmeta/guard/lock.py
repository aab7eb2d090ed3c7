"""One guard for a file on a machine: a lock that goes with its process, however it ends.

The lock's file also keeps what the next guard of the same file has to know.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlmeta.errors import UsageError

SUFFIX = "-guard"
"""Of the file that holds the lock, beside the guarded one. It stays: whoever removed it might remove another's."""
_MOST = 64 << 10
"""Bytes of a note that are read."""
_PATIENCE = 3.0
"""Seconds in which a guard that was killed may leave: a restore that it had begun is taken back first."""
_TAKEN = {errno.EAGAIN, errno.EACCES}
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class Lock:
    """The lock of a file.

    Args:
        path: of the file.
        descriptor: of the lock's own file.
        is_held: whether there can be locks at all.
    """

    def __init__(self, path: Path, descriptor: int, *, is_held: bool) -> None:
        self._path = path
        self._descriptor = descriptor
        self.is_held = is_held

    def note(self) -> dict[str, Any]:
        """What the last guard of this very file left; nothing, where it is another file by now."""
        try:
            found = json.loads(os.pread(self._descriptor, _MOST, 0))
            return found["note"] if isinstance(found["note"], dict) and found["of"] == self._identity() else {}
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return {}

    def leave(self, note: dict[str, Any]) -> None:
        """Leave something for the next guard of the file, beside what is noted there under other keys."""
        with contextlib.suppress(OSError):  # as where nothing was left
            text = json.dumps({"of": self._identity(), "note": {**self.note(), **note}}).encode()
            before = os.fstat(self._descriptor).st_size
            os.pwrite(self._descriptor, text.ljust(before), 0)  # one write, which no kill can cut in two

    def _identity(self) -> list[int]:
        status = self._path.stat()
        return [status.st_dev, status.st_ino]


def note_of(path: Path) -> dict[str, Any]:
    """What the last guard of a file left, be it that it still runs; nothing, where there was none.

    Args:
        path: of the file.
    """
    place = path.resolve()
    try:
        descriptor = os.open(place.with_name(place.name + SUFFIX), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return {}
    try:
        return Lock(place, descriptor, is_held=False).note()
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def only_guard_of(path: Path) -> Iterator[Lock]:
    """Be the only guard of a file for as long as a block lasts.

    Args:
        path: of the file, which need not exist; its folder does.

    Yields:
        The lock.

    Raises:
        UsageError: another guard has it.
        OSError: the file of the lock can't be made.
    """
    place = path.resolve()
    lock = os.open(place.with_name(place.name + SUFFIX), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield Lock(place, lock, is_held=_locked(lock, place))
    finally:
        os.close(lock)


def _locked(lock: int, place: Path) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return False
            if error.errno not in _TAKEN:
                raise
            if time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            raise UsageError(
                f"another guard has {place} already", hint="end that one first: two would restore and save side by side"
            ) from error
        return True
