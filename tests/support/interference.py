"""What happens to a process at its n-th change of a storage folder, by an audit hook. Set by environment variables.

`INTERFERE_AT` is n, counted from 1; `INTERFERE_BY` the signal it sends itself just before the change; with n = 0 the
changes are only written down, to `INTERFERE_LOG`.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any

FOLDER = "backups"
_CHANGES = {"os.link", "os.rename", "os.remove", "os.mkdir"}


def install() -> None:
    at = int(os.environ["INTERFERE_AT"])
    by = int(os.environ["INTERFERE_BY"])
    log = os.open(os.environ["INTERFERE_LOG"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if not _changes_the_storage(event, arguments):
            return
        count += 1
        os.write(log, f"{event} {arguments[0]}\n".encode())
        if count == at:
            os.kill(os.getpid(), by)

    sys.addaudithook(hook)


def _changes_the_storage(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        path, _, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        return bool(writes) and FOLDER in str(path)
    return event in _CHANGES and any(FOLDER in str(argument) for argument in arguments[:2])


def limit_file_size() -> None:
    """A disk that is full after `FILE_SIZE_LIMIT` bytes of each file."""
    limit = int(os.environ["FILE_SIZE_LIMIT"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def environment(folder: Path, at: int, by: int) -> dict[str, str]:
    return {"INTERFERE_AT": str(at), "INTERFERE_BY": str(by), "INTERFERE_LOG": str(folder / ".changes")}
