"""Logged models through the API. Servers and clients before MLflow 3 have none; deleted ones are not shown."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from functools import partial
from typing import Any

from mlmeta.parallel import ordered_map
from mlmeta.schema import LOGGED_MODELS, LoggedModel, Run, Skipped
from mlmeta.stores.api import entities as convert
from mlmeta.stores.api.connection import Connection, release, unreadable
from mlmeta.stores.api.file_store import FileStore
from mlmeta.stores.api.paging import Search, Sieve

_PAGE = 100
_EXPERIMENTS_PER_CALL = 100
_ORDER = [{"field_name": "creation_timestamp", "ascending": True}]
_UNKNOWN = {404, 501}
"""What a server says that does not have this part of the API."""
_OF_RUN = "run's logged models"
_RUNS_AHEAD = 16
"""Runs that are asked for at once."""
_FIRST, _LATER = (3, 0), (3, 10)
"""The first versions of MLflow with logged models, and those that surely show them in a search."""

Completing = Callable[[Iterable[Run | Skipped]], Iterator[Run | Skipped]]


def read(connection: Connection, experiment_ids: list[str]) -> Iterator[LoggedModel | Skipped]:
    """All logged models of some experiments, in a snapshot's order.

    Args:
        connection: to the store.
        experiment_ids: in a snapshot's order. Most have no such model: many are asked about at once.
    """
    if connection.kind == "files":
        yield from itertools.chain.from_iterable(map(FileStore(connection).logged_models, experiment_ids))
        return
    sieve = Sieve(connection, LOGGED_MODELS, LOGGED_MODELS.many, convert.logged_model)
    for some in _batches(experiment_ids):
        if _has_any(connection, some):
            for experiment_id in some:
                search = _search(connection, experiment_id)
                yield from sieve.sift(search, experiment_id)
                yield from search.skipped


def are_there(connection: Connection, experiment_ids: list[str]) -> bool:
    """Whether a server has any logged model in some experiments."""
    return any(_has_any(connection, some) for some in _batches(experiment_ids))


def _batches(ids: list[str]) -> Iterator[list[str]]:
    return (ids[start : start + _EXPERIMENTS_PER_CALL] for start in range(0, len(ids), _EXPERIMENTS_PER_CALL))


def _has_any(connection: Connection, experiment_ids: list[str]) -> bool:
    """Whether any of these experiments has a logged model. Where nobody knows the kind, none has."""
    if not hasattr(connection.client, "search_logged_models"):  # a client before 3
        return False
    try:
        found = connection.client.search_logged_models(experiment_ids=experiment_ids, max_results=1)
    except NotImplementedError:  # a store that MLflow has no more use for
        return False
    except unreadable() as error:
        connection.failed(error)
        return _status(error) not in _UNKNOWN  # asking for each will tell what else is wrong
    return len(found) > 0


def _status(error: Exception) -> int | None:
    from mlflow.exceptions import MlflowException

    return error.get_http_status_code() if isinstance(error, MlflowException) else None


def _search(connection: Connection, experiment_id: str) -> Search:
    return Search(
        connection,
        LOGGED_MODELS.many,
        ask=partial(page, connection, experiment_id),
        key=lambda entity: entity.model_id,
        lost=lambda place: f"of experiment {experiment_id}, {place}".removesuffix(", all"),
        size=_PAGE,
    )


def page(connection: Connection, experiment_id: str, token: str | None = None, size: int = _PAGE) -> Any:
    """A page of the logged models of an experiment."""
    return connection.client.search_logged_models(
        experiment_ids=[experiment_id], max_results=size, order_by=_ORDER, page_token=token
    )


def completing(connection: Connection, threads: Executor, experiment_ids: list[str]) -> Completing:
    """What makes the runs of a search whole; nothing is asked where the search shows all there is.

    Servers of MLflow 3.0 to 3.9 leave the logged models that runs made and used out of a search for runs
    (`_get_model_outputs_bulk` of MLflow's SQLAlchemy store came later), and show them where one is asked for by its id.

    Args:
        connection: to the store.
        threads: ask for several runs at once.
        experiment_ids: of the experiments that are read.
    """
    if _hides_models(connection) and are_there(connection, experiment_ids):
        return partial(_completed, connection, threads)
    return iter


def _hides_models(connection: Connection) -> bool:
    version = release(connection.server_version())
    return version is not None and _FIRST <= version < _LATER


def _completed(connection: Connection, threads: Executor, items: Iterable[Run | Skipped]) -> Iterator[Run | Skipped]:
    for found in ordered_map(threads, partial(_with_models, connection), items, _RUNS_AHEAD):
        yield from found


def _with_models(connection: Connection, item: Run | Skipped) -> tuple[Run | Skipped, ...]:
    """A run with its logged models, or as it is and why they can't be read."""
    if isinstance(item, Skipped):
        return (item,)
    ask: Callable[[], dict[str, Any]] = partial(_models_of_run, connection, item.run_id)
    models = connection.read_or_skip(_OF_RUN, item.run_id, ask, asks=True)
    return (item, models) if isinstance(models, Skipped) else (item.model_copy(update=models),)


def _models_of_run(connection: Connection, run_id: str) -> dict[str, Any]:
    entity = connection.tracking.get_run(run_id)
    return {"model_inputs": convert.model_inputs(entity), "model_outputs": convert.model_outputs(entity)}
