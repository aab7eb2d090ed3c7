"""The model registry."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from mlmeta.schema.base import Int64, Record, SortedMap


class ModelVersion(Record):
    """A version of a registered model. Times are milliseconds since the epoch."""

    version: Int64
    creation_timestamp: Int64 | None = None
    last_updated_timestamp: Int64 | None = None
    user_id: str | None = None
    current_stage: str | None = None
    description: str | None = None
    source: str | None = None
    run_id: str | None = None
    run_link: str | None = None
    status: str | None = None
    status_message: str | None = None
    model_id: str | None = None
    storage_location: str | None = None
    tags: SortedMap[str] = {}


def _by_number(versions: tuple[ModelVersion, ...]) -> tuple[ModelVersion, ...]:
    return tuple(sorted(versions, key=lambda v: v.version))


class RegisteredModel(Record):
    """A registered model (or prompt) with all its versions. `aliases` maps an alias to a version number."""

    name: str
    creation_timestamp: Int64 | None = None
    last_updated_timestamp: Int64 | None = None
    description: str | None = None
    tags: SortedMap[str] = {}
    aliases: SortedMap[Int64] = {}
    versions: Annotated[tuple[ModelVersion, ...], AfterValidator(_by_number)] = ()
