"""The file that the page becomes."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from mlmeta.errors import UsageError

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
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            os.fchmod(file.fileno(), _MODE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if force:
            temporary.replace(path)
        else:
            _take_name(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _take_name(temporary: Path, path: Path) -> None:
    """Give a file a name that must be free.

    Raises:
        UsageError: somebody took it meanwhile.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise _taken(path) from None
    except OSError:  # no hard links here: claim the name first, then put the file over the empty one
        try:
            with path.open("xb"):
                temporary.replace(path)
        except FileExistsError:
            raise _taken(path) from None
