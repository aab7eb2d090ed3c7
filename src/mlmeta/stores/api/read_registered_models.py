"""The model registry through the API. Prompts are registered models under a tag, and have to be asked for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from http import HTTPStatus
from typing import Any

from mlmeta.parallel import ordered_map
from mlmeta.schema import ModelVersion, RegisteredModel, Skipped
from mlmeta.stores.api import entities as convert
from mlmeta.stores.api.connection import Connection, unreadable
from mlmeta.stores.api.file_store import FileStore
from mlmeta.stores.api.paging import Search, found_by, name_filter

PROMPTS = "tag.`mlflow.prompt.is_prompt` = 'true'"
PROMPT_VERSIONS = "tags.`mlflow.prompt.is_prompt` = 'true'"
_PAGE = 1000
_KIND = "registered model"


def read_models(connection: Connection, executor: Executor, jobs: int) -> Iterator[RegisteredModel | Skipped]:
    """All registered models and prompts, by name, each with all its versions."""
    if connection.kind == "files":
        yield from FileStore(connection).registered_models()
        return
    skipped: list[Skipped] = []
    entities = sorted(_search_models(connection, skipped), key=lambda entity: str(entity.name))
    for found in ordered_map(executor, partial(_complete, connection), entities, ahead=4 * jobs):
        yield from found
    yield from skipped


def _search_models(connection: Connection, skipped: list[Skipped]) -> Iterator[Any]:
    # The registry's store is asked, for `MlflowClient` adds a filter (tag != 'true') of its own, which on
    # servers that know no prompts drops every model without that tag.
    seen: set[str] = set()
    for prompts in ("", PROMPTS):
        ask = partial(_ask, connection.registry.search_registered_models, prompts, bool(prompts))
        search = Search(connection, ask, lambda entity: entity.name, partial(_lost, _KIND, "", bool(prompts)), _PAGE)
        for entity in _found(search):
            if entity.name not in seen:
                seen.add(entity.name)
                yield entity
        skipped += search.skipped
        if skipped and not seen:  # the second search would only say the same
            return


def _found(search: Search) -> Iterator[Any]:
    return itertools.chain.from_iterable(page.items for page in found_by(search))


def _ask(call: Callable[..., Any], text: str, of_prompts: bool, token: str | None, size: int) -> Any:
    from mlflow.exceptions import MlflowException
    from mlflow.store.entities import PagedList

    try:
        return call(text or None, size, None, token)
    except MlflowException as error:
        if of_prompts and error.get_http_status_code() == HTTPStatus.BAD_REQUEST:
            return PagedList([], None)  # a server that knows no filter by tags has no prompts
        raise


def _lost(kind: str, model: str, of_prompts: bool, number: int | None, reason: str) -> Skipped:
    place = f"number {number}" if number else "the rest" if number is None else "all"
    return Skipped(kind=kind, id=f"{model}{place}{' (prompts)' if of_prompts else ''}", reason=reason)


def _complete(connection: Connection, entity: Any) -> list[RegisteredModel | Skipped]:
    """A model with its versions, and what of them can't be read; or why it is not to be had at all."""
    try:
        versions, skipped = _versions(connection, entity.name)
        if skipped and not versions:
            return [Skipped(kind=_KIND, id=entity.name, reason=skipped[0].reason)]
        return [convert.registered_model(entity, tuple(versions)), *skipped]
    except unreadable() as error:
        return [Skipped(kind=_KIND, id=str(entity.name), reason=connection.failed(error))]


def _versions(connection: Connection, name: str) -> tuple[list[ModelVersion], list[Skipped]]:
    found: dict[int, ModelVersion] = {}
    skipped: list[Skipped] = []
    for prompts in ("", PROMPT_VERSIONS):
        text = " AND ".join(filter(None, (name_filter(name), prompts)))
        ask = partial(_ask, connection.registry.search_model_versions, text, bool(prompts))
        lost = partial(_lost, "model version", f"{name}, ", bool(prompts))
        search = Search(connection, ask, lambda entity: (entity.name, entity.version), lost, _PAGE)
        for version in (convert.model_version(entity) for entity in _found(search) if entity.name == name):
            found.setdefault(version.version, version)
        skipped += search.skipped
    return list(found.values()), skipped
