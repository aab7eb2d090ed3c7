"""Runs of an experiment through the API, in order and without gaps."""

from __future__ import annotations

import base64
import itertools
import json
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from typing import Any

from mlmeta.exporter.api import convert
from mlmeta.exporter.api.histories import Asked, HistoryReader, groups
from mlmeta.exporter.api.paging import pages_ahead
from mlmeta.exporter.source import Item
from mlmeta.schema import Run, Skipped, run_order
from mlmeta.tracking.connection import Connection

PAGE = 1000
_GROUPS_AHEAD = 3
_EXPERIMENTS_AHEAD = 4


def read_runs(
    connection: Connection, experiment_ids: Iterable[str], histories: HistoryReader, executor: Executor
) -> Iterator[Item]:
    """All runs of some experiments, deleted ones included, each followed by its metric histories.

    The first page of several experiments is asked for ahead: most are small, and waiting adds up.

    Raises:
        ConnectionFailedError: the server is gone.
    """
    begun: deque[Iterator[Item]] = deque()
    for experiment_id in experiment_ids:
        begun.append(_begin(connection, experiment_id, histories, executor))
        if len(begun) > _EXPERIMENTS_AHEAD:
            yield from begun.popleft()
    while begun:
        yield from begun.popleft()


def _begin(connection: Connection, experiment_id: str, histories: HistoryReader, executor: Executor) -> Iterator[Item]:
    skipped: list[Skipped] = []
    found = pages_ahead(RunSearch(connection, experiment_id, skipped), executor)
    return _runs_of(found, histories, skipped)


def _runs_of(found: Iterator[Any], histories: HistoryReader, skipped: list[Skipped]) -> Iterator[Item]:
    entities = itertools.chain.from_iterable(found)
    waiting: deque[tuple[list[Run], Asked]] = deque()
    for group in groups(in_order(convert.run(entity) for entity in entities), histories.points_to_read):
        waiting.append((group, histories.begin(group)))
        if len(waiting) > _GROUPS_AHEAD:
            yield from histories.finish(*waiting.popleft())
    while waiting:
        yield from histories.finish(*waiting.popleft())
    yield from skipped


def in_order(runs: Iterable[Run]) -> Iterator[Run]:
    """Runs that come by start time, in the order of `run_order`, each once.

    The server breaks ties in its database's own way. And it pages by offset: runs that appear in front of the
    page just read push others onto the next page a second time.
    """
    last = None
    for _, ties in itertools.groupby(runs, key=lambda run: run.start_time):
        for run in sorted(ties, key=run_order):
            if last is None or run_order(run) > last:
                last = run_order(run)
                yield run


class RunSearch:
    """One page of an experiment's runs; a page that can't be read is narrowed down to the runs that can't.

    Args:
        connection: to the store.
        experiment_id: whose runs.
        skipped: takes the runs that can't be read.
    """

    def __init__(self, connection: Connection, experiment_id: str, skipped: list[Skipped]) -> None:
        self._connection = connection
        self._experiment_id = experiment_id
        self._skipped = skipped

    def __call__(self, token: str | None) -> Any:
        """The page at `token` (None: the first), as an MLflow `PagedList`."""
        from mlflow.exceptions import MlflowException

        size = PAGE
        while True:
            try:
                return self._search(token, size)
            except MlflowException as error:
                self._connection.check()  # gone altogether? then this raises
                if size > 1:
                    size = max(1, size // 10)
                    continue
                token = self._step_over(token, self._connection.reason(error))
                if token is None:
                    return self._nothing()
                size = PAGE

    def _search(self, token: str | None, size: int) -> Any:
        from mlflow.entities import ViewType

        return self._connection.client.search_runs(
            [self._experiment_id],
            run_view_type=ViewType.ALL,
            max_results=size,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )

    def _step_over(self, token: str | None, reason: str) -> str | None:
        """The token behind a run that can't be read; None where tokens are no offsets, so that nothing can follow."""
        offset = _offset(token)
        place = f"experiment {self._experiment_id}, run number {offset + 1}" if offset is not None else "the rest"
        self._skipped.append(Skipped(kind="run", id=place, reason=reason))
        if offset is None:
            return None
        return base64.b64encode(json.dumps({"offset": offset + 1}).encode()).decode()

    @staticmethod
    def _nothing() -> Any:
        from mlflow.store.entities import PagedList

        return PagedList([], None)


def _offset(token: str | None) -> int | None:
    """The offset that MLflow's own stores put into a page token (`SearchUtils.create_page_token`)."""
    if token is None:
        return 0
    try:
        offset = json.loads(base64.b64decode(token))["offset"]
    except (ValueError, KeyError, TypeError):
        return None
    return int(offset)
