"""A file store (`./mlruns`): each thing by itself, as MLflow's own code raises for all where one is odd.

Experiments, runs and histories are read from their files, in MLflow's format (`store/tracking/file_store.py`, 1.x to
3.x); datasets, logged models and registered models by MLflow, once nothing below their folder leads elsewhere. Links,
and what is not a plain file, are named, never opened.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from mlmeta.redaction import cut, in_brief
from mlmeta.schema import (
    EXPERIMENTS,
    LOGGED_MODELS,
    METRICS,
    MODELS,
    RUNS,
    Experiment,
    LatestMetric,
    LoggedModel,
    Point,
    Record,
    RegisteredModel,
    Run,
    Skipped,
    logged_model_order,
    run_order,
)
from mlmeta.stores.address import folder_of
from mlmeta.stores.api import entities as convert
from mlmeta.stores.api.connection import Connection

_META = "meta.yaml"
_MOST_BYTES = 32 * 1024 * 1024
"""Of a param, a tag or a meta.yaml."""
_OWN = {"models", "traces", ".trash", "datasets", "tags"}
"""Folders of a file store that are neither experiments nor runs (MLflow 3.17, `store/tracking/file_store.py`)."""
_ARTIFACTS = frozenset({"artifacts"})
_PARTS = ("metrics", "params", "tags")
_HEX = set("0123456789abcdef")
_USED_AND_MADE = {
    "inputs": ("_get_all_inputs", "dataset_inputs", convert.dataset_input),
    "outputs": ("_get_all_outputs", "model_outputs", convert.model_output),
}
"""What a run used and made, by its folder: the store's method that reads it, the field, and what makes a record."""
T = TypeVar("T")


