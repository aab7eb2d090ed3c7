"""The model registry through the API. Prompts are registered models under a tag, and have to be asked for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import Executor
from functools import partial
from typing import Any

from mlmeta.exporter.api import convert
from mlmeta.exporter.api.paging import pages
from mlmeta.parallel import ordered_map
from mlmeta.schema import ModelVersion, RegisteredModel, Skipped
from mlmeta.tracking.connection import Connection

PROMPTS = "tag.`mlflow.prompt.is_prompt` = 'true'"
PROMPT_VERSIONS = "tags.`mlflow.prompt.is_prompt` = 'true'"
_PAGE = 1000


def read_models(connection: Connection, executor: Executor, jobs: int) -> Iterator[RegisteredModel | Skipped]:
    """All registered models and prompts, by name, each with all its versions."""
    entities = sorted(_search_models(connection), key=lambda entity: str(entity.name))
    return ordered_map(executor, partial(_complete, connection), entities, ahead=4 * jobs)


def _search_models(connection: Connection) -> Iterator[Any]:
    # The registry's store is asked, for `MlflowClient` adds a filter (tag != 'true') of its own, which on
    # servers that know no prompts drops every model without that tag.
    seen: set[str] = set()
    for prompts in (None, PROMPTS):
        found = pages(lambda token, f=prompts: connection.registry.search_registered_models(f, _PAGE, None, token))  # type: ignore[misc]
        for entity in itertools.chain.from_iterable(found):
            if entity.name not in seen:
                seen.add(entity.name)
                yield entity


def _complete(connection: Connection, entity: Any) -> RegisteredModel | Skipped:
    from mlflow.exceptions import MlflowException

    try:
        return convert.registered_model(entity, tuple(_versions(connection, entity.name)))
    except MlflowException as error:
        connection.check()
        return Skipped(kind="registered model", id=entity.name, reason=connection.reason(error))


def _versions(connection: Connection, name: str) -> Iterator[ModelVersion]:
    seen: set[str] = set()
    for prompts in (None, PROMPT_VERSIONS):
        text = " AND ".join(filter(None, (_name_filter(name), prompts)))
        found = pages(lambda token, t=text: connection.registry.search_model_versions(t, _PAGE, None, token))  # type: ignore[misc]
        for entity in itertools.chain.from_iterable(found):
            if entity.name == name and entity.version not in seen:
                seen.add(entity.version)
                yield convert.model_version(entity)


def _name_filter(name: str) -> str:
    """A filter for a name. MLflow's filters know no escapes: a name with both kinds of quotes is looked for in all."""
    if "'" not in name:
        return f"name = '{name}'"
    return f'name = "{name}"' if '"' not in name else ""
