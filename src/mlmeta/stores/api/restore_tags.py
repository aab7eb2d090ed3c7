"""The tags by which a restore finds its own work again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from mlmeta.schema import EvaluationDataset, Experiment, LoggedModel, ModelVersion, RegisteredModel

PREFIX = "mlmeta."
SOURCE_RUN_ID = "mlmeta.source_run_id"
SOURCE_EXPERIMENT_ID = "mlmeta.source_experiment_id"
SOURCE_ARTIFACT_URI = "mlmeta.source_artifact_uri"
SOURCE_ARTIFACT_LOCATION = "mlmeta.source_artifact_location"
"""On a trace of a server that gives it a place of its own for files: the one in the snapshot."""
SOURCE_MODEL_ID = "mlmeta.source_model_id"
"""On a logged model: its id in the snapshot."""
SOURCE_DATASET_ID = "mlmeta.source_dataset_id"
"""On an evaluation dataset: its id in the snapshot, as names are not unique."""
SOURCE_URI = "mlmeta.source_uri"
"""On a model version whose source had to be re-pointed: what it was."""
SNAPSHOT = "mlmeta.snapshot"
"""On a run: it is complete, and from this snapshot. On experiments and models: they were created from it."""
VERSION = "mlmeta.version"
"""On a model version: the number it is for. Under another number it is a gap's filler, to be deleted."""
VERSIONS = "mlmeta.versions"
"""On a registered model: a restore is filling it (see `filling`), or up to which number it has versions (`filled`)."""
TO_DELETE = "mlmeta.to_delete"
"""On an experiment: the snapshot with this timestamp has it deleted, so the restore deletes it last."""

Tagged = TypeVar("Tagged", EvaluationDataset, Experiment, LoggedModel, RegisteredModel, ModelVersion)


def with_those_of(found: Tagged, own: Tagged) -> Tagged:
    """A record with the further tags of the target's: they don't count, for a restore adds and never removes."""
    return own.model_copy(update={"tags": dict(sorted({**found.tags, **own.tags}.items()))})


def without(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags without those of an earlier restore."""
    return {key: value for key, value in tags.items() if not key.startswith(PREFIX)}


def filling(timestamp: str) -> str:
    """What `VERSIONS` says while a restore of that snapshot makes versions: what it left behind is to be removed."""
    return f"filling {timestamp}"


def filled(highest: int, moment: int) -> str:
    """What `VERSIONS` says afterwards: the highest number ever given, and the model's time of change by then."""
    return f"{highest} {moment}"
