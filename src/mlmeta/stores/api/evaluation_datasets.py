"""Evaluation datasets and their records through the API. Servers before MLflow 3.5 have none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from mlmeta.errors import ReplyError, UnknownCallError
from mlmeta.parallel import ordered_map
from mlmeta.schema import (
    DATASET_RECORDS,
    EVALUATION_DATASETS,
    DatasetRecord,
    EvaluationDataset,
    Skipped,
)
from mlmeta.schema.kind import within
from mlmeta.stores.api.bounded import impatient
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.paging import PAGE, Search

API = "/api/3.0/mlflow/datasets"
_EXPERIMENTS_PER_CALL = 100
_AHEAD = 16
_LINKS = "experiment_ids"
_KIND = EVALUATION_DATASETS.one

Found = EvaluationDataset | Skipped


class _Paged(list[Any]):
    """What a call lists, as MLflow's `PagedList`."""

    token: str | None = None


def read(
    connections: Sequence[tuple[Connection, list[str]]], executor: Executor, *, limited: bool
) -> Iterator[EvaluationDataset | DatasetRecord | Skipped]:
    """All evaluation datasets by id, then the records of each; none where the server knows no such thing.

    Args:
        connections: to the store, one for each workspace, each with the ids of its experiments that are saved.
        executor: asks several things at once.
        limited: whether only what belongs to these is meant.
    """
    datasets: list[tuple[EvaluationDataset, Connection]] = []
    for connection, experiment_ids in connections:
        for item in read_datasets(connection, executor, experiment_ids, limited=limited):
            if isinstance(item, EvaluationDataset):
                datasets.append((item, connection))
            else:
                yield item
    datasets.sort(key=lambda found: EVALUATION_DATASETS.order(found[0]))
    yield from (dataset for dataset, _ in datasets)
    for dataset, connection in datasets:
        yield from read_records(connection, dataset.dataset_id)


def read_datasets(
    connection: Connection, executor: Executor, experiment_ids: Sequence[str], *, limited: bool
) -> Iterator[Found]:
    """The evaluation datasets by id; see `read`. Of a limited selection, without their other experiments."""
    if connection.kind != "server":
        return
    replies: dict[str, dict[str, Any]] = {}
    skipped: list[Skipped] = []
    try:
        for scope in scopes(connection, experiment_ids, limited=limited):
            search = _search(connection, partial(datasets_page, connection, scope), EVALUATION_DATASETS.many, "")
            replies.update((reply["dataset_id"], reply) for reply in search)
            skipped += search.skipped
    except UnknownCallError:
        return
    meant = frozenset(experiment_ids)
    for item in ordered_map(executor, partial(_with_experiments, connection), sorted(replies.items()), _AHEAD):
        yield within(EVALUATION_DATASETS, item, meant) if limited and isinstance(item, EvaluationDataset) else item
    yield from skipped


def scopes(connection: Connection, experiment_ids: Sequence[str], *, limited: bool) -> list[dict[str, Any]]:
    """What to search for: all datasets at once; or those of experiments, which is all that some users may ask for.

    Args:
        connection: to the server.
        experiment_ids: of the experiments that are meant, or that this user may see.
        limited: whether no others are meant.

    Raises:
        UnknownCallError: the server has no evaluation datasets.
    """
    if _may_ask(connection, {}) and not limited:
        return [{}]
    starts = range(0, len(experiment_ids), _EXPERIMENTS_PER_CALL)
    return [{_LINKS: list(experiment_ids[start : start + _EXPERIMENTS_PER_CALL])} for start in starts]


def _may_ask(connection: Connection, scope: dict[str, Any]) -> bool:
    """Whether a user may make a search: with basic-auth, only an administrator may ask for all (MLflow 3.17)."""
    from mlflow.exceptions import MlflowException

    try:
        with impatient():
            datasets_page(connection, scope, None, 1)
    except UnknownCallError:
        raise
    except ReplyError:  # the search itself will tell
        return True
    except MlflowException as error:
        return "error code 403" not in str(error) and error.get_http_status_code() != HTTPStatus.FORBIDDEN
    return True


