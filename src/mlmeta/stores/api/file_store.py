"""A file store (`./mlruns`): each thing by itself, as MLflow's own code raises for all where one is odd.

Experiments, runs and histories are read from their files, in MLflow's format (`store/tracking/file_store.py`, 1.x to
3.x); datasets, logged models and registered models by MLflow, once nothing below their folder leads elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mlmeta.redaction import cut
from mlmeta.schema import (
    Experiment,
    LatestMetric,
    LoggedModel,
    Point,
    RegisteredModel,
    Run,
    Skipped,
    logged_model_order,
    run_order,
)
from mlmeta.stores.address import folder_of
from mlmeta.stores.api import entities as convert
from mlmeta.stores.api.connection import Connection, unreadable
from mlmeta.stores.api.folders import META, OddFileError, files_below, folders_in, meta_of, must_be_plain, text_of

_OWN = {"models", "traces", ".trash", "datasets", "tags"}
"""Folders of a file store that are neither experiments nor runs (MLflow 3.17, `store/tracking/file_store.py`)."""
_ARTIFACTS = frozenset({"artifacts"})
_PARTS = ("metrics", "params", "tags")
_HEX = set("0123456789abcdef")


class FileStore:
    """Reads a file store.

    Args:
        connection: to it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._root = folder_of(connection.uri)

    def experiments(self) -> Iterator[Experiment | Skipped]:
        """All experiments, deleted ones included; what is not one is named."""
        for folder in (*folders_in(self._root), *folders_in(self._root / ".trash")):
            if folder.name not in _OWN:
                odd: list[Skipped] = []
                kind = "experiment" if _seems_experiment(folder) else "folder"
                yield self._read(kind, folder.name, lambda f=folder, o=odd: _experiment(f, o))  # type: ignore[misc]
                yield from odd

    def runs(self, experiment_id: str) -> Iterator[Run | Skipped]:
        """The runs of an experiment, in order; what can't be read comes first, by parts where the run itself can be."""
        runs: list[Run] = []
        for folder in folders_in(self._folder(experiment_id)):
            if folder.name in _OWN:
                continue
            odd: list[Skipped] = []
            kind = "run" if _seems_run(folder) else "folder"
            found = self._read(kind, folder.name, lambda f=folder, o=odd: self._run(f, experiment_id, o))  # type: ignore[misc]
            yield from odd
            if isinstance(found, Run):
                runs.append(found)
            else:
                yield found
        yield from sorted(runs, key=run_order)

    def history(self, run_id: str, key: str) -> list[Point]:
        """All points of a metric, as the file has them.

        Raises:
            OddFileError: there is no such file, or it can't be read.
        """
        for experiment in (*folders_in(self._root), *folders_in(self._root / ".trash")):
            folder = experiment / run_id
            if not experiment.is_symlink() and folder.is_dir() and not folder.is_symlink():
                return _points(folder / "metrics" / key)
        raise OddFileError("it is gone")

    def logged_models(self, experiment_id: str) -> Iterator[LoggedModel | Skipped]:
        """The logged models of an experiment, in order; deleted ones are not shown, as by any API."""
        models = []
        for folder in folders_in(self._folder(experiment_id) / "models"):
            found = self._read("logged models", folder.name, lambda f=folder: self._logged_model(f))  # type: ignore[misc]
            if isinstance(found, Skipped):
                yield found
            elif found is not None:
                models.append(found)
        yield from sorted(models, key=logged_model_order)

    def registered_models(self) -> Iterator[RegisteredModel | Skipped]:
        """All registered models, by name."""
        for folder in folders_in(self._root / "models"):
            yield self._read("registered model", folder.name, lambda f=folder: self._registered_model(f))  # type: ignore[misc]

    def traces(self, experiment_ids: Iterable[str]) -> list[Path]:
        """Folders of traces of these experiments."""
        return [path for experiment_id in experiment_ids for path in folders_in(self._folder(experiment_id) / "traces")]

    def _folder(self, experiment_id: str) -> Path:
        active = self._root / experiment_id
        return active if active.is_dir() else self._root / ".trash" / experiment_id

    def _read(self, kind: str, identifier: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except unreadable() as error:
            return Skipped(kind=kind, id=identifier, reason=self._connection.reason(error))

    def _run(self, folder: Path, experiment_id: str, odd: list[Skipped]) -> Run:
        _must_be_folder(folder)
        meta = meta_of(folder)
        run_id = meta.get("run_id") or meta.get("run_uuid")
        if (run_id, str(meta.get("experiment_id"))) != (folder.name, experiment_id):
            raise OddFileError(f"its {META} is of run {run_id} of experiment {meta.get('experiment_id')}")

        def parts(kind: str, name: str, read: Callable[[Path], Any]) -> dict[str, Any]:
            return _parts_of(folder, name, lambda key, why: odd.append(_odd(kind, f"{run_id}/{key}", why)), read)

        tags = parts("run tag", "tags", text_of)
        return Run(
            run_id=run_id,
            experiment_id=experiment_id,
            run_name=meta.get("run_name") or tags.get("mlflow.runName") or None,
            user_id=meta.get("user_id") or None,
            status=_status(meta.get("status")),
            lifecycle_stage=convert.stage(meta.get("lifecycle_stage")),
            start_time=meta.get("start_time"),
            end_time=meta.get("end_time"),
            artifact_uri=meta.get("artifact_uri") or None,
            params=parts("run param", "params", text_of),
            tags=tags,
            metrics=parts("metric history", "metrics", _latest),
            **self._used(folder, experiment_id, odd),
        )

    def _used(self, folder: Path, experiment_id: str, odd: list[Skipped]) -> dict[str, Any]:
        """What a run used and made: read by MLflow."""
        used: dict[str, Any] = {}
        run = SimpleNamespace(experiment_id=experiment_id, run_id=folder.name)
        ways = {
            "inputs": ("_get_all_inputs", "dataset_inputs", convert.dataset_input),
            "outputs": ("_get_all_outputs", "model_outputs", convert.model_output),
        }
        for name, (method, field, record) in ways.items():
            if not folders_in(folder / name) or not hasattr(self._connection.tracking, method):
                continue
            try:
                must_be_plain(folder / name)
                must_be_plain(folder.parent / "datasets")
                found = getattr(getattr(self._connection.tracking, method)(run), field)
                used[field] = tuple(map(record, found))
            except unreadable() as error:
                odd.append(_odd(f"run {name}", folder.name, self._connection.reason(error)))
        return used

    def _logged_model(self, folder: Path) -> LoggedModel | None:
        must_be_plain(folder, but=_ARTIFACTS)
        if meta_of(folder).get("lifecycle_stage") == "deleted":
            return None
        return convert.logged_model(self._connection.client.get_logged_model(folder.name))

    def _registered_model(self, folder: Path) -> RegisteredModel:
        must_be_plain(folder)
        meta_of(folder)
        registry = self._connection.registry
        numbers = [
            path.name.removeprefix("version-") for path in folders_in(folder) if path.name.startswith("version-")
        ]
        versions = (convert.model_version(registry.get_model_version(folder.name, number)) for number in numbers)
        ordered = sorted(versions, key=lambda version: version.version)
        return convert.registered_model(registry.get_registered_model(folder.name), tuple(ordered))


def _experiment(folder: Path, odd: list[Skipped]) -> Experiment:
    _must_be_folder(folder)
    meta = meta_of(folder)
    if str(meta.get("experiment_id")) != folder.name:
        raise OddFileError(f"its {META} is of experiment {meta.get('experiment_id')}")
    return Experiment(
        experiment_id=folder.name,
        name=meta["name"],
        artifact_location=meta.get("artifact_location") or None,
        lifecycle_stage=convert.stage(meta.get("lifecycle_stage")),
        creation_time=meta.get("creation_time"),
        last_update_time=meta.get("last_update_time"),
        tags=_parts_of(
            folder, "tags", lambda key, why: odd.append(_odd("experiment tag", f"{folder.name}/{key}", why)), text_of
        ),
    )


def _must_be_folder(folder: Path) -> None:
    if folder.is_symlink():
        raise OddFileError("it is a link, which is not followed")


def _parts_of(folder: Path, name: str, odd: Callable[[str, str], Any], read: Callable[[Path], Any]) -> dict[str, Any]:
    """What the files below a folder say, by their path; `odd` is told of the others."""
    found = {}
    for path in files_below(folder / name):
        key = path.relative_to(folder / name).as_posix()
        try:
            key.encode()
            found[key] = read(path)
        except (ValueError, OSError) as error:
            odd(key, str(error))
    return found


def _odd(kind: str, identifier: str, reason: str) -> Skipped:
    return Skipped(kind=kind, id=identifier.encode(errors="backslashreplace").decode(), reason=reason)


def _points(path: Path) -> list[Point]:
    return [_point(line) for line in text_of(path, most=None).splitlines()]


def _point(line: str) -> Point:
    """Of a line with time, value and step; the oldest have no step, and those with a dataset's name show none."""
    parts = line.strip().split(" ")
    try:
        if len(parts) in {2, 3, 5}:
            return int(parts[2]) if len(parts) == 3 else 0, int(parts[0]), float(parts[1])
    except ValueError:
        pass
    raise OddFileError(f"it has a line that is not one of a metric: {cut(line, 60)!r}")


def _latest(path: Path) -> LatestMetric:
    points = _points(path)
    if not points:
        raise OddFileError("its file is empty")
    step, timestamp, value = max(points)
    return LatestMetric(value=value, step=step, timestamp=timestamp)


def _status(number: Any) -> str:
    from mlflow.entities import RunStatus

    names = {getattr(RunStatus, name): name for name in ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")}
    if number is None:
        return "RUNNING"  # as MLflow reads it
    if number not in names:
        raise OddFileError(f"its status is {number!r}")
    return names[number]


def _seems_experiment(folder: Path) -> bool:
    return folder.name.isdigit() or (folder / META).exists() or any((f / META).exists() for f in folders_in(folder))


def _seems_run(folder: Path) -> bool:
    is_named = len(folder.name) == 32 and set(folder.name) <= _HEX
    return is_named or (folder / META).exists() or any((folder / part).is_dir() for part in _PARTS)
