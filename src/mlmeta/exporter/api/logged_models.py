"""Logged models through the API. Servers and clients before MLflow 3 have none; deleted ones are never shown."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from mlmeta.exporter.api import convert
from mlmeta.exporter.api.paging import pages
from mlmeta.schema import LoggedModel, Skipped, logged_model_order
from mlmeta.tracking.connection import Connection

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
    for start in range(0, len(experiment_ids), _EXPERIMENTS_PER_CALL):
        some = experiment_ids[start : start + _EXPERIMENTS_PER_CALL]
        if has_logged_models(connection, some):
            for experiment_id in some:
                yield from _of_experiment(connection, experiment_id)


def has_logged_models(connection: Connection, experiment_ids: list[str]) -> bool:
    """Whether any of these experiments has one. Where nobody knows the kind, none has."""
    from mlflow.exceptions import MlflowException

    if not hasattr(connection.client, "search_logged_models"):  # a client before 3
        return False
    try:
        found = connection.client.search_logged_models(experiment_ids=experiment_ids, max_results=1)
    except NotImplementedError:  # a store that MLflow has no more use for
        return False
    except MlflowException as error:
        connection.check()
        return error.get_http_status_code() not in _UNKNOWN  # asking for each will tell what else is wrong
    return len(found) > 0


def _of_experiment(connection: Connection, experiment_id: str) -> Iterator[LoggedModel | Skipped]:
    from mlflow.exceptions import MlflowException

    try:
        found = pages(lambda token: _search(connection, experiment_id, token))
        yield from _in_order(map(convert.logged_model, itertools.chain.from_iterable(found)))
    except MlflowException as error:
        connection.check()
        yield Skipped(kind="logged models", id=f"of experiment {experiment_id}", reason=connection.reason(error))


def _search(connection: Connection, experiment_id: str, token: str | None) -> Any:
    return connection.client.search_logged_models(
        experiment_ids=[experiment_id], max_results=_PAGE, order_by=_ORDER, page_token=token
    )


def _in_order(models: Iterable[LoggedModel]) -> Iterator[LoggedModel]:
    """Models that come by creation time, in order, each once: pages go by offset, while models may be added."""
    last = None
    for _, ties in itertools.groupby(models, key=lambda model: model.creation_timestamp):
        for model in sorted(ties, key=logged_model_order):
            if last is None or logged_model_order(model) > last:
                last = logged_model_order(model)
                yield model