class OddFileError(ValueError):
    """A file of a store that can't be read, or must not be."""


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
        for folder in self._experiment_folders():
            if folder.name not in _OWN:
                skipped: list[Skipped] = []
                kind = EXPERIMENTS.one if _seems_experiment(folder) else "folder"
                yield self._connection.read_or_skip(kind, folder.name, partial(_experiment, folder, skipped))
                yield from skipped

    def runs(self, experiment_id: str) -> Iterator[Run | Skipped]:
        """The runs of an experiment, in order; what can't be read comes first, by parts where the run itself can be."""
        runs: list[Run] = []
        for folder in _folders_in(self._folder(experiment_id)):
            if folder.name not in _OWN:
                skipped: list[Skipped] = []
                kind = RUNS.one if _seems_run(folder) else "folder"
                read = partial(self._run, folder, experiment_id, skipped)
                found = self._connection.read_or_skip(kind, folder.name, read)
                yield from skipped
                if isinstance(found, Skipped):
                    yield found
                else:
                    runs.append(found)
        yield from sorted(runs, key=run_order)

    def history(self, run_id: str, key: str) -> list[Point]:
        """All points of a metric, as the file has them.

        Raises:
            OddFileError: there is no such file, or it can't be read.
        """
        for experiment in self._experiment_folders():
            folder = experiment / run_id
            if not experiment.is_symlink() and folder.is_dir() and not folder.is_symlink():
                return _points(folder / "metrics" / key)
        raise OddFileError("it is gone")

    def logged_models(self, experiment_id: str) -> Iterator[LoggedModel | Skipped]:
        """The logged models of an experiment, in order; deleted ones are not shown, as by any API."""
        models: list[LoggedModel] = []
        for folder in _folders_in(self._folder(experiment_id) / "models"):
            read = partial(self._logged_model, folder)
            found = self._connection.read_or_skip(LOGGED_MODELS.many, folder.name, read)
            if isinstance(found, Skipped):
                yield found
            elif found is not None:
                models.append(found)
        yield from sorted(models, key=logged_model_order)

    def registered_models(self) -> Iterator[RegisteredModel | Skipped]:
        """All registered models, by name."""
        for folder in _folders_in(self._root / "models"):
            yield self._connection.read_or_skip(MODELS.one, folder.name, partial(self._registered_model, folder))

    def traces(self, experiment_ids: Iterable[str]) -> list[Path]:
        """Folders of traces of these experiments."""
        folders = (self._folder(experiment_id) / "traces" for experiment_id in experiment_ids)
        return list(itertools.chain.from_iterable(map(_folders_in, folders)))

    def _experiment_folders(self) -> list[Path]:
        return [*_folders_in(self._root), *_folders_in(self._root / ".trash")]

    def _folder(self, experiment_id: str) -> Path:
        active = self._root / experiment_id
        return active if active.is_dir() else self._root / ".trash" / experiment_id

    def _run(self, folder: Path, experiment_id: str, skipped: list[Skipped]) -> Run:
        _must_be_no_link(folder)
        meta = _meta_of(folder)
        run_id = meta.get("run_id") or meta.get("run_uuid")
        if (run_id, str(meta.get("experiment_id"))) != (folder.name, experiment_id):
            raise OddFileError(f"its {_META} is of run {run_id} of experiment {meta.get('experiment_id')}")
        tags = _parts("run tag", folder / "tags", _text_of, skipped)
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
            params=_parts("run param", folder / "params", _text_of, skipped),
            tags=tags,
            metrics=_parts(METRICS.one, folder / "metrics", _latest, skipped),
            **self._inputs_and_outputs(folder, experiment_id, skipped),
        )

    def _inputs_and_outputs(self, folder: Path, experiment_id: str, skipped: list[Skipped]) -> dict[str, Any]:
        """What a run used and made: read by MLflow."""
        found = {}
        run = SimpleNamespace(experiment_id=experiment_id, run_id=folder.name)
        for name, (method, field, record) in _USED_AND_MADE.items():
            ask = getattr(self._connection.tracking, method, None)
            if ask is not None and _folders_in(folder / name):
                read = partial(_used, folder / name, partial(ask, run), field, record)
                records = self._connection.read_or_skip(f"run {name}", folder.name, read)
                if isinstance(records, Skipped):
                    skipped.append(records)
                else:
                    found[field] = records
        return found

    def _logged_model(self, folder: Path) -> LoggedModel | None:
        _must_be_plain(folder, but=_ARTIFACTS)
        if _meta_of(folder).get("lifecycle_stage") == "deleted":
            return None
        return convert.logged_model(self._connection.client.get_logged_model(folder.name))

    def _registered_model(self, folder: Path) -> RegisteredModel:
        _must_be_plain(folder)
        _meta_of(folder)
        registry = self._connection.registry
        numbers = [
            path.name.removeprefix("version-") for path in _folders_in(folder) if path.name.startswith("version-")
        ]
        versions = (convert.model_version(registry.get_model_version(folder.name, number)) for number in numbers)
        ordered = sorted(versions, key=lambda version: version.version)
        return convert.registered_model(registry.get_registered_model(folder.name), tuple(ordered))


def _experiment(folder: Path, skipped: list[Skipped]) -> Experiment:
    _must_be_no_link(folder)
    meta = _meta_of(folder)
    if str(meta.get("experiment_id")) != folder.name:
        raise OddFileError(f"its {_META} is of experiment {meta.get('experiment_id')}")
    return Experiment(
        experiment_id=folder.name,
        name=meta["name"],
        artifact_location=meta.get("artifact_location") or None,
        lifecycle_stage=convert.stage(meta.get("lifecycle_stage")),
        creation_time=meta.get("creation_time"),
        last_update_time=meta.get("last_update_time"),
        tags=_parts("experiment tag", folder / "tags", _text_of, skipped),
    )


def _used(folder: Path, ask: Callable[[], Any], field: str, record: Callable[[Any], Record]) -> tuple[Record, ...]:
    _must_be_plain(folder)
    _must_be_plain(folder.parent.parent / "datasets")
    return tuple(map(record, getattr(ask(), field)))


