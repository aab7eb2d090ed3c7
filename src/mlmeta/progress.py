"""How long work tells how far it has come, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")
CONNECTING = "connecting"
"""The phase before a server or database has answered."""

_OFTEN = 200
"""Records after which it is told how many there are."""


class Progress(Protocol):
    """Listens to work. Called from one thread only."""

    def phase(self, name: str) -> None:
        """A new part of the work begins, such as ``reading runs``; the one before is finished."""

    def expect(self, unit: str, total: int) -> None:
        """About `total` of `unit` (``runs``, ``models``, …) are to come in all; may be told again."""

    def advance(self, unit: str, amount: int = 1) -> None:
        """`amount` more of `unit` are done."""


class Silent:
    """Nobody listens."""

    def _ignore(self, *_: object, **__: object) -> None:
        pass

    phase = expect = advance = _ignore


def _one(_: object) -> int:
    return 1


def counted(items: Iterable[T], progress: Progress, unit: str, size: Callable[[T], int] = _one) -> Iterator[T]:
    """Items while they go by, each of them one of a unit, or as many as `size` says."""
    number = 0
    for item in items:
        number += size(item)
        if number >= _OFTEN:
            progress.advance(unit, number)
            number = 0
        yield item
    progress.advance(unit, number)
