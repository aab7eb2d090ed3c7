"""What a server has and a backup does not get from it: kinds, and what it hides from the user that asks.

It is named, never dropped silently.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any

from mlmeta.parallel import ordered_map
from mlmeta.schema import Skipped
from mlmeta.stores.api.bounded import json_object
from mlmeta.stores.api.connection import Connection, unreadable
from mlmeta.stores.api.file_store import FileStore

if TYPE_CHECKING:
    from requests import Response

_EXPERIMENTS_PER_CALL = 100
_REASON = "the store has some, and only a backup of its database saves them"
_API = "/api/3.0/mlflow"


@dataclass(frozen=True)
class _Question:
    """A call that shows whether there are any of a kind.

    Args:
        kind: in words.
        method: of HTTP.
        path: of the call.
        body: what is sent.
        each: whether it is asked for each experiment by itself.
    """

    kind: str
    method: str
    path: str
    body: dict[str, Any] | None = None
    each: bool = False


_QUESTIONS = (
    _Question("issues", "POST", f"{_API}/issues/search", {"max_results": 1}),
    _Question("webhooks", "GET", "/api/2.0/mlflow/webhooks"),
    _Question("gateway secrets", "GET", f"{_API}/gateway/secrets/list"),
    _Question("gateway model definitions", "GET", f"{_API}/gateway/model-definitions/list"),
    _Question("gateway endpoints", "GET", f"{_API}/gateway/endpoints/list"),
    _Question("gateway budget policies", "GET", f"{_API}/gateway/budgets/list"),
    _Question("gateway guardrails", "GET", f"{_API}/gateway/guardrails/list"),
    _Question("MCP servers", "GET", f"{_API}/mcp-servers"),
)
_OF_EXPERIMENTS = (
    _Question("scorers", "GET", f"{_API}/scorers/list", each=True),
    _Question("review queues", "GET", f"{_API}/review-queues/list", each=True),
)
"""Label schemas are not asked for: the call makes the default ones where there are none."""
ASKED = tuple(question.kind for question in (*_QUESTIONS, *_OF_EXPERIMENTS))
"""The kinds that are asked for."""


def read_unsupported(
    connection: Connection, experiment_ids: list[str], executor: Executor, *, limited: bool
) -> Iterator[Skipped]:
    """A `Skipped` for each kind of which there are any. Servers and clients that don't know a kind have none of it.

    Args:
        connection: to the store.
        experiment_ids: of the experiments that are saved.
        executor: asks several things at once.
        limited: whether only these experiments are meant.
    """
    ids = experiment_ids
    yield from _unread_traces(connection, ids)
    if connection.kind != "server":
        return
    if not limited:
        answers = ordered_map(executor, partial(_ask, connection), _QUESTIONS, len(_QUESTIONS))
        yield from filter(None, map(_skipped, _QUESTIONS, answers))
    for question in _OF_EXPERIMENTS:
        yield from _of_experiments(connection, question, ids, executor)


def _of_experiments(
    connection: Connection, question: _Question, ids: Sequence[str], executor: Executor
) -> Iterator[Skipped]:
    """The first experiment tells whether the server knows the kind: the others are asked only then."""
    if not ids or (first := _ask(connection, question, ids[0])) is None:
        return
    rest = ordered_map(executor, partial(_ask, connection, question), ids[1:], 16)
    yield from islice(filter(None, (_skipped(question, answer) for answer in (first, *rest))), 1)


def _skipped(question: _Question, answer: list[Any] | Skipped | None) -> Skipped | None:
    if isinstance(answer, list):
        return Skipped(kind=question.kind, id="*", reason=_REASON) if answer else None
    return answer


def _unknown(kind: str, why: str) -> Skipped:
    return Skipped(kind=kind, id="*", reason=f"it is unknown whether the store has any: {why}")


def _ask(connection: Connection, question: _Question, experiment_id: str = "") -> list[Any] | Skipped | None:
    """What there is of a kind; None: the server knows none, or this user may not ask; or why it did not say."""
    more: dict[str, Any] = {"json": question.body} if question.body else {}
    if question.each:
        more["params"] = {"experiment_id": experiment_id}
    try:
        response = connection.request(question.method, question.path, **more)
    except unreadable() as error:
        connection.check()
        return _unknown(question.kind, connection.reason(error))
    if response.status_code >= 500 and response.status_code != HTTPStatus.NOT_IMPLEMENTED:
        return _unknown(question.kind, f"it answers {response.status_code}")
    return _listed(response) if response.status_code == HTTPStatus.OK else None


def _listed(reply: Response) -> list[Any] | None:
    """The list in a reply; None where it is not one of MLflow's API, such as the page of its UI."""
    content = json_object(reply)
    return None if content is None else next((value for value in content.values() if isinstance(value, list)), [])


def _unread_traces(connection: Connection, ids: list[str]) -> Iterator[Skipped]:
    """Those of stores that are no server: MLflow's folders, and stores of somebody else's make."""
    if connection.kind == "server" or not ids:
        return
    try:
        found = _any_trace(connection, ids[:_EXPERIMENTS_PER_CALL])
    except unreadable():  # it knows none
        return
    if len(found):
        yield Skipped(kind="traces", id="*", reason=_REASON)


def _any_trace(connection: Connection, ids: list[str]) -> Any:
    if connection.kind == "files":
        return FileStore(connection).traces(ids)
    search = connection.client.search_traces
    try:
        return search(locations=ids, max_results=1, include_spans=False)
    except TypeError:  # MLflow before 3.3 calls them experiments
        return search(experiment_ids=ids, max_results=1)


_CURRENT_USER = "/api/2.0/mlflow/users/current"
_USER = "/api/2.0/mlflow/users/get"
"""Of servers that don't know the other yet. A user may ask for itself."""


def has_users(connection: Connection) -> bool:
    """Whether a server has basic-auth."""
    return _current(connection)[0] is not None


def hidden_from_user(connection: Connection) -> str:
    """What to know of a server with basic-auth, where this user is not an administrator; else empty.

    Such a server leaves out of its replies what a user may not see, and says nothing of it.
    """
    user, name = _current(connection)
    if user is None or user.get("is_admin") is True:
        return ""
    shown = f" {name}" if name else ""
    return f"the user{shown} is not an administrator of the server: what it may not see is neither saved nor counted"


def _current(connection: Connection) -> tuple[dict[str, Any] | None, str]:
    """What a server says of the user that asks, and that user's name where it is known; None: it has no users."""
    if connection.kind != "server":
        return None, ""
    name = getattr(connection.tracking.get_host_creds(), "username", None) or ""
    try:
        return connection.once("user", partial(_asked, connection, name)), name
    except unreadable():
        return None, name


def _asked(connection: Connection, name: str) -> dict[str, Any] | None:
    try:
        user = _user(connection, _CURRENT_USER, "")
    except unreadable():
        if not name:
            raise
        user = None
    return _user(connection, _USER, name) if user is None and name else user


def _user(connection: Connection, path: str, name: str) -> dict[str, Any] | None:
    """What the server says of a user; None: it has no users."""
    more: dict[str, Any] = {"params": {"username": name}} if name else {}
    response = connection.request("GET", path, **more)
    if response.status_code == 403:
        return {}
    user = (json_object(response) or {}).get("user") if response.status_code == 200 else None
    return user if isinstance(user, dict) else None
