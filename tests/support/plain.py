"""A store's content without the ids that a server gives: what has to be equal after a restore.

Independent of the comparison that mlmeta itself makes.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from mlmeta.schema import Experiment, MetricHistory, RegisteredModel, Run
from tests.support.reading import stored

Plain = dict[str, Any]


def plain(uri: str) -> Plain:
    """Experiments by name, runs by name (which has to be unique), histories by run and key, models by name."""
    items = stored(uri)
    runs = {item.run_id: item for item in items if isinstance(item, Run)}
    experiments = {item.experiment_id: item for item in items if isinstance(item, Experiment)}
    assert len({run.run_name for run in runs.values()}) == len(runs), "a run is there twice"
    found: Plain = {
        "experiments": {e.name: (e.artifact_location, e.lifecycle_stage, _kept(e.tags)) for e in experiments.values()},
        "runs": {run.run_name: _run(run, runs, experiments) for run in runs.values()},
        "histories": {},
        "models": {item.name: _model(item, runs) for item in items if isinstance(item, RegisteredModel)},
    }
    for item in items:
        if isinstance(item, MetricHistory):
            points = found["histories"].setdefault((runs[item.run_id].run_name, item.key), [])
            points += [repr(point) for point in item.points()]
    return found


def _kept(tags: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if not key.startswith("mlmeta.")}


def _run(run: Run, runs: dict[str, Run], experiments: dict[str, Experiment]) -> Plain:
    tags = _kept(run.tags)
    if parent := tags.get("mlflow.parentRunId"):
        tags["mlflow.parentRunId"] = runs[parent].run_name if parent in runs else f"not there: {parent}"
    return {
        "experiment": experiments[run.experiment_id].name,
        "tags": tags,
        "metrics": {key: repr(metric) for key, metric in run.metrics.items()},
        **run.model_dump(include={"user_id", "status", "lifecycle_stage", "start_time", "end_time", "params"}),
        "inputs": [i.to_line() for i in run.dataset_inputs],
    }


def _model(model: RegisteredModel, runs: dict[str, Run]) -> Plain:
    versions = {}
    for version in model.versions:
        run = runs.get(version.run_id or "")
        versions[version.version] = {
            **version.model_dump(include={"current_stage", "description", "source", "run_link"}),
            "run": run.run_name if run else version.run_id,
            "tags": _kept(version.tags),
        }
    return {"description": model.description, "tags": _kept(model.tags), "aliases": model.aliases, "versions": versions}


def rows(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of a database, table by table: to see that nothing was written."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(db.execute(f'SELECT * FROM "{name}"'), key=repr) for name in names}
