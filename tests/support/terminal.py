"""Commands on a terminal of their own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

from tests.support.cli import PATIENCE


def on_terminal(folder: Path, *arguments: str, answer: str = "", columns: int = 200) -> tuple[int, str]:
    """Run a command on a terminal of its own, of so many columns; type the answer when it asks."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    for name in ("NO_COLOR", "COLUMNS"):
        environment.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-m", "mlmeta", *arguments],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + PATIENCE
    with contextlib.suppress(OSError):  # how a terminal says that the other side is gone
        while block := os.read(ours, 65536):
            seen += block
            if answer and b"Go ahead?" in seen:
                os.write(ours, f"{answer}\n".encode())
                answer = ""
            assert time.monotonic() < deadline, seen
    os.close(ours)
    return process.wait(timeout=PATIENCE), seen.decode(errors="replace")
