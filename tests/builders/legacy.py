"""Snapshots as the script wrote them that mlmeta replaces: plain `json.dump`, no schema version."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

TIMESTAMP = "20240301_101500"

EXPERIMENTS = [
    {
        "experiment_id": "10",
        "name": "old-churn",
        "artifact_location": "gs://bucket/10",
        "lifecycle_stage": "active",
        "creation_time": 1_700_000_000_000,
        "last_update_time": 1_700_000_000_001,
    },
    {
        "experiment_id": "9",
        "name": "old-empty",
        "artifact_location": "gs://bucket/9",
        "lifecycle_stage": "active",
        "creation_time": None,
        "last_update_time": None,
    },
]
RUNS = [
    {
        "run_id": "b" * 32,
        "experiment_id": "10",
        "experiment_name": "old-churn",
        "status": "FINISHED",
        "start_time": 1_700_000_002_000,
        "end_time": 1_700_000_003_000,
        "metrics": {"auc": 0.75, "loss": math.nan, "big": math.inf},
        "params": {"lr": "0.1"},
        "tags": {"mlflow.runName": "second", "mlflow.user": "ada", "mlflow.parentRunId": "a" * 32},
        "artifact_uri": f"gs://bucket/10/{'b' * 32}/artifacts",
    },
    {
        "run_id": "a" * 32,
        "experiment_id": "10",
        "experiment_name": "old-churn",
        "status": "RUNNING",
        "start_time": 1_700_000_001_000,
        "end_time": None,
        "metrics": {},
        "params": {},
        "tags": {"mlflow.runName": "first"},
        "artifact_uri": f"gs://bucket/10/{'a' * 32}/artifacts",
    },
]
MODELS = [
    {
        "name": "old-model",
        "creation_timestamp": 1_700_000_004_000,
        "last_updated_timestamp": 1_700_000_004_001,
        "description": "",
        "versions": [
            {
                "version": "3",
                "stage": "Production",
                "description": "third",
                "creation_timestamp": 1_700_000_005_000,
                "last_updated_timestamp": 1_700_000_005_001,
                "source": f"gs://bucket/10/{'b' * 32}/artifacts/model",
                "run_id": "b" * 32,
                "status": "READY",
            },
            {
                "version": 1,
                "stage": "None",
                "description": None,
                "creation_timestamp": 1_700_000_005_000,
                "last_updated_timestamp": 1_700_000_005_001,
                "source": "gs://bucket/elsewhere",
                "run_id": "",
                "status": "READY",
            },
        ],
    }
]


def write(folder: Path, *, nested: bool = False, **changed: Any) -> Path:
    """A legacy snapshot, flat or under its timestamp; `changed` replaces a kind's records.

    Returns:
        The folder that holds its files.
    """
    place = folder / TIMESTAMP if nested else folder
    place.mkdir(parents=True, exist_ok=True)
    content = {"experiments": EXPERIMENTS, "runs": RUNS, "models": MODELS, **changed}
    for kind, records in content.items():
        with (place / f"{kind}_{TIMESTAMP}.json").open("w") as file:
            json.dump(records, file, indent=2)
    summary = {
        "backup_timestamp": TIMESTAMP,
        "backup_date": "2024-03-01T11:15:00.123456",
        "mlflow_uri": "http://old-server:5000",
        "stats": {kind: len(records) for kind, records in content.items()},
        "files": {kind: f"backups/{kind}_{TIMESTAMP}.json" for kind in content},
        "note": "Artifacts are in the bucket.",
    }
    with (place / f"backup_summary_{TIMESTAMP}.json").open("w") as file:
        json.dump(summary, file, indent=2)
    return place
