"""Experiments through the API, deleted ones included."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from mlmeta.errors import UsageError
from mlmeta.schema import EXPERIMENTS, Experiment, Skipped
from mlmeta.stores.api import entities as convert
from mlmeta.stores.api.connection import LIST_EXPERIMENTS, Connection, unreadable
from mlmeta.stores.api.file_store import FileStore
from mlmeta.stores.api.paging import Search

_PAGE = 1000


def read_experiments(connection: Connection, names: tuple[str, ...] = ()) -> tuple[list[Experiment], list[Skipped]]:
    """Experiments by id, and what can't be read of them.

    Args:
        connection: to the store.
        names: of those that are wanted; empty: all.

    Raises:
        UsageError: one does not exist.
        ConnectionFailedError: one can't be read.
    """
    found: dict[str, Experiment] = {}
    skipped: list[Skipped] = []
    for item in map(partial(_named, connection), dict.fromkeys(names)) if names else _all(connection):
        if isinstance(item, Skipped):
            skipped.append(item)
        elif found.setdefault(item.experiment_id, item) != item:
            reason = "the server returned two with that id"
            skipped.append(Skipped(kind=EXPERIMENTS.one, id=item.experiment_id, reason=reason))
    return sorted(found.values(), key=EXPERIMENTS.order), skipped


def _all(connection: Connection) -> Iterator[Experiment | Skipped]:
    if connection.kind == "files":
        yield from FileStore(connection).experiments()
        return
    search = Search(
        connection,
        EXPERIMENTS.one,
        ask=partial(_ask, connection),
        key=lambda entity: entity.experiment_id,
        lost=str,
        size=_PAGE,
    )
    for entity in search:
        read = partial(convert.experiment, entity)
        yield connection.read_or_skip(EXPERIMENTS.one, str(entity.experiment_id), read)
    yield from search.skipped


def _ask(connection: Connection, token: str | None, size: int) -> Any:
    from mlflow.entities import ViewType

    if connection.only_lists:
        return _listed(connection, token, size)
    return connection.client.search_experiments(ViewType.ALL, size, page_token=token)


def _listed(connection: Connection, token: str | None, size: int) -> Any:
    """A page of experiments of a server before MLflow 1.28, for which today's client has no call."""
    from mlflow.entities import Experiment as Entity
    from mlflow.protos.service_pb2 import SearchExperiments
    from mlflow.store.entities import PagedList
    from mlflow.utils.proto_json_utils import parse_dict
    from mlflow.utils.rest_utils import verify_rest_response

    params = {"view_type": "ALL", "max_results": size, **({"page_token": token} if token else {})}
    reply = verify_rest_response(connection.request("GET", LIST_EXPERIMENTS, params=params), LIST_EXPERIMENTS)
    found = SearchExperiments.Response()
    parse_dict(reply.json(), found)
    return PagedList([Entity.from_proto(one) for one in found.experiments], found.next_page_token or None)


def _named(connection: Connection, name: str) -> Experiment:
    found = _file_named(connection, name) if connection.kind == "files" else _entity_named(connection, name)
    if found is None:
        raise UsageError(
            f"there is no experiment {name!r} at {connection.name}",
            hint="check the spelling: upper and lower case differ",
        )
    return found


def _entity_named(connection: Connection, name: str) -> Experiment | None:
    try:
        entity = connection.client.get_experiment_by_name(name)
        return convert.experiment(entity) if entity is not None else None
    except unreadable() as error:
        raise connection.failure(error) from error


def _file_named(connection: Connection, name: str) -> Experiment | None:
    found = (item for item in FileStore(connection).experiments() if not isinstance(item, Skipped))
    return next((experiment for experiment in found if experiment.name == name), None)
