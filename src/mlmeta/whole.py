"""Files that appear as a whole, or not at all: made under a temporary name in the same folder, and then renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

_STALE = 3600
"""Seconds after which a file that is being made has no maker any more."""


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
            if left.stat().st_mtime < time.time() - _STALE:
                left.unlink()
