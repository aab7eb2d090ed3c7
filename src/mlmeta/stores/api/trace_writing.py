"""The calls that write a trace: its spans, what is said of it, its assessments, and the tags that come last.

The order matters. A server makes a trace of the spans that it gets, and works out its times from them: so what is said
of the trace comes after them. It finds a place of its own for the artifacts of a new trace, and takes none with it: the
right one is set afterwards. An assessment is valid until another one overrides it, whatever it says itself.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from mlmeta.errors import UnknownCallError
from mlmeta.schema import Assessment, Trace
from mlmeta.schema.traces import ARTIFACT_LOCATION_TAG
from mlmeta.stores.api import otlp, restore_tags
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.trace_records import moment, span_of_time

OTLP = "/v1/traces"
TRACES = "/api/3.0/mlflow/traces"
_PROTOBUF = "application/x-protobuf"


def send_spans(connection: Connection, experiment_id: str, spans: Iterable[Any], tags: Mapping[str, str]) -> None:
    """Send spans of one trace or several; what is there already of them is written again.

    Args:
        connection: to the server.
        experiment_id: the server's, for traces that are new.
        spans: messages of `otlp`.
        tags: for the traces; servers before 3.17 don't take them so.

    Raises:
        MlflowException: the server takes none of them.
        UnknownCallError: it takes no spans at all.
    """
    headers = {"Content-Type": _PROTOBUF, "x-mlflow-experiment-id": experiment_id}
    connection.call("POST", OTLP, data=otlp.request(spans, tags), extra_headers=headers)


def takes_spans(connection: Connection) -> bool:
    """Whether a server takes spans: it says so to a request that lacks all that it needs."""
    from mlflow.exceptions import MlflowException

    try:
        connection.call("POST", OTLP, max_retries=0)
    except UnknownCallError:
        return False
    except MlflowException:
        connection.check()
    return True


def start(connection: Connection, trace: Trace, experiment_id: str, tags: Mapping[str, str]) -> None:
    """Say of a trace what the snapshot says: whatever is there of it is overwritten.

    Args:
        connection: to the server.
        trace: as the server is to have it.
        experiment_id: the server's.
        tags: besides its own.

    Raises:
        MlflowException: the server refuses.
    """
    own = {key: value for key, value in trace.tags.items() if key != ARTIFACT_LOCATION_TAG}
    info: dict[str, Any] = {
        "trace_id": trace.trace_id,
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}},
        "request_time": moment(trace.timestamp),
        "execution_duration": None if trace.duration is None else span_of_time(trace.duration),
        "state": trace.state,
        "client_request_id": trace.client_request_id,
        "request_preview": trace.request_preview,
        "response_preview": trace.response_preview,
        "tags": {**restore_tags.without(own), **tags},
        "trace_metadata": dict(trace.metadata),
    }
    given = {key: value for key, value in info.items() if value is not None}
    connection.call("POST", TRACES, json={"trace": {"trace_info": given}})


def assess(connection: Connection, trace_id: str, one: Assessment) -> None:
    """Create an assessment of a trace: one that it overrides is not valid any more.

    Raises:
        MlflowException: the server refuses.
    """
    connection.call("POST", f"{_address(trace_id)}/assessments", json={"assessment": _message(trace_id, one)})


def in_turn(assessments: Collection[Assessment]) -> list[Assessment]:
    """Assessments, each after the one that it overrides, if that is among them."""
    waiting = {one.assessment_id: one for one in assessments}
    ordered: list[Assessment] = []
    for first in assessments:
        chain, following = [], waiting.get(first.assessment_id)
        while following is not None:
            chain.append(waiting.pop(following.assessment_id))
            following = waiting.get(following.overrides or "")
        ordered += reversed(chain)
    return ordered


def _message(trace_id: str, one: Assessment) -> dict[str, Any]:
    source = {"source_type": one.source_type, **({"source_id": one.source_id} if one.source_id is not None else {})}
    message: dict[str, Any] = {
        "assessment_id": one.assessment_id,
        "assessment_name": one.name,
        "trace_id": trace_id,
        "source": source,
        "create_time": moment(one.created),
        "last_update_time": moment(one.updated),
        "span_id": one.span_id,
        "rationale": one.rationale,
        "overrides": one.overrides,
        "metadata": dict(one.metadata),
        one.type: _value(one),
    }
    return {key: value for key, value in message.items() if value is not None}


def _value(one: Assessment) -> Any:
    if one.type == "expectation":
        return {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": json.dumps(one.value)}}
    if one.type == "issue":
        return one.value
    error = {} if one.error is None else {"error": one.error.model_dump(exclude_none=True)}
    return {"value": one.value, **error}


def set_tag(connection: Connection, trace_id: str, key: str, value: str) -> None:
    """Set a tag of a trace.

    Raises:
        MlflowException: the server refuses.
    """
    connection.call("PATCH", f"{_address(trace_id)}/tags", json={"key": key, "value": value})


def infos(connection: Connection, trace_ids: list[str]) -> list[dict[str, Any]]:
    """What the server says of some traces, of those that it has.

    Raises:
        MlflowException: it fails.
        UnknownCallError: it has no traces of MLflow 3.
    """
    try:
        reply = connection.call("POST", f"{TRACES}/batchGetInfos", json={"trace_ids": trace_ids})
    except UnknownCallError:  # before MLflow 3.10
        return [found for trace_id in trace_ids if (found := _info(connection, trace_id))]
    return list(reply.get("trace_infos", ()))


def _info(connection: Connection, trace_id: str) -> dict[str, Any] | None:
    from mlflow.exceptions import MlflowException

    try:
        found: dict[str, Any] = connection.call("GET", _address(trace_id))["trace"]["trace_info"]
    except MlflowException as error:
        if error.get_http_status_code() == HTTPStatus.NOT_FOUND:
            return None
        raise
    return found


def _address(trace_id: str) -> str:
    """Where a trace is: its id may hold what has a meaning in addresses."""
    return f"{TRACES}/{quote(trace_id, safe='')}"
