"""How long work tells how far it has come, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


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
