"""Runs of an experiment through the API, in order and without gaps."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from functools import partial
from typing import Any

from mlmeta.schema import Run, Skipped, run_order
from mlmeta.stores.api import entities as convert
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.file_store import FileStore
from mlmeta.stores.api.histories import Asked, HistoryReader, groups
from mlmeta.stores.api.paging import Search, Sieve, pages_ahead
from mlmeta.stores.source import SourceItem

PAGE = 1000
_GROUPS_AHEAD = 3
_EXPERIMENTS_AHEAD = 4


class RunReader:
    """All runs of some experiments, deleted ones included, each followed by its metric histories.

    Args:
        connection: to the store.
        histories: reads those.
        executor: for the searches.
    """

    def __init__(self, connection: Connection, histories: HistoryReader, executor: Executor) -> None:
        self._connection = connection
        self._histories = histories
        self._executor = executor
        self._sieve = Sieve(connection, "run", convert.run, key=lambda run: run.run_id, order=run_order)

    def read(self, experiment_ids: Iterable[str]) -> Iterator[SourceItem]:
        """The runs, experiment after experiment.

        The first page of several experiments is asked for ahead: most are small, and waiting adds up.

        Raises:
            ConnectionFailedError: the server is gone.
        """
        begun: deque[Iterator[SourceItem]] = deque()
        for experiment_id in experiment_ids:
            begun.append(self._begin(experiment_id))
            if len(begun) > _EXPERIMENTS_AHEAD:
                yield from begun.popleft()
        while begun:
            yield from begun.popleft()

    def _begin(self, experiment_id: str) -> Iterator[SourceItem]:
        if self._connection.kind == "files":
            return self._with_histories(FileStore(self._connection).runs(experiment_id), [])
        search = Search(
            self._connection,
            ask=partial(_ask, self._connection, experiment_id),
            key=lambda entity: entity.info.run_id,
            lost=partial(_lost, experiment_id),
            size=PAGE,
        )
        found = pages_ahead(search, self._executor)
        entities = itertools.chain.from_iterable(page.items for page in found)
        return self._with_histories(self._sieve.sift(entities, experiment_id), search.skipped)

    def _with_histories(self, items: Iterable[Run | Skipped], skipped: list[Skipped]) -> Iterator[SourceItem]:
        waiting: deque[tuple[list[Run], Asked]] = deque()
        for group in groups(_runs(items, skipped), self._histories.points_to_read):
            waiting.append((group, self._histories.begin(group)))
            if len(waiting) > _GROUPS_AHEAD:
                yield from self._histories.finish(*waiting.popleft())
        while waiting:
            yield from self._histories.finish(*waiting.popleft())
        yield from skipped


def _runs(items: Iterable[Run | Skipped], skipped: list[Skipped]) -> Iterator[Run]:
    for item in items:
        if isinstance(item, Skipped):
            skipped.append(item)
        else:
            yield item


def _ask(connection: Connection, experiment_id: str, token: str | None, size: int) -> Any:
    from mlflow.entities import ViewType

    return connection.client.search_runs(
        [experiment_id],
        run_view_type=ViewType.ALL,
        max_results=size,
        order_by=["attributes.start_time ASC"],
        page_token=token,
    )


def _lost(experiment_id: str, number: int | None, reason: str) -> Skipped:
    place = "the rest" if number is None else f"run number {number}" if number else "all"
    return Skipped(kind="run", id=f"experiment {experiment_id}, {place}", reason=reason)
