"""What is odd in a store, such as a date where MLflow has a number: SQLite takes anything, and people mend by hand.

A field that can be saved as MLflow means it is saved so, with a notice. One that can't is left out and named, and so is
a record that says nothing without it. One odd row costs no other.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mlmeta.redaction import cut
from mlmeta.schema import Skipped

R = TypeVar("R", bound=BaseModel)

MOST = 20
"""Oddities of one kind, or rows without a parent, that are named one by one; of more, the number is told."""

INT64 = 2**63

_ONE = {"tags": "tag", "params": "param", "metrics": "latest metric", "aliases": "alias"}


class Oddities:
    """Collects what a read meets. Threads may share one."""

    def __init__(self) -> None:
        self._lost: dict[str, _Named] = defaultdict(_Named)
        self._changed: dict[str, _Named] = defaultdict(_Named)

    def lost(self, kind: str, name: str, what: str) -> None:
        """Something is not saved, or not as it was.

        Args:
            kind: of the record, as `Skipped` has it.
            name: its id or name.
            what: a clause without a full stop.
        """
        self._lost[kind].add(name, what)

    def changed(self, kind: str, name: str, what: str) -> None:
        """Something is saved in another form, which says the same to MLflow; as `lost`."""
        self._changed[kind].add(name, what)

    def one_of(self, kind: str, name: str, field: str, value: Any, known: Mapping[Any, str], otherwise: str) -> str:
        """What a record has for a value that MLflow knows, or another in its place.

        Args:
            kind: see `lost`.
            name: see `lost`.
            field: that it is of.
            value: what the database has.
            known: what MLflow knows, each with what a record has for it.
            otherwise: stands for anything else: MLflow's own default.
        """
        if value in known:
            return known[value]
        self.lost(kind, name, f"its {field} is {shown(value)}, which MLflow does not know; saved as {otherwise}")
        return otherwise

    def validated(
        self,
        record: type[R],
        values: dict[str, Any],
        kind: str,
        name: str,
        otherwise: Mapping[str, Any] = MappingProxyType({}),
    ) -> R | None:
        """A record of some values, without those that are invalid. None where it is meaningless without them.

        Args:
            record: its class.
            values: of its fields; maps and tuples in them may be changed.
            kind: see `lost`.
            name: see `lost`.
            otherwise: what stands for required fields whose value is invalid.
        """
        try:
            return self._whole(record.model_validate(values), values, kind, name)
        except ValidationError as error:
            self._mend(values, error.errors(include_url=False), kind, name, otherwise)
        try:
            return self._whole(record.model_validate({**otherwise, **values}), values, kind, name)
        except ValidationError:
            self.lost(kind, name, "it is meaningless without that, and was not saved")
            return None

    def _whole(self, record: R, values: dict[str, Any], kind: str, name: str) -> R:
        """The record. SQLite takes a text and a blob of the same letters for two keys; in a record they are one."""
        for field, value in values.items():
            kept = getattr(record, field, None) if isinstance(value, dict) else None
            if isinstance(kept, dict) and (lost := len(value) - len(kept)):
                self.lost(
                    kind,
                    name,
                    f"{lost} of its {field}: a key is there both as text and as a blob; one of them was saved",
                )
        return record

    def _mend(
        self,
        values: dict[str, Any],
        errors: Sequence[Mapping[str, Any]],
        kind: str,
        name: str,
        otherwise: Mapping[str, Any],
    ) -> None:
        """Put fields right where that can be done, and take the others out."""
        invalid: dict[str, list[Any]] = {}
        for error in errors:
            place, value = error["loc"], error["input"]
            number = whole_number(value) if error["type"] == "int_from_float" else None
            if number is not None:
                _put(values, place, number)
                self.changed(kind, name, f"{_path(place)} {value!r} was saved as {number}")
            else:
                invalid.setdefault(place[0], []).append(value if place[-1] == "[key]" else [*place[1:2]])
                instead = otherwise.get(place[0]) if len(place) == 1 else None
                outcome = "was not saved" if instead is None else f"was saved as {instead!r}"
                self.lost(kind, name, f"{_path(place)} is {shown(value)}, and {outcome}")
        for field, parts in invalid.items():
            _take_out(values, field, parts)

    def notices(self) -> tuple[str, ...]:
        """What is saved in another form, for people."""
        return tuple(f"{kind} {name}: {what}" for kind, name, what in _listed(self._changed))

    def skipped(self) -> Iterator[Skipped]:
        """What is not saved."""
        return (Skipped(kind=kind, id=name, reason=what) for kind, name, what in _listed(self._lost))


class _Named:
    """Oddities of one kind: the first `MOST` by name, and how many there are."""

    def __init__(self) -> None:
        self.count = 0
        self._items: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def add(self, name: str, what: str) -> None:
        with self._lock:
            self.count += 1
            self._items.append((name, what))
            if len(self._items) > 10 * MOST:
                self._items = self.first()

    def first(self) -> list[tuple[str, str]]:
        return sorted(self._items)[:MOST]


def _listed(found: dict[str, _Named]) -> Iterator[tuple[str, str, str]]:
    for kind, named in sorted(found.items()):
        for name, what in named.first():
            yield kind, name, what
        if named.count > MOST:
            yield kind, "*", f"{named.count - MOST:,} more oddities of this kind"


def _put(values: Any, place: tuple[Any, ...], number: int) -> None:
    """Set a value in maps within maps or tuples."""
    *outer, last = place
    for step in outer:
        values = values[step]
    values[last] = number


def _take_out(values: dict[str, Any], field: str, parts: list[Any]) -> None:
    """Remove a field, or parts of it: entries of a map by key, items of a tuple by number."""
    whole = values.pop(field)
    if isinstance(whole, dict):
        values[field] = {key: value for key, value in whole.items() if [decoded(key)] not in parts and key not in parts}
    elif isinstance(whole, tuple):
        values[field] = tuple(value for number, value in enumerate(whole) if [number] not in parts)


def _path(place: tuple[Any, ...]) -> str:
    """A field for people: ``its end_time``, ``its tag 'team'``."""
    field, *inner = (part for part in place if isinstance(part, str))
    if inner[-1:] == ["[key]"]:
        return f"the name of one of its {field}"
    if not inner:
        return f"its {field}"
    key, *rest = inner
    return " ".join((f"its {_ONE.get(field, field)} {key!r}", *rest))


def whole_number(value: Any) -> int | None:
    """A number without its fraction; None where it is not one, or too big for any database's integers."""
    if not isinstance(value, int | float) or not math.isfinite(value) or not -INT64 <= value < INT64:
        return None
    return int(value)


def decoded(value: Any) -> Any:
    """Bytes as the text they are, as MLflow's protobuf messages take them; anything else as it is."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value


def shown(value: Any) -> str:
    """An odd value for a message."""
    if value is None:
        return "NULL"
    text = repr(value) if is_text(value) or not isinstance(value, bytes) else f"{decoded(value)!r} (not UTF-8)"
    return cut(text, 60)


def is_text(value: Any) -> bool:
    """Whether a value is text, or bytes that are."""
    try:
        return isinstance(value, str) or (isinstance(value, bytes) and value.decode() is not None)
    except UnicodeDecodeError:
        return False
