"""Whether a store has changed since it was last looked at: asked every second, for next to nothing."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Token:
    """What a store looks like from outside at a moment. Equal ones mean that nothing was written in between.

    Args:
        likely: moves when this store is written, at most `Watcher.lag` seconds later.
        exact: moves at once, though perhaps also when something else is written.
    """

    likely: Hashable
    exact: Hashable


NOTHING = Token("nothing", "nothing")
"""There is no store."""


class Watcher(Protocol):
    """Asks one store. Used from one thread at a time."""

    @property
    def lag(self) -> float:
        """Seconds by which `Token.likely` may be late."""

    def token(self) -> Token | None:
        """What the store looks like now; None: that can't be told, and it may have changed."""

    def close(self) -> None:
        """Let go of the store. It may be asked again afterwards."""


class Unwatched:
    """A store that can't be asked, such as a server: it may always have changed."""

    lag = 0.0

    def token(self) -> Token | None:
        """See `Watcher.token`."""
        return None

    def close(self) -> None:
        """See `Watcher.close`."""


class Several:
    """Several stores as one, such as a tracking database and another one for the model registry."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = watchers

    @property
    def lag(self) -> float:
        """See `Watcher.lag`."""
        return max((one.lag for one in self._watchers), default=0.0)

    def token(self) -> Token | None:
        """See `Watcher.token`."""
        tokens = [one.token() for one in self._watchers]
        known = [token for token in tokens if token is not None]
        if len(known) < len(tokens):
            return None
        return Token(tuple(token.likely for token in known), tuple(token.exact for token in known))

    def close(self) -> None:
        """See `Watcher.close`."""
        for one in self._watchers:
            one.close()