def _search(connection: Connection, ask: Callable[[str | None, int], Any], kind: str, owner: str) -> Search:
    return Search(
        connection,
        kind,
        ask=ask,
        key=lambda reply: reply.get("dataset_record_id") or reply.get("dataset_id"),
        lost=lambda place: f"{owner}{place}".removesuffix(", all"),
        size=PAGE,
    )


def datasets_page(connection: Connection, scope: dict[str, Any], token: str | None, size: int = PAGE) -> _Paged:
    """A page of a search for datasets, the oldest first: what is made meanwhile comes last.

    Raises:
        UnknownCallError: the server has none.
    """
    more = {"page_token": token} if token else {}
    asked = {**scope, **more, "max_results": size, "order_by": ["created_time ASC"]}
    reply = connection.call("POST", f"{API}/search", json=asked)
    return _paged(reply.get("datasets", []), reply)


def _paged(found: Any, reply: dict[str, Any]) -> _Paged:
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ReplyError("the reply does not list objects")
    page = _Paged(found)
    page.token = reply.get("next_page_token") or None
    return page


def _with_experiments(connection: Connection, found: tuple[str, dict[str, Any]]) -> Found:
    dataset_id, reply = found
    return connection.read_or_skip(_KIND, dataset_id, partial(_dataset, connection, reply), asks=True)


def _dataset(connection: Connection, reply: dict[str, Any]) -> EvaluationDataset:
    tags = json.loads(reply.get("tags") or "{}")
    linked = connection.call("GET", f"{API}/{quote(reply['dataset_id'], safe='')}/experiment-ids")
    texts = ("digest", "created_by", "last_updated_by", "schema", "profile")
    return EvaluationDataset(
        dataset_id=reply["dataset_id"],
        workspace=connection.place,
        name=reply["name"],
        created_time=_number(reply.get("created_time")),
        last_update_time=_number(reply.get("last_update_time")),
        tags={key: "" if value is None else value for key, value in tags.items()},
        experiment_ids=tuple(linked.get("experiment_ids", ())),
        **{name: reply.get(name) or None for name in texts},
    )


def _number(value: Any) -> int | None:
    """A number of 64 bits, which is a text in protobuf's JSON."""
    return None if value is None else int(value)


def read_records(connection: Connection, dataset_id: str) -> Iterator[DatasetRecord | Skipped]:
    """The records of a dataset, in a snapshot's order."""
    ask = partial(_page_of_records, connection, dataset_id)
    search = _search(connection, ask, DATASET_RECORDS.many, f"of dataset {dataset_id}, ")
    last: Any = None
    for reply in search:
        item = _read_record(connection, dataset_id, reply)
        if isinstance(item, DatasetRecord):
            order = DATASET_RECORDS.order(item)
            if last is not None and order <= last:
                item = Skipped(kind=DATASET_RECORDS.one, id=item.dataset_record_id, reason="it came out of order")
            else:
                last = order
        yield item
    yield from search.skipped


def _page_of_records(connection: Connection, dataset_id: str, token: str | None, size: int) -> _Paged:
    params = {"max_results": size, **({"page_token": token} if token else {})}
    reply = connection.call("GET", f"{API}/{quote(dataset_id, safe='')}/records", params=params)
    return _paged(json.loads(reply.get("records") or "[]"), reply)


def _read_record(connection: Connection, dataset_id: str, reply: dict[str, Any]) -> DatasetRecord | Skipped:
    identifier = str(reply.get("dataset_record_id"))
    return connection.read_or_skip(DATASET_RECORDS.one, identifier, partial(_record, dataset_id, reply))


def _record(dataset_id: str, reply: dict[str, Any]) -> DatasetRecord:
    texts = ("source_id", "source_type", "created_by", "last_updated_by")
    return DatasetRecord(
        dataset_id=dataset_id,
        dataset_record_id=reply["dataset_record_id"],
        created_time=_number(reply.get("created_time")),
        last_update_time=_number(reply.get("last_update_time")),
        **{name: reply.get(name) for name in ("inputs", "outputs", "expectations", "tags", "source")},
        **{name: reply.get(name) or None for name in texts},
    )
