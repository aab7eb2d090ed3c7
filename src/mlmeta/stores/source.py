"""What a source is: something that gives the records of an MLflow store in a snapshot's order. Two can be one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from mlmeta.progress import Progress
from mlmeta.schema import (
    EXPERIMENTS,
    GROUPS,
    MODEL_GROUP,
    MODELS,
    RUNS,
    WITH_PARTS,
    Line,
    Selection,
    Skipped,
    kind_of,
)
from mlmeta.stores.base import Base

SourceItem = Line | Skipped
"""A record, a line of one from a base, or the name of something that could not be read."""

UNSHOWN_BY_API = tuple(kind.field(name) for kind in WITH_PARTS for name in kind.unshown)
"""Fields of records that a database gives and `MlflowClient` does not, such as ``runs.deleted_time``."""


@dataclass(frozen=True)
class AuthInfo:
    """What a database of basic-auth says of itself.

    Args:
        uri: without credentials.
        revision: of its schema (alembic); empty: of MLflow before 3.6.
    """

    uri: str
    revision: str = ""


@dataclass(frozen=True)
class SourceInfo:
    """What a source says of itself.

    Args:
        uri: without credentials.
        kind: ``server``, ``sqlite``, ``postgresql``, ``mysql`` or ``files``.
        client_version: of the installed MLflow, where it is used.
        server_version: of the server, or of the schema (alembic revision) for a database; None where unknown.
        point_in_time: whether all is read as of one moment.
        workspace: of MLflow, that is read; empty: the default one, or there are none.
        schema: of the database, that is read; empty: the usual one, or it has none.
        socket: that leads to the database; empty: none, or the one of this machine's own server.
        auth: where users and permissions of basic-auth are read; None: they are not.
    """

    uri: str
    kind: str
    client_version: str | None = None
    server_version: str | None = None
    point_in_time: bool = False
    workspace: str = ""
    schema: str = ""
    socket: str = ""
    auth: AuthInfo | None = None


class Source(Protocol):
    """An MLflow store to read from."""

    @property
    def info(self) -> SourceInfo:
        """What the source says of itself."""

    def experiment_names(self) -> set[tuple[str | None, str]]:
        """Workspace and name of all experiments, without reading anything else.

        Raises:
            ConnectionFailedError: the store can't be read at all.
        """

    def read(self, selection: Selection, progress: Progress, base: Base | None = None) -> Iterator[SourceItem]:
        """All records of the selection, as a stream.

        Args:
            selection: what to read. Of single runs (`Selection.runs`, ids in full), a server reads just the histories.
            progress: told how far it is.
            base: of the same source and selection: metric histories and spans that are the same as there come from
                there, as its lines. Afterwards `base.finish` says whether it was sound.

        The order is the one of `snapshot.writer.SnapshotWriter.add`: experiments by id; runs by experiment, start
        time and run id, each followed by its metric histories by key; logged models by experiment, creation time and
        id; registered models by name. What can't be read comes as
        `Skipped`, in between. Units of progress: ``experiments``, ``runs``, ``metric points``, ``models``.

        Raises:
            UsageError: a selected experiment does not exist.
            ConnectionFailedError: the store can't be read at all.
        """

    def warnings(self) -> tuple[str, ...]:
        """What a person should know about the last `read`."""

    def close(self) -> None:
        """Give back connections and threads."""


class SplitSource:
    """A store whose model registry is somewhere else: experiments and runs of one source, models of another.

    Args:
        runs: has the experiments and runs.
        models: has the model registry.
    """

    def __init__(self, runs: Source, models: Source) -> None:
        self._runs = runs
        self._models = models
        self.info = replace(runs.info, point_in_time=False)

    def experiment_names(self) -> set[tuple[str | None, str]]:
        """See `Source.experiment_names`."""
        return self._runs.experiment_names()

    def read(self, selection: Selection, progress: Progress, base: Base | None = None) -> Iterator[SourceItem]:
        """See `Source.read`."""
        in_tracking = tuple(group for group in GROUPS if group != MODEL_GROUP)
        in_experiments = self._runs.read(replace(selection, only=in_tracking), progress, base)
        in_registry = self._models.read(Selection(only=(MODEL_GROUP,)), progress)
        return selected(selection, in_experiments, in_registry)

    def warnings(self) -> tuple[str, ...]:
        """See `Source.warnings`."""
        return (*self._runs.warnings(), *self._models.warnings())

    def close(self) -> None:
        """See `Source.close`."""
        self._runs.close()
        self._models.close()


def selected(
    selection: Selection, in_experiments: Iterator[SourceItem], in_registry: Iterator[SourceItem]
) -> Iterator[SourceItem]:
    """What a selection means of a store.

    Args:
        selection: of the store. Where it is limited to experiments, it has what of the registry refers to their runs.
        in_experiments: the selected experiments, and what belongs to them; read only where it is needed.
        in_registry: all of the model registry; likewise.
    """
    limited, run_ids = bool(selection.experiments), set()
    in_part = selection.means(EXPERIMENTS)
    for item in in_experiments if in_part or limited else ():
        kind = None if isinstance(item, Skipped) else kind_of(item)
        if limited and kind is RUNS:
            run_ids.add(RUNS.key(item))
        if selection.means(kind) if kind is not None else in_part:
            yield item
    for item in in_registry if selection.means(MODELS) else ():
        if isinstance(item, Skipped) or (_is_within(item, selection) and (not limited or _refers_to(item, run_ids))):
            yield item


def _is_within(record: Line, selection: Selection) -> bool:
    workspace = kind_of(record).workspace
    return workspace is None or selection.has_workspace(workspace(record))


def _refers_to(record: Line, run_ids: set[str]) -> bool:
    runs = kind_of(record).runs
    return runs is None or not run_ids.isdisjoint(runs(record))


def report(item: SourceItem, progress: Progress) -> None:
    """Tell how far reading is."""
    if not isinstance(item, Skipped):
        unit, count = kind_of(item).counts[0]
        progress.advance(unit.replace("_", " "), count(item))


def spans_elsewhere(locations: Mapping[str, int]) -> tuple[str, ...]:
    """A sentence on spans that are not in the tracking store, and so not in a snapshot.

    Args:
        locations: how many traces have their spans where, by `Trace.spans_location`.
    """
    artifacts, archived = locations.get("ARTIFACT_REPO", 0), locations.get("ARCHIVE_REPO", 0)
    if not artifacts + archived:
        return ()
    where = [f"{count:,} in {place}" for count, place in ((artifacts, "artifacts"), (archived, "archives")) if count]
    total = artifacts + archived
    count = f"{total:,} trace{'s' * (total != 1)} are not in the tracking store ({', '.join(where)})"
    return (f"the spans of {count}, and not in the snapshot: like all artifacts, they stay where they are",)
