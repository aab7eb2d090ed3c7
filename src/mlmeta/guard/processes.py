"""Processes: who descends from whom, what Linux does for those who look after others, and work in one of its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import signal
import sys
import traceback
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mlmeta.errors import InternalError, MlmetaError

T = TypeVar("T")
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


def apart(work: Callable[[], T]) -> T:
    """The result of some work, done in a process that is forked for it: the memory that it takes goes with it.

    It ends with this process. To be called before there are threads, but for those that stand still while a process
    forks.

    Args:
        work: its result can be pickled.

    Raises:
        MlmetaError: as the work does; or the process was killed.
        OSError: likewise.
    """
    ends_with_parent = EndsWithParent()
    reading, writing = os.pipe()
    number = os.fork()
    if not number:
        ends_with_parent()
        os.close(reading)
        _work_apart(work, writing)
    os.close(writing)
    try:
        with open(reading, "rb") as answers:  # noqa: PTH123 - a pipe
            answer = answers.read()
    except BaseException:  # a signal, which the process has not got
        os.kill(number, signal.SIGTERM)
        raise
    finally:
        os.waitpid(number, 0)
    if not answer:
        raise InternalError("the process that was to restore the store was killed", hint="give it more memory")
    good, result = pickle.loads(answer)  # noqa: S301 - our own
    if not good:
        raise result
    return result  # type: ignore[no-any-return]


def _work_apart(work: Callable[[], T], writing: int) -> None:
    """Do it, and end the process, whatever comes."""
    code = 1
    try:
        try:
            answer = pickle.dumps((True, work()))
        except (MlmetaError, OSError, MemoryError) as error:
            error.__cause__ = error.__context__ = None
            answer = pickle.dumps((False, error))
        with open(writing, "wb") as stream:
            stream.write(answer)
        code = 0
    except Exception:  # noqa: BLE001 - the process ends here, and this is what is left of its error
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            os.close(writing)
        os._exit(code)
