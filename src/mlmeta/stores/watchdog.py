"""Ends a server, or removes a folder, when the process that asked for it is gone, however it went.

Run as ``python -m mlmeta.stores.watchdog FD server COMMAND…`` or ``… FD folder PATH``. `FD` is the reading end of a
pipe whose other end mlmeta holds: a byte in it, or its end, means that it is over.
Portable, where a parent-death signal is Linux's own and does not reach grandchildren: MLflow's server has workers.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

_GRACE = 5.0
"""Seconds that the server has to end by itself."""
_REMOVING = 15.0
"""Seconds in which somebody may still write into a folder that goes: longer than a server takes to end."""
_LOOK = 0.5
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def watch_server(fd: int, command: list[str]) -> None:
    """Run the command until it ends, or the pipe says so. It and its workers are in this process's group."""
    server = subprocess.Popen(command, preexec_fn=_default_signals)  # noqa: S603, PLW1509 - our words; one thread
    while server.poll() is None and not _is_over(fd, _LOOK):
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(0, signal.SIGTERM)  # which this process ignores
    deadline = time.monotonic() + _GRACE
    while server.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(0, signal.SIGKILL)  # what is left of it, and this process as the last of the group


def watch_folder(fd: int, folder: Path) -> None:
    """Remove a folder as soon as the pipe says so."""
    while not _is_over(fd, None):
        pass
    deadline = time.monotonic() + _REMOVING
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)


def _is_over(fd: int, patience: float | None) -> bool:
    return bool(select.select([fd], [], [], patience)[0])


def _default_signals() -> None:
    for number in _ENDING:
        signal.signal(number, signal.SIG_DFL)


def main(fd: str, what: str, *words: str) -> None:
    """Watch, as the command line says."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)  # a terminal sends them to everybody: the pipe decides
    if what == "server":
        watch_server(int(fd), list(words))
    else:
        watch_folder(int(fd), Path(words[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
