"""The order of records in a snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from operator import lt
from typing import Any

from mlmeta.errors import InternalError
from mlmeta.schema import KINDS, Kind, Line, Record, kind_of
from mlmeta.snapshot.reader import AnyLed, bare

_POSITIONS = {kind.name: position for position, kind in enumerate(KINDS.values())}


def place(item: Record | AnyLed) -> tuple[Any, ...]:
    """Where a record that follows no other stands among those of a store, kind after kind."""
    record = bare(item)
    kind = kind_of(record)
    return _POSITIONS[kind.name], kind.order(record)


class OrderGuard:
    """Checks that records come in the order that the format promises."""

    def __init__(self) -> None:
        self._last: dict[str, Any] = {}
        self._leaders: dict[str, Line] = {}
        self.repeated = 0
        """How much of what the last record counts was counted already, with the record that it follows."""

    def check(self, kind: Kind[Record], record: Line) -> None:
        """Take the next record.

        Args:
            kind: of the record.
            record: the next one.

        Raises:
            InternalError: it is out of order.
        """
        order = kind.order(record)
        if kind.follows is not None and kind.leader is not None:
            self._check_follower(kind, kind.follows, (kind.leader(record), order), record)
            return
        last = self._last.get(kind.name)
        if last is not None and not last < order:
            raise InternalError(f"{kind.many} came out of order: {order} after {last}")
        self._last[kind.name], self._leaders[kind.name] = order, record
        self.repeated = 0

    def follow(self, kind: Kind[Record], records: Sequence[Line]) -> bool:
        """Take all that follows the last record that leads others: whether it is in order; else nothing is taken.

        Args:
            kind: of the records; each is there once.
            records: at least one.
        """
        if kind.follows is None or kind.leader is None or kind.repeats is not None:
            return False
        leader, places = self._leaders.get(kind.follows.name), list(map(kind.order, records))
        is_led = leader is not None and {kind.follows.key(leader)} == set(map(kind.leader, records))
        before = self._last.get(kind.name)
        if not is_led or not all(map(lt, places, places[1:])):
            return False
        owner = kind.leader(records[0])
        if before is not None and before[0] == owner and not before[1] < places[0]:
            return False
        self._last[kind.name], self.repeated = (owner, places[-1]), 0
        return True

    def _check_follower(self, kind: Kind[Record], leads: Kind[Record], order: tuple[str, Any], record: Line) -> None:
        """Of a record that follows another, several may have the same key: a long history goes on in a further one."""
        leader, last = self._leaders.get(leads.name), self._last.get(kind.name, ("", None))
        is_next = last[0] != order[0] or last < order or (last == order and kind.repeats is not None)
        if leader is None or leads.key(leader) != order[0] or not is_next:
            raise InternalError(f"{kind.one} {kind.key(record)} came out of order")
        self.repeated = kind.repeats(leader, record) if kind.repeats is not None and order != last else 0
        self._last[kind.name] = order
