"""Ends a server when the process that asked for it is gone, however it went.

Run as ``python -m mlmeta.tracking.watchdog FD FOLDER COMMAND…``. `FD` is the reading end of a pipe whose other end
mlmeta holds: a byte in it means "end the server", its end means that mlmeta died, and then the folder goes as well.
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

_GRACE = 5.0
"""Seconds that the server has to end by itself."""
_LOOK = 0.5


def main(fd: int, folder: str, command: list[str]) -> None:
    """Run the command in a process group of its own until it ends, or the pipe says so."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal sends them to everybody: the pipe decides
    server = subprocess.Popen(  # noqa: S603 - mlmeta's own words
        command,
        start_new_session=True,
        preexec_fn=_default_signals,  # noqa: PLW1509 - this process has one thread
    )
    died = False
    while server.poll() is None:
        readable, _, _ = select.select([fd], [], [], _LOOK)
        if readable:
            died = not os.read(fd, 1)
            break
    _end(server)
    if died:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(server.returncode or 0)


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server and its workers, which are in its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        while server.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
