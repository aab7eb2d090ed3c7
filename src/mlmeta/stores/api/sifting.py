"""MLflow's entities → records in order, each once; what does not fit is named."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from mlmeta.schema import Record, Skipped
from mlmeta.stores.api.connection import Connection, unreadable

R = TypeVar("R", bound=Record)


@dataclass
class Sieve(Generic[R]):
    """Takes what a store gives of one kind, experiment after experiment, and lets through what a snapshot can take.

    Args:
        connection: to the store.
        kind: for what is named.
        convert: makes a record of an entity.
        key: a record's id.
        order: a record's place within its experiment.
    """

    connection: Connection
    kind: str
    convert: Callable[[Any], R]
    key: Callable[[R], str]
    order: Callable[[R], Any]
    _known: set[int] = field(default_factory=set)

    def sift(self, entities: Iterable[Any], experiment_id: str) -> Iterator[R | Skipped]:
        """The records of an experiment that come by time, in order.

        Servers break ties in their database's own way. And they page by offset: what appears in front of the page just
        read pushes others onto the next page a second time.

        Args:
            entities: as they come.
            experiment_id: whose they have to be.
        """
        last = None
        for _, ties in itertools.groupby(self._converted(entities, experiment_id), key=self._time):
            for item in sorted(ties, key=self._place):
                if isinstance(item, Skipped):
                    yield item
                    continue
                again = hash(self.key(item)) in self._known
                if last is not None and not last < self.order(item):
                    if not again:
                        yield self._named(item, "the server gave it out of order")
                elif again:
                    yield self._named(item, "the server gave it twice, in two places")
                else:
                    last = self.order(item)
                    self._known.add(hash(self.key(item)))
                    yield item

    def _converted(self, entities: Iterable[Any], experiment_id: str) -> Iterator[R | Skipped]:
        for entity in entities:
            try:
                record = self.convert(entity)
            except unreadable() as error:
                yield Skipped(kind=self.kind, id=_id_of(entity), reason=self.connection.reason(error))
                continue
            where = getattr(record, "experiment_id", experiment_id)
            if where == experiment_id:
                yield record
            else:
                yield self._named(record, f"the server gave it as one of experiment {experiment_id}, not {where}")

    def _time(self, item: R | Skipped) -> Any:
        return None if isinstance(item, Skipped) else self.order(item)[:-1]

    def _place(self, item: R | Skipped) -> Any:
        return () if isinstance(item, Skipped) else self.order(item)

    def _named(self, record: R, reason: str) -> Skipped:
        return Skipped(kind=self.kind, id=self.key(record), reason=reason)


def _id_of(entity: Any) -> str:
    info = getattr(entity, "info", entity)
    found = (getattr(info, name, None) for name in ("run_id", "model_id", "experiment_id", "name"))
    return str(next(filter(None, found), "without an id"))
