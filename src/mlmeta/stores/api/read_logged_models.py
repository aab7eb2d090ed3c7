"""Logged models through the API. Servers and clients before MLflow 3 have none; deleted ones are never shown."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

from mlmeta.schema import LOGGED_MODELS, LoggedModel, Skipped
from mlmeta.stores.api import entities as convert
from mlmeta.stores.api.connection import Connection, unreadable
from mlmeta.stores.api.file_store import FileStore
from mlmeta.stores.api.paging import Search, Sieve

_PAGE = 100
_EXPERIMENTS_PER_CALL = 100
_ORDER = [{"field_name": "creation_timestamp", "ascending": True}]
_UNKNOWN = {404, 501}
"""What a server says that does not have this part of the API."""


def read_logged_models(connection: Connection, experiment_ids: list[str]) -> Iterator[LoggedModel | Skipped]:
    """All logged models of some experiments, in a snapshot's order.

    Args:
        connection: to the store.
        experiment_ids: in a snapshot's order. Most have no such model: many are asked about at once.
    """
    if connection.kind == "files":
        yield from itertools.chain.from_iterable(map(FileStore(connection).logged_models, experiment_ids))
        return
    sieve = Sieve(connection, LOGGED_MODELS, LOGGED_MODELS.many, convert.logged_model)
    for start in range(0, len(experiment_ids), _EXPERIMENTS_PER_CALL):
        some = experiment_ids[start : start + _EXPERIMENTS_PER_CALL]
        if _has_any(connection, some):
            for experiment_id in some:
                search = _search(connection, experiment_id)
                yield from sieve.sift(search, experiment_id)
                yield from search.skipped


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
        ask=partial(_ask, connection, experiment_id),
        key=lambda entity: entity.model_id,
        lost=lambda place: f"of experiment {experiment_id}, {place}".removesuffix(", all"),
        size=_PAGE,
    )


def _ask(connection: Connection, experiment_id: str, token: str | None, size: int) -> Any:
    return connection.client.search_logged_models(
        experiment_ids=[experiment_id], max_results=size, order_by=_ORDER, page_token=token
    )
