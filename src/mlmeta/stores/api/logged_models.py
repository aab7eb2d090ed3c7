"""Logged models through the API. Servers and clients before MLflow 3 have none; deleted ones are not shown."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import Any

from mlmeta.parallel import ordered_map
from mlmeta.schema import LOGGED_MODELS, LoggedModel, Skipped
from mlmeta.schema.runs import RUN_MODELS, inputs_in_order, outputs_in_order
from mlmeta.stores.api import entities as convert
from mlmeta.stores.api.connection import Connection, release, unreadable
from mlmeta.stores.api.file_store import FileStore
from mlmeta.stores.api.histories import RunToRead
from mlmeta.stores.api.paging import Search, Sieve

_PAGE = 100
_EXPERIMENTS_PER_CALL = 100
_ORDER = [{"field_name": "creation_timestamp", "ascending": True}]
_UNKNOWN = {404, 501}
"""What a server says that does not have this part of the API."""
_RUNS_AHEAD = 16
"""Runs that are asked for at once."""
_FIRST = (3, 0)
"""The first version of MLflow with logged models."""

Models = dict[str, Any]
"""The fields of a run that name logged models."""

Completing = Callable[[Iterable[RunToRead], list[Skipped]], Iterator[RunToRead]]
"""Completes runs, and notes what could not be read."""


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
    """What gives runs the logged models that they made and used; nothing is asked where there are no such models.

    A search for runs leaves out those that they used (`SqlAlchemyStore._search_runs`), and before MLflow 3.10 those
    that they made. Both are shown where a run is asked for by its id.

    Args:
        connection: to the store.
        threads: ask for several runs at once.
        experiment_ids: of the experiments that are read.
    """
    version = release(connection.server_version())
    if version is None or version < _FIRST or not are_there(connection, experiment_ids):
        return lambda items, _: iter(items)
    return partial(_completed, connection, threads)


def _completed(
    connection: Connection, threads: Executor, items: Iterable[RunToRead], skipped: list[Skipped]
) -> Iterator[RunToRead]:
    for one, models in ordered_map(threads, partial(_with_models, connection), items, _RUNS_AHEAD):
        if isinstance(models, Skipped):
            skipped.append(models)
            yield one
            continue
        yield replace(one, run=one.run.model_copy(update=models))


def _with_models(connection: Connection, one: RunToRead) -> tuple[RunToRead, Models | Skipped]:
    """A run, and its logged models, or why they can't be read."""
    if one.before is not None:
        made = one.run.model_outputs or one.before.model_outputs
        return one, {"model_inputs": one.before.model_inputs, "model_outputs": made}
    ask: Callable[[], Models] = partial(_models_of_run, connection, one.run.run_id)
    return one, connection.read_or_skip(RUN_MODELS, one.run.run_id, ask, asks=True)


def _models_of_run(connection: Connection, run_id: str) -> Models:
    entity = connection.tracking.get_run(run_id)
    inputs, outputs = convert.model_inputs(entity), convert.model_outputs(entity)
    return {"model_inputs": inputs_in_order(inputs), "model_outputs": outputs_in_order(outputs)}
