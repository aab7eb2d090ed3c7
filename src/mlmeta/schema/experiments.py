"""Experiments."""

from __future__ import annotations

from operator import attrgetter

from mlmeta.schema.base import Int64, Record, SortedMap
from mlmeta.schema.kind import DATASET_GROUP, RUN_GROUP, SETTING_GROUP, TRACE_GROUP, Kind


class Experiment(Record):
    """An MLflow experiment. Times are milliseconds since the epoch; MLflow 1.x stores have none."""

    experiment_id: str
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


EXPERIMENTS = Kind(
    "experiments",
    Experiment,
    one="experiment",
    many="experiments",
    key=attrgetter("experiment_id"),
    order=lambda experiment: experiment_order(experiment.experiment_id),
    title=attrgetter("name"),
    found_by=attrgetter("name"),
    has_id=True,
    groups=(RUN_GROUP, TRACE_GROUP, DATASET_GROUP, SETTING_GROUP),
    experiment=attrgetter("experiment_id"),
    pieces=("experiment tag",),
    locations=("artifact_location",),
    unsettable=("creation_time", "last_update_time"),
)
