"""`mlmeta show`: a snapshot as a whole, and its models. No server is needed."""

from __future__ import annotations

from collections import Counter

from mlmeta.commands.shown import ExperimentRow, ModelList, Overview, where
from mlmeta.schema import EXPERIMENTS, MODELS, RUNS
from mlmeta.stores.opening import open_snapshot


def overview(selector: str = "latest", storage: str = "backups", *, of_source: str = "") -> Overview:
    """A snapshot as a whole: where it is from, and its experiments.

    Args:
        selector: which snapshot: see `snapshot.selector.select`.
        storage: where it is.
        of_source: label or tracking URI of the source that is meant, where the storage has several.

    Raises:
        SnapshotNotFoundError: there is no such snapshot.
        DamagedSnapshotError: it can't be trusted.
    """
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    runs: Counter[str] = Counter()
    deleted: Counter[str] = Counter()
    latest: dict[str, int] = {}
    for run in snapshot.records(RUNS):
        runs[run.experiment_id] += 1
        deleted[run.experiment_id] += run.lifecycle_stage == "deleted"
        if run.start_time is not None:
            latest[run.experiment_id] = max(run.start_time, latest.get(run.experiment_id, run.start_time))
    rows = tuple(
        ExperimentRow(
            experiment=e,
            runs=runs[e.experiment_id],
            deleted_runs=deleted[e.experiment_id],
            latest=latest.get(e.experiment_id),
        )
        for e in snapshot.records(EXPERIMENTS)
    )
    summary, shown = snapshot.summary, where(snapshot)
    return Overview(
        **{**shown, "warnings": (*shown["warnings"], *summary.warnings)},
        source=summary.mlflow_uri,
        source_id=summary.source_id,
        label=summary.label,
        source_kind=summary.source_kind,
        date=summary.backup_date,
        schema_version=summary.schema_version,
        mlflow_server_version=summary.mlflow_server_version,
        point_in_time=summary.point_in_time,
        stats=summary.stats,
        size=sum(entry.bytes for entry in summary.files.values()),
        experiments=rows,
        skipped=summary.skipped,
        note=summary.note,
    )


def models(selector: str = "latest", storage: str = "backups", *, of_source: str = "") -> ModelList:
    """The registered models with their versions, stages and aliases."""
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    return ModelList(**where(snapshot), models=tuple(snapshot.records(MODELS)))
