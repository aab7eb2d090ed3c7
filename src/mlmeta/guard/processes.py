"""Processes of this machine: who descends from whom, and what Linux does for those who look after others."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_PDEATHSIG = 1
_SUBREAPER = 36
_GONE = {"Z", "X"}


@dataclass(frozen=True)
class Process:
    """A process that has not ended.

    Args:
        number: its id.
        parent: the id of its parent.
        group: the id of its process group.
    """

    number: int
    parent: int
    group: int


def can_look() -> bool:
    """Whether processes can be listed here."""
    return (_PROC / "self" / "stat").exists()


def descendants(root: int) -> list[Process]:
    """All processes below one that have not ended, wherever they put themselves; none where they can't be listed."""
    children: dict[int, list[tuple[Process, str]]] = defaultdict(list)
    for process, state in _all():
        children[process.parent].append((process, state))
    found: list[Process] = []
    waiting = [root]
    while waiting:
        for process, state in children.pop(waiting.pop(), ()):
            waiting.append(process.number)
            if state not in _GONE:
                found.append(process)
    return found


def _all() -> list[tuple[Process, str]]:
    found = []
    names = [entry.name for entry in os.scandir(_PROC)] if can_look() else []
    for name in names:
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):  # gone meanwhile
            words = (_PROC / name / "stat").read_bytes().rpartition(b")")[2].split()
            found.append((Process(int(name), int(words[1]), int(words[2])), words[0].decode()))
    return found


def adopt_orphans() -> bool:
    """Become the parent of all descendants whose own parent ends; whether that is so now (Linux, or process 1)."""
    return os.getpid() == 1 or _prctl(_SUBREAPER, 1)


class EndsWithParent:
    """For a new process, before it becomes another program: it gets SIGTERM when its parent is gone.

    Everything is made ready in the parent: between fork and exec little may be done.
    """

    def __init__(self) -> None:
        self._prctl = _library()
        self._parent = os.getpid()

    def __call__(self) -> None:
        """Ask for the signal. The parent may have gone already."""
        asked = self._prctl is not None and self._prctl.prctl(_PDEATHSIG, signal.SIGTERM, 0, 0, 0) == 0
        if asked and os.getppid() != self._parent:
            os._exit(128 + signal.SIGTERM)


def _library() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None, use_errno=True)
    return library if hasattr(library, "prctl") else None


def _prctl(option: int, value: int) -> bool:
    library = _library()
    return library is not None and library.prctl(option, value, 0, 0, 0) == 0
