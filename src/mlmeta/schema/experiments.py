"""Experiments."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, ClassVar

from mlmeta.schema.kind import (
    DATASET_GROUP,
    RUN_GROUP,
    SETTING_GROUP,
    TRACE_GROUP,
    Int64,
    Kind,
    R,
    Record,
    SortedMap,
    Workspace,
)


class Experiment(Record):
    """An MLflow experiment. Times are milliseconds since the epoch; MLflow 1.x stores have none.

    Its name is the only one of its kind within its workspace.
    """

    left_out: ClassVar[tuple[str, ...]] = ("workspace",)

    experiment_id: str
    workspace: Workspace = None
    name: str
    artifact_location: str | None = None
    lifecycle_stage: str = "active"
    creation_time: Int64 | None = None
    last_update_time: Int64 | None = None
    tags: SortedMap[str] = {}


def experiment_order(experiment_id: str) -> tuple[int, int, str]:
    """Sort key of experiment ids: numbers by value (below 0: made by hand), then anything else by code point."""
    if experiment_id.isascii() and experiment_id.removeprefix("-").isdigit():
        return (0, int(experiment_id), experiment_id)
    return (1, 0, experiment_id)


def experiment_title(name: str, workspace: str | None) -> str:
    """What a message calls an experiment: by its name, which may hold any character, and by its workspace."""
    return f"{name} (workspace {workspace})" if workspace else name


def renumbered(kind: Kind[R], record: R, numbers: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a record that name experiments, with other ids.

    Args:
        kind: of the record.
        record: itself.
        numbers: ids of experiments, each with the other one; those that are missing stay.
    """
    if kind.experiment is not None:
        own = kind.experiment(record)
        return {"experiment_id": numbers[own]} if own in numbers else {}
    if kind.experiments:
        before = getattr(record, kind.experiments)
        return {kind.experiments: tuple(sorted({numbers.get(one, one) for one in before}, key=experiment_order))}
    return {}


EXPERIMENTS = Kind(
    "experiments",
    Experiment,
    one="experiment",
    many="experiments",
    key=attrgetter("experiment_id"),
    order=lambda experiment: experiment_order(experiment.experiment_id),
    title=lambda experiment: experiment_title(experiment.name, experiment.workspace),
    found_by=lambda experiment: experiment_title(experiment.name, experiment.workspace),
    has_id=True,
    groups=(RUN_GROUP, TRACE_GROUP, DATASET_GROUP, SETTING_GROUP),
    workspace=attrgetter("workspace"),
    experiment=attrgetter("experiment_id"),
    pieces=("experiment tag",),
    locations=("artifact_location",),
    unsettable=("creation_time", "last_update_time"),
)
