"""One guard for a file on a machine: a lock that goes with its process, however it ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from mlmeta.errors import UsageError

SUFFIX = "-guard"
"""Of the file that holds the lock, beside the guarded one. It stays: whoever removed it might remove another's."""
_TAKEN = {errno.EAGAIN, errno.EACCES}
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


@contextlib.contextmanager
def only_guard_of(path: Path) -> Iterator[bool]:
    """Be the only guard of a file for as long as a block lasts.

    Args:
        path: of the file, which need not exist; its folder does.

    Yields:
        Whether there can be locks at all.

    Raises:
        UsageError: another guard has it.
        OSError: the file of the lock can't be made.
    """
    place = path.resolve()
    lock = os.open(place.with_name(place.name + SUFFIX), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield _locked(lock, place)
    finally:
        os.close(lock)


def _locked(lock: int, place: Path) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            raise UsageError(
                f"another guard has {place} already", hint="end that one first: two would restore and save side by side"
            ) from error
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True
