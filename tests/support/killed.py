"""A script that is killed (SIGKILL) at its n-th write event: open for writing, link, rename, remove.

`python -m tests.support.killed N FOLDER WORDS…` does what the words say: `backup`, `prune`, `copy`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_EVENTS = {"os.link", "os.rename", "os.remove", "os.rmdir", "os.mkdir"}
FIRST = datetime(2025, 1, 1, tzinfo=timezone.utc)


def run(number: int, folder: Path, *words: str) -> int:
    """Run the script in a process of its own; the negative signal number where it was killed, else 0."""
    command = [sys.executable, "-m", "tests.support.killed", str(number), str(folder), *words]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def _arm(number: int, folder: str) -> None:
    """Count the write events below `folder`, and die at the n-th, before it happens."""
    left = number

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event == "open":
            path, mode, flags = arguments
            by_mode = isinstance(mode, str) and any(c in mode for c in "wax+")
            if not (by_mode or flags & (os.O_WRONLY | os.O_RDWR)):
                return
        elif event not in _EVENTS:
            return
        else:
            path = arguments[0]
        if str(path).startswith(folder):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _work(folder: str, day: int, *words: str) -> None:
    from mlmeta.commands.copy import copy
    from mlmeta.commands.prune import prune
    from mlmeta.snapshot.retention import Rules
    from mlmeta.storage import open_storage
    from tests.builders.snapshots import commit

    if words[0] == "backup":
        commit(open_storage(folder), at=FIRST + timedelta(days=day))
    elif words[0] == "prune":
        prune(folder, Rules(last=1))
    else:
        copy([], folder, words[1], missing=True)


def main() -> None:
    number, folder, *words = sys.argv[1:]
    watched = words[1] if words[0] == "copy" else folder
    day = int(words[1]) if words[0] == "backup" else 0
    import mlmeta.commands.copy
    import mlmeta.commands.prune  # noqa: F401 - no write of an import is counted

    _arm(int(number), watched)
    _work(folder, day, *words)


if __name__ == "__main__":
    main()
