"""Other guards of the same store are looked after beside everything else, in a thread that nobody waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol

_MOST = 60.0
"""Seconds between two looks, at most."""
_LEAST = 1.0
_REST = 4.0
"""How often the last look lies between two of them at least, up to `_MOST`."""


@dataclass(frozen=True)
class Attended:
    """What came of a look at other guards of the store.

    Args:
        texts: what there is to say.
        problems: what a person should know.
    """

    texts: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Others(Protocol):
    """Looks after other guards of the store: those that came before, and those that take over. Used in a thread."""

    @property
    def epoch(self) -> int:
        """The number of this guard; 0: it has none yet."""

    @property
    def superseded(self) -> bool:
        """Whether a later guard has taken over."""

    def attend(self, *, ready: bool) -> Attended:
        """Look at them once, and bring in what is missing in the store, which may take long.

        Args:
            ready: whether the store may be written to, as the child does its work.
        """

    def stop(self) -> None:
        """Have `attend` come to an end soon. From any thread."""


class Attendance:
    """Has others looked after, now and then.

    Args:
        others: looks after them.
        every: seconds between two looks, where that is no more than a minute.
        wake: called when there is something to take.
    """

    def __init__(self, others: Others, every: float, wake: Callable[[object], None]) -> None:
        self._others = others
        self._every = min(max(every, _LEAST), _MOST)
        self._wake = wake
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mlmeta-others")
        self._look: Future[Attended] | None = None
        self._began = self._next = time.monotonic()
        self._pause = _LEAST

    def turn(self, *, ready: bool) -> None:
        """Have the next look begin, if it is time, and the last one has been taken.

        Args:
            ready: see `Others.attend`.
        """
        now = time.monotonic()
        if self._look is None and now >= self._next:
            self._began, self._pause = now, self._every if ready else _LEAST
            self._look = self._thread.submit(self._others.attend, ready=ready)
            self._look.add_done_callback(self._wake)

    @property
    def is_busy(self) -> bool:
        """Whether a look is under way."""
        return self._look is not None and not self._look.done()

    def taken(self) -> Future[Attended] | None:
        """A look that has ended; None: there is none."""
        look, now = self._look, time.monotonic()
        if look is None or not look.done():
            return None
        self._look = None
        self._next = max(self._began + self._pause, now + min(_REST * (now - self._began), _MOST))
        return look

    def stop(self) -> None:
        """Have no look begin any more, and the one that is under way end soon."""
        self._others.stop()
        self._thread.shutdown(wait=False)

    def wait(self, seconds: float) -> None:
        """Wait for that, for some time."""
        wait([self._look] if self._look is not None else [], seconds)
