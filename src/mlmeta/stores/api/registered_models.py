"""The model registry through the API. Prompts are registered models under a tag, and have to be asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from concurrent.futures import Executor
from functools import partial
from http import HTTPStatus
from typing import Any

from mlmeta.parallel import ordered_map
from mlmeta.schema import MODEL_VERSIONS, MODELS, ModelVersion, RegisteredModel, Skipped
from mlmeta.schema.models import IS_PROMPT
from mlmeta.stores.api import entities as convert
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.file_store import FileStore
from mlmeta.stores.api.paging import PAGE, Search, name_filter
from mlmeta.stores.api.workspaces import named

PROMPTS = f"tag.`{IS_PROMPT}` = 'true'"
PROMPT_VERSIONS = f"tags.`{IS_PROMPT}` = 'true'"
_LOOKED_FOR = 1000
"""The newest numbers of a prompt among which versions are looked for that no search gives."""


def read(connection: Connection, executor: Executor, jobs: int) -> Iterator[RegisteredModel | Skipped]:
    """All registered models and prompts, by name, each with all its versions.

    Args:
        connection: to the store.
        executor: for the versions of several models at once.
        jobs: how many it reads at once.
    """
    if connection.kind == "files":
        yield from FileStore(connection).registered_models()
        return
    skipped: list[Skipped] = []
    entities = sorted(_entities(connection, skipped), key=lambda entity: str(entity.name))
    for found in ordered_map(executor, partial(_with_versions, connection), entities, ahead=4 * jobs):
        yield from (named(one, connection.place) if isinstance(one, Skipped) else one for one in found)
    yield from (named(one, connection.place) for one in skipped)


def _entities(connection: Connection, skipped: list[Skipped]) -> Iterator[Any]:
    # The registry's store is asked, for `MlflowClient` adds a filter (tag != 'true') of its own, which on
    # servers that know no prompts drops every model without that tag.
    seen: set[str] = set()
    call = connection.registry.search_registered_models
    for prompts in ("", PROMPTS):
        search = _search(connection, MODELS.one, call, prompts, of_prompts=bool(prompts))
        for entity in search:
            if entity.name not in seen:
                seen.add(entity.name)
                yield entity
        skipped += search.skipped
        if skipped and not seen:  # the second search would only say the same
            return


def _search(
    connection: Connection, kind: str, call: Callable[..., Any], text: str, *, of_prompts: bool, model: str = ""
) -> Search:
    return Search(
        connection,
        kind,
        ask=partial(_ask, call, text, of_prompts),
        key=lambda entity: (entity.name, getattr(entity, "version", "")),
        lost=lambda place: f"{model}{place}{' (prompts)' if of_prompts else ''}",
        size=PAGE,
    )


def _ask(call: Callable[..., Any], text: str, of_prompts: bool, token: str | None, size: int) -> Any:
    from mlflow.exceptions import MlflowException
    from mlflow.store.entities import PagedList

    try:
        return call(text or None, size, None, token)
    except MlflowException as error:
        if of_prompts and error.get_http_status_code() == HTTPStatus.BAD_REQUEST:
            return PagedList([], None)  # a server that knows no filter by tags has no prompts
        raise


def _with_versions(connection: Connection, entity: Any) -> list[RegisteredModel | Skipped]:
    """A model with its versions, and what of them can't be read; or why it is not to be had at all."""
    found = connection.read_or_skip(MODELS.one, str(entity.name), partial(_complete, connection, entity), asks=True)
    return [found] if isinstance(found, Skipped) else found


def _complete(connection: Connection, entity: Any) -> list[RegisteredModel | Skipped]:
    versions, skipped = _versions(connection, entity.name)
    if any(version.tags.get(IS_PROMPT) == "true" for version in versions):
        for number in unlisted({version.version for version in versions}, entity):
            _add_unlisted(connection, entity.name, number, versions, skipped)
    if skipped and not versions:
        return [Skipped(kind=MODELS.one, id=entity.name, reason=skipped[0].reason)]
    return [convert.registered_model(entity, tuple(versions), connection.place), *skipped]


def _versions(connection: Connection, name: str) -> tuple[list[ModelVersion], list[Skipped]]:
    found: dict[int, ModelVersion] = {}
    skipped: list[Skipped] = []
    call = connection.registry.search_model_versions
    for prompts in ("", PROMPT_VERSIONS):
        text = version_filter(name, prompts)
        search = _search(connection, MODEL_VERSIONS.one, call, text, of_prompts=bool(prompts), model=f"{name}, ")
        for version in (convert.model_version(entity) for entity in search if entity.name == name):
            found.setdefault(version.version, version)
        skipped += search.skipped
    return list(found.values()), skipped


def unlisted(listed: Set[int], entity: Any) -> list[int]:
    """The numbers of versions of a prompt that no search gives: deleted ones, and those that are none of a prompt's.

    Where one version of a model is a prompt's, MLflow's searches leave out all those that are not (3.17).

    Args:
        listed: those that searches give.
        entity: the registered model, with its latest versions.
    """
    newest = max(*listed, *(int(one.version) for one in entity.latest_versions or ()), 0)
    return sorted({*range(max(1, newest - _LOOKED_FOR + 1), newest + 1)} - listed)


def _add_unlisted(
    connection: Connection, name: str, number: int, versions: list[ModelVersion], skipped: list[Skipped]
) -> None:
    """Ask for a version of a prompt that no search gives."""
    identifier = f"{name}, version {number}"
    found = connection.read_or_skip(
        MODEL_VERSIONS.one, identifier, partial(_version, connection, name, number), asks=True
    )
    if isinstance(found, Skipped):
        skipped.append(found)
    elif found is not None:
        versions.append(found)


def _version(connection: Connection, name: str, number: int) -> ModelVersion | None:
    entity = version_entity(connection, name, number)
    return None if entity is None else convert.model_version(entity)


def version_entity(connection: Connection, name: str, number: int) -> Any:
    """MLflow's entity of a version; None where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return connection.registry.get_model_version(name, str(number))
    except MlflowException as error:
        if error.get_http_status_code() == HTTPStatus.NOT_FOUND:
            return None
        raise


def version_filter(name: str, prompts: str) -> str:
    """What a search for the versions of a model is limited to.

    Args:
        name: of the model.
        prompts: `PROMPT_VERSIONS` for those of a prompt; empty: for others.
    """
    return " AND ".join(filter(None, (name_filter(name), prompts)))