def _parts(kind: str, folder: Path, read: Callable[[Path], T], skipped: list[Skipped]) -> dict[str, T]:
    """What the files below a folder of an experiment or a run say, by their path; `skipped` is told of the others."""
    found = {}
    for path in _files_below(folder):
        key = path.relative_to(folder).as_posix()
        try:
            key.encode()
            found[key] = read(path)
        except (ValueError, OSError) as error:
            identifier = f"{folder.parent.name}/{key}".encode(errors="backslashreplace").decode()
            skipped.append(Skipped(kind=kind, id=identifier, reason=str(error)))
    return found


def _points(path: Path) -> list[Point]:
    return [_point(line) for line in _text_of(path, most=None).splitlines()]


def _point(line: str) -> Point:
    """Of a line with time, value and step; the oldest have no step, and those with a dataset's name show none."""
    parts = line.strip().split(" ")
    try:
        if len(parts) in {2, 3, 5}:
            return int(parts[2]) if len(parts) == 3 else 0, int(parts[0]), float(parts[1])
    except ValueError:
        pass
    raise OddFileError(f"it has a line that is not a metric: {cut(line, 60)!r}")


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
    return folder.name.isdigit() or (folder / _META).exists() or any((f / _META).exists() for f in _folders_in(folder))


def _seems_run(folder: Path) -> bool:
    is_named = len(folder.name) == 32 and set(folder.name) <= _HEX
    return is_named or (folder / _META).exists() or any((folder / part).is_dir() for part in _PARTS)


def _text_of(path: Path, most: int | None = _MOST_BYTES) -> str:
    """A plain file's text.

    Raises:
        OddFileError: it is a link, a pipe, a device, too large, or no text.
        OSError: it can't be read.
    """
    if path.is_symlink():
        raise OddFileError(f"{path.name} is a link, which is not followed")
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OddFileError(f"{path.name} is not a plain file")
        content = file.read(-1 if most is None else most + 1)
    if most is not None and len(content) > most:
        raise OddFileError(f"{path.name} is larger than {most >> 20} MiB")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise OddFileError(f"{path.name} is not UTF-8") from error


def _meta_of(folder: Path) -> dict[str, Any]:
    """What the meta.yaml of an experiment or a run says.

    Raises:
        OddFileError: there is none, or it is cut.
        OSError: it can't be read.
    """
    import yaml  # type: ignore[import-untyped]

    if not os.path.lexists(folder / _META):
        raise OddFileError(f"it has no {_META}")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = yaml.load(_text_of(folder / _META, 1 << 20), loader)  # noqa: S506 - a safe one, in C
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise OddFileError(f"its {_META} can't be read: {in_brief(str(error), 200)}") from error
    if not isinstance(found, dict):
        raise OddFileError(f"its {_META} is empty or cut")
    return found


def _folders_in(parent: Path) -> list[Path]:
    """Folders, and links to some; none where there is no such parent, or it is a link itself."""
    if not parent.is_dir() or parent.is_symlink():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir())


def _files_below(folder: Path) -> Iterator[Path]:
    """All that is below a folder and no folder itself; what is a link, as it is."""
    if folder.is_symlink():
        yield folder
    elif folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.is_symlink():
                yield from _files_below(path)
            else:
                yield path


def _must_be_no_link(folder: Path) -> None:
    if folder.is_symlink():
        raise OddFileError("it is a link, which is not followed")


def _must_be_plain(folder: Path, *, but: frozenset[str] = frozenset()) -> None:
    """See that there is nothing below a folder that must not be opened.

    Args:
        folder: to look through.
        but: names of folders right below it that nobody will read.

    Raises:
        OddFileError: there is.
    """
    _must_be_no_link(folder)
    for child in folder.iterdir() if folder.is_dir() else ():
        for path in _files_below(child) if child.is_dir() and child.name not in but else [child]:
            if not stat.S_ISREG(path.lstat().st_mode) and path.name not in but:
                raise OddFileError(f"{path.relative_to(folder)} is a link, or no plain file, and is not read")
