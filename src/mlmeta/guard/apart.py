"""Work in a process of its own, so that the memory that it took goes with it."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import traceback
from collections.abc import Callable
from typing import TypeVar

from mlmeta.errors import InternalError, MlmetaError
from mlmeta.guard.processes import EndsWithParent

T = TypeVar("T")


def apart(work: Callable[[], T]) -> T:
    """The result of some work, done in a process that is forked for it, and ends with this one.

    To be called before there are threads, but for those that stand still while a process forks.

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
        _work(work, writing)
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


def _work(work: Callable[[], T], writing: int) -> None:
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
