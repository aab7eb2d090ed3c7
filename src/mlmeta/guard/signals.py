"""Signals and other news for a loop that waits for them: one pipe wakes it, whatever comes first."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from types import FrameType

_MANY = 4096


class News:
    """What wakes a loop.

    Args:
        reading: end of a pipe.
        writing: its other end; neither of the two blocks.
    """

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = reading
        self._writing = writing
        self._signals: deque[int] = deque()

    def heard(self, number: int, _frame: FrameType | None) -> None:
        """A signal arrived; the pipe has been told of it already."""
        self._signals.append(number)

    def wake(self, *_: object) -> None:
        """Wake the loop, from any thread."""
        with contextlib.suppress(BlockingIOError):  # it is full: the loop wakes anyway
            os.write(self._writing, b"\0")

    def wait(self, seconds: float) -> list[int]:
        """Wait for news, or for some seconds; the signals that arrived, in their order."""
        if select.select([self._reading], [], [], max(0.0, seconds))[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(self._reading, _MANY)
        found = []
        while self._signals:
            found.append(self._signals.popleft())
        return found


@contextlib.contextmanager
def listening(numbers: Sequence[int]) -> Iterator[News]:
    """Hear these signals, and of children that end, for as long as a block lasts; but not those that are ignored.

    Shells ignore some for jobs in the background, and so does `nohup`. To be used in the main thread.
    """
    reading, writing = os.pipe()  # never closed: a thread that was left behind may still write
    for end in (reading, writing):
        os.set_blocking(end, False)
    news = News(reading, writing)
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, news.heard) for number in (*heard, signal.SIGCHLD)}
    woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield news
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
