"""Snapshots of the script that mlmeta replaces.

Its files are plain `json.dump` output (NaN and Infinity stand bare) without a schema version or checksums;
metrics and params are plain maps; there are no tags of experiments, no histories, no aliases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from mlmeta.schema import (
    EXPERIMENTS,
    KINDS,
    MODELS,
    RUNS,
    Experiment,
    FileEntry,
    Record,
    RegisteredModel,
    Run,
    Summary,
)
from mlmeta.snapshot import bounds
from mlmeta.snapshot.layout import SUMMARY, FileSet, file_name
from mlmeta.snapshot.records import damaged

SCHEMA = "legacy"
_MOST = (1 << 63) - 1
FILES = (EXPERIMENTS.name, RUNS.name, MODELS.name)


def is_legacy(summary: Summary) -> bool:
    """Whether the snapshot was written by the older script."""
    return summary.schema_version == SCHEMA


def summary(fields: dict[str, Any], files: FileSet) -> Summary:
    """A summary from what the older script wrote.

    Raises:
        DamagedSnapshotError: it is the summary of another snapshot, or of none.
    """
    stats = fields.get("stats")
    if fields.get("backup_timestamp") != files.timestamp or not isinstance(stats, dict):
        raise damaged(file_name(SUMMARY, files.timestamp), None, "it is not the summary of this snapshot")
    counts = {k: v for k, v in stats.items() if isinstance(v, int) and 0 <= v <= _MOST}
    return Summary(
        schema_version=SCHEMA,
        backup_timestamp=files.timestamp,
        backup_date=str(fields.get("backup_date", "")),
        mlflow_uri=str(fields.get("mlflow_uri", "")),
        note=str(fields.get("note", "")),
        stats=counts,
        files={kind: _entry(kind, files, counts.get(kind, 0)) for kind in FILES},
        source_kind="",
    )


def _entry(kind: str, files: FileSet, records: int) -> FileEntry:
    """A file that is missing has an entry as well, so that reading it fails instead of giving nothing."""
    stored = files.files.get(kind)
    name = stored.name if stored else file_name(kind, files.timestamp)
    return FileEntry(name=name, bytes=stored.size if stored else 0, records=records, sha256="")


def read(content: bytes, kind: str, name: str) -> list[Record]:
    """The records of one of its data files, in today's order.

    Raises:
        DamagedSnapshotError: the file is not what the script wrote.
    """
    if why := bounds.excess(content, bounds.LEGACY, bounds.LEGACY_VALUES):
        raise damaged(name, None, why)
    try:
        array = from_json(content)
    except ValueError as error:
        raise damaged(name, None, f"it is not JSON ({error})") from error
    if not isinstance(array, list) or not all(isinstance(item, dict) for item in array):
        raise damaged(name, None, "it is not an array of objects")
    return sorted(_converted(array, _CONVERTERS[kind], name), key=KINDS[kind].order)


def _converted(array: list[dict[str, Any]], convert: Callable[[dict[str, Any]], Record], name: str) -> Iterable[Record]:
    for number, item in enumerate(array, start=1):
        try:
            yield convert(_without_empty(item))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise damaged(name, None, f"record {number}, {where}: {first['msg']}") from error
        except _MalformedError as error:
            raise damaged(name, None, f"record {number}, {error}") from error


class _MalformedError(Exception):
    """A part of a record is not of the type it should be."""


def _without_empty(item: dict[str, Any]) -> dict[str, Any]:
    """Empty texts as missing ones, which today's records don't tell apart: see `stores.api.entities`."""
    return {key: None if value == "" else value for key, value in item.items()}


def _map(item: dict[str, Any], key: str) -> dict[str, Any]:
    value = item.get(key) or {}
    if not isinstance(value, dict):
        raise _MalformedError(f"{key}: it is not an object")
    return value


def _versions(item: dict[str, Any]) -> list[dict[str, Any]]:
    value = item.get("versions") or []
    if not isinstance(value, list) or not all(isinstance(version, dict) for version in value):
        raise _MalformedError("versions: it is not an array of objects")
    return value


def _experiment(item: dict[str, Any]) -> Record:
    return Experiment.model_validate(item)


def _run(item: dict[str, Any]) -> Record:
    metrics = {key: {"value": value} for key, value in _map(item, "metrics").items() if value is not None}
    tags = _map(item, "tags")
    return Run.model_validate(
        {
            **item,
            "metrics": metrics,
            "params": _map(item, "params"),
            "tags": tags,
            "run_name": tags.get("mlflow.runName"),
            "user_id": tags.get("mlflow.user"),
        }
    )


def _model(item: dict[str, Any]) -> Record:
    versions = [{**_without_empty(v), "current_stage": v.get("stage")} for v in _versions(item)]
    return RegisteredModel.model_validate({**item, "versions": versions})


_CONVERTERS = {EXPERIMENTS.name: _experiment, RUNS.name: _run, MODELS.name: _model}
