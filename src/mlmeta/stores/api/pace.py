"""How many requests are under way at once: fewer while the server says that it is busy."""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from mlmeta.stores.api.bounded import retry_after

if TYPE_CHECKING:
    from requests import Response

BUSY = {429, 503}
"""Too many requests, and service unavailable: what servers and the proxies in front of them say when it is too much."""

RETRIED = (408, 500, 502, 504)
"""Statuses that the client tries again by itself; those of a busy server are `Pace`'s."""

PATIENCE = 120.0
"""Seconds for which one request is tried again."""
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 15.0
_CALM = 0.5
"""Seconds in which the number is halved only once: busy replies come in swarms."""


class Pace:
    """Halves the number of requests under way when the server is busy, and lets it grow again, by one for each round.

    The way TCP shares a line (additive increase, multiplicative decrease). What is pickled into another process is
    one there as well: all batches of a backup share it, process by process.

    Args:
        most: requests under way at once, at most.
        patience: seconds for which one request is tried again.
    """

    def __init__(self, most: int, patience: float = PATIENCE) -> None:
        self.most = most
        self.allowed = float(most)
        self._patience = patience
        self._under_way = 0
        self._slowed = 0.0
        self._turn = threading.Condition()
        self._id = uuid.uuid4().hex

    def __reduce__(self) -> tuple[Any, ...]:
        return _of_this_process, (self._id, self.most, self._patience)

    def ask(self, request: Callable[[], Response]) -> Response:
        """The reply to a request; the last one where the server stays busy.

        Args:
            request: sends it; called again after a busy reply, once its `Retry-After` or a growing pause has passed.
        """
        began = time.monotonic()
        for attempt in itertools.count():
            with self._place():
                response = request()
            if response.status_code not in BUSY:
                self._grow()
                return response
            self._shrink()
            pause = _pause(response, attempt)
            if time.monotonic() + pause - began > self._patience:
                return response
            time.sleep(pause)
        raise AssertionError  # the count has no end

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        with self._turn:
            self._turn.wait_for(lambda: self._under_way < max(1, int(self.allowed)))
            self._under_way += 1
        try:
            yield
        finally:
            with self._turn:
                self._under_way -= 1
                self._turn.notify()

    def _grow(self) -> None:
        with self._turn:
            self.allowed = min(self.most, self.allowed + 1 / self.allowed)
            self._turn.notify()

    def _shrink(self) -> None:
        with self._turn:
            if time.monotonic() - self._slowed > _CALM:
                self._slowed = time.monotonic()
                self.allowed = max(1.0, self.allowed / 2)


_lock = threading.Lock()


@functools.lru_cache(maxsize=16)
def _made(identifier: str, most: int, patience: float) -> Pace:
    pace = Pace(most, patience)
    pace._id = identifier
    return pace


def _of_this_process(identifier: str, most: int, patience: float) -> Pace:
    with _lock:
        return _made(identifier, most, patience)


def _pause(response: Response, attempt: int) -> float:
    """Seconds to wait: what the server says, or twice as long each time."""
    said = retry_after(response)
    return said if said is not None else min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)
