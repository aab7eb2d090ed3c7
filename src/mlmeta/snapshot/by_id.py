"""Records of a snapshot by their ids, or the beginnings of these, as a person writes them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Generic

from mlmeta.errors import UnknownRecordError, UsageError
from mlmeta.redaction import cut
from mlmeta.schema import RUNS, TRACES, Kind
from mlmeta.schema.kind import R

_NAMED = 5
_NAME = 40
"""Characters of a record's name that an error shows."""
_ALIKE = 3
"""Characters at the beginning of an id that are enough for it to be named as one that may be meant."""
_WRITTEN = {RUNS.name: "runs:/"}
"""What MLflow writes before an id where it names a record."""
_PREFIX = {TRACES.name: "tr-"}
"""What all ids of a kind begin with, and nobody has to write."""
_LISTED = {
    RUNS.name: "`mlmeta show {} --experiment NAME` lists the runs of an experiment",
    TRACES.name: "`mlmeta show {} --traces` lists its traces",
}


@dataclass
class _Wanted(Generic[R]):
    """A record that is wanted.

    Args:
        written: as the person wrote it.
        text: its id, or the beginning of it.
        whole: the same, with what all ids of the kind begin with.
        exact: the records of that very id.
        found: those that it may be, at most a few.
        count: how many there are.
        named: the ids of those that are called so, at most a few.
        near: those whose ids begin as the text does, each with the length of that, and with its name.
    """

    written: str
    text: str
    whole: str
    exact: dict[str, R] = field(default_factory=dict)
    found: list[R] = field(default_factory=list)
    count: int = 0
    named: list[tuple[str, str]] = field(default_factory=list)
    near: list[tuple[int, str, str]] = field(default_factory=list)

    def look_at(self, record: R, own: str, name: str) -> None:
        """Compare a record of that id and name."""
        alike = _ALIKE + len(self.whole) - len(self.text)
        if own.startswith((self.text, self.whole)):
            self.count += 1
            if own in {self.text, self.whole}:
                self.exact[own] = record
            if len(self.found) < _NAMED:
                self.found.append(record)
        elif name == self.text and len(self.named) < _NAMED:
            self.named.append((own, name))
        elif own[:alike] == self.whole[:alike]:
            same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(own, self.whole, strict=False)))
            keep = heapq.heappush if len(self.near) < _NAMED else heapq.heappushpop
            keep(self.near, (same, own, name))


class ById(Generic[R]):
    """Looks for records of a kind in one pass over all of them.

    Args:
        timestamp: of the snapshot, for errors.
        kind: of the records.
        texts: ids, or beginnings of ids that no other record has, as a person wrote them: of runs also ``runs:/ID``, of
            traces also without ``tr-``.
    """

    def __init__(self, timestamp: str, kind: Kind[R], texts: Sequence[str]) -> None:
        self._timestamp = timestamp
        self._kind = kind
        prefix = _PREFIX.get(kind.name, "")
        self._wanted: list[_Wanted[R]] = []
        for written in texts:
            text = written.removeprefix(_WRITTEN.get(kind.name, "")).strip("/")
            self._wanted.append(_Wanted(written, text, text if text.startswith(prefix) else prefix + text))

    def look_at(self, record: R) -> None:
        """Compare a record of the snapshot; to be called for all of them."""
        own, name = self._kind.key(record), self._kind.title(record)
        for one in self._wanted:
            one.look_at(record, own, name)

    def found(self) -> Iterator[R]:
        """The records, in the order of the texts.

        Raises:
            UnknownRecordError: there is none of that id.
            UsageError: there are several.
        """
        for one in self._wanted:
            if not one.text:
                raise UsageError(f"the id of a {self._kind.one} is empty", hint="give its id, or the beginning of it")
            if exact := one.exact.get(one.text, one.exact.get(one.whole)):
                yield exact
            elif one.count == 1:
                yield one.found[0]
            elif one.count:
                begin = f"{one.count:,} {self._kind.many} of snapshot {self._timestamp} begin with {one.text!r}"
                known = [(self._kind.key(record), self._kind.title(record)) for record in one.found]
                raise UsageError(f"{begin}: {_listed(known, one.count)}", hint="write more of the id")
            else:
                message = f"snapshot {self._timestamp} has no {self._kind.one} {one.text!r}"
                raise UnknownRecordError(message, hint=self._hint(one), wanted=one.written)

    def _hint(self, wanted: _Wanted[R]) -> str:
        if wanted.named:
            return f"that is the name of {_listed(wanted.named, len(wanted.named))}: give the id"
        if near := [(own, name) for _, own, name in sorted(wanted.near, reverse=True)]:
            return f"nearest are: {_listed(near, len(near))}"
        return _LISTED.get(self._kind.name, "").format(self._timestamp)


def one_of(records: Iterable[R], timestamp: str, kind: Kind[R], text: str) -> R:
    """The record of an id, or of the beginning of one; see `ById`.

    Args:
        records: all of the kind.
        timestamp: of the snapshot.
        kind: of the records.
        text: as a person wrote it.

    Raises:
        UnknownRecordError: there is none.
        UsageError: there are several.
    """
    looked = ById(timestamp, kind, (text,))
    for record in records:
        looked.look_at(record)
    (found,) = looked.found()
    return found


def _listed(known: Sequence[tuple[str, Any]], count: int) -> str:
    named = [f"{own} ({cut(name, _NAME)})" if name else own for own, name in known[:_NAMED]]
    return ", ".join(named) + (", …" if count > len(named) else "")
