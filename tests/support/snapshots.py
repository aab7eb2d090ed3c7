"""Snapshots made by hand, of any records."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlmeta.schema import (
    Experiment,
    LoggedModel,
    MetricHistory,
    ModelVersion,
    Record,
    RegisteredModel,
    Run,
    Summary,
    experiment_order,
    run_order,
)
from mlmeta.snapshot.writer import SnapshotWriter, utc_now
from mlmeta.storage import LocalStorage

BUCKET = "gs://source/artifacts"


def write(folder: Path, records: Iterable[Record], **more: object) -> str:
    """Write records as a snapshot, sorted first, with `more` in its summary; its timestamp."""
    summary = Summary(backup_timestamp="", backup_date="", mlflow_uri="http://source", stats={}, files={}, note="")
    summary = summary.model_copy(update=more)
    with SnapshotWriter([LocalStorage(folder)], utc_now()) as writer:
        for record in in_order(list(records)):
            writer.add(record)
        return writer.commit(summary).summary.backup_timestamp


def in_order(records: list[Record]) -> Iterable[Record]:
    yield from sorted(
        (r for r in records if isinstance(r, Experiment)), key=lambda e: experiment_order(e.experiment_id)
    )
    for run in sorted(
        (r for r in records if isinstance(r, Run)), key=lambda r: (experiment_order(r.experiment_id), run_order(r))
    ):
        yield run
        histories = (h for h in records if isinstance(h, MetricHistory) and h.run_id == run.run_id)
        yield from sorted(histories, key=lambda h: h.key)
    yield from sorted((r for r in records if isinstance(r, LoggedModel)), key=lambda m: (m.experiment_id, m.model_id))
    yield from sorted((r for r in records if isinstance(r, RegisteredModel)), key=lambda m: m.name)


def experiment(experiment_id: str = "1", name: str = "made", **more: object) -> Experiment:
    return Experiment.model_validate(
        {"experiment_id": experiment_id, "name": name, "artifact_location": f"{BUCKET}/{experiment_id}", **more}
    )


def run(run_id: str = "a" * 32, experiment_id: str = "1", **more: object) -> Run:
    return Run.model_validate(
        {
            "run_id": run_id,
            "experiment_id": experiment_id,
            "run_name": f"run-{run_id[:1]}",
            "user_id": "ada",
            "status": "FINISHED",
            "start_time": 1_700_000_000_000,
            "end_time": 1_700_000_001_000,
            "artifact_uri": f"{BUCKET}/{experiment_id}/{run_id}/artifacts",
            "tags": {"mlflow.runName": f"run-{run_id[:1]}", "mlflow.user": "ada"},
            **more,
        }
    )


def model(*versions: ModelVersion, name: str = "made-model", **more: object) -> RegisteredModel:
    return RegisteredModel.model_validate({"name": name, "versions": versions, **more})


def version(number: int = 1, **more: object) -> ModelVersion:
    return ModelVersion.model_validate(
        {"version": number, "source": f"{BUCKET}/v{number}", "current_stage": "None", "status": "READY", **more}
    )
