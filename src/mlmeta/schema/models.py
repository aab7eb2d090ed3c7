"""The model registry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import attrgetter
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from mlmeta.schema.kind import MODEL_GROUP, Int64, Kind, Record, SortedMap, Workspace

IS_PROMPT = "mlflow.prompt.is_prompt"
"""The tag that makes a registered model and its versions a prompt."""
_OF_LOGGED_MODEL = re.compile(r"models:/(m-[^/]+)")


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
    """A registered model (or prompt) with all its versions. `aliases` maps an alias to a version number.

    Its name is the only one of its kind within its workspace.
    """

    left_out: ClassVar[tuple[str, ...]] = ("workspace",)

    name: str
    workspace: Workspace = None
    creation_timestamp: Int64 | None = None
    last_updated_timestamp: Int64 | None = None
    description: str | None = None
    tags: SortedMap[str] = {}
    aliases: SortedMap[Int64] = {}
    versions: Annotated[tuple[ModelVersion, ...], AfterValidator(_by_number)] = ()


def model_title(name: str, workspace: str | None) -> str:
    """A registered model among those of all workspaces: MLflow's names have no slash."""
    return f"{workspace}/{name}" if workspace else name


def model_place(workspace: str | None, name: str) -> tuple[str, str]:
    """Sort key of registered models: those of the default workspace first."""
    return workspace or "", name


def _needs(version: ModelVersion) -> Iterator[tuple[str, str | None]]:
    """The run and the logged model that a version is of; a database has no column for the latter."""
    yield "runs", version.run_id
    named = _OF_LOGGED_MODEL.match(version.source or "")
    yield "logged_models", version.model_id or (named.group(1) if named else None)


MODEL_VERSIONS = Kind(
    "model_versions",
    ModelVersion,
    one="model version",
    many="model versions",
    key=lambda version: f"version {version.version}",
    order=attrgetter("version"),
    groups=(MODEL_GROUP,),
    needs=_needs,
    locations=("source", "storage_location"),
    unshown=("storage_location",),
    unsettable=(
        "creation_timestamp",
        "last_updated_timestamp",
        "user_id",
        "status",
        "status_message",
        "model_id",
        "storage_location",
    ),
    untabled=("model_id",),
)
MODELS = Kind(
    "models",
    RegisteredModel,
    one="registered model",
    many="registered models",
    key=lambda model: model_title(model.name, model.workspace),
    order=lambda model: model_place(model.workspace, model.name),
    groups=(MODEL_GROUP,),
    workspace=attrgetter("workspace"),
    runs=lambda model: (version.run_id for version in model.versions),
    parts={"versions": MODEL_VERSIONS},
    counts=(("models", lambda _: 1), ("model_versions", lambda model: len(model.versions))),
    unsettable=("creation_timestamp", "last_updated_timestamp"),
)
