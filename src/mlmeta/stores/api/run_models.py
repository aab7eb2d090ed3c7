"""The logged models that runs made and used, from servers that show them of one run at a time.

Servers of MLflow 3.0 to 3.9 leave them out of a search for runs (`_get_model_outputs_bulk` of MLflow's SQLAlchemy store
came later), and show them where a run is asked for by its id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from functools import partial
from typing import Any

from mlmeta.parallel import ordered_map
from mlmeta.schema import Run, Skipped
from mlmeta.stores.api import entities as convert
from mlmeta.stores.api import logged_models
from mlmeta.stores.api.connection import Connection, release

_KIND = "run's logged models"
_AHEAD = 16
"""Runs that are asked for at once."""
_FIRST, _LATER = (3, 0), (3, 10)
"""The first versions of MLflow with logged models, and those that surely show them in a search."""

Completing = Callable[[Iterable[Run | Skipped]], Iterator[Run | Skipped]]


def completing(connection: Connection, threads: Executor, experiment_ids: list[str]) -> Completing:
    """What makes the runs of a search whole; nothing is asked where the search shows all there is.

    Args:
        connection: to the store.
        threads: ask for several runs at once.
        experiment_ids: of the experiments that are read.
    """
    if _hides_models(connection) and logged_models.are_there(connection, experiment_ids):
        return partial(_completed, connection, threads)
    return iter


def _hides_models(connection: Connection) -> bool:
    version = release(connection.server_version())
    return version is not None and _FIRST <= version < _LATER


def _completed(connection: Connection, threads: Executor, items: Iterable[Run | Skipped]) -> Iterator[Run | Skipped]:
    for found in ordered_map(threads, partial(_with_models, connection), items, _AHEAD):
        yield from found


def _with_models(connection: Connection, item: Run | Skipped) -> tuple[Run | Skipped, ...]:
    """A run with its logged models, or as it is and why they can't be read."""
    if isinstance(item, Skipped):
        return (item,)
    ask: Callable[[], dict[str, Any]] = partial(_models, connection, item.run_id)
    models = connection.read_or_skip(_KIND, item.run_id, ask, asks=True)
    return (item, models) if isinstance(models, Skipped) else (item.model_copy(update=models),)


def _models(connection: Connection, run_id: str) -> dict[str, Any]:
    entity = connection.tracking.get_run(run_id)
    return {"model_inputs": convert.model_inputs(entity), "model_outputs": convert.model_outputs(entity)}
