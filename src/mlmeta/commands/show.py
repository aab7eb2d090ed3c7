"""`mlmeta show`: what is in a snapshot. No server is needed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

from mlmeta.commands.absent import lacks
from mlmeta.commands.result import Result
from mlmeta.errors import UsageError
from mlmeta.schema import (
    DEFAULT_WORKSPACE,
    EXPERIMENTS,
    MODELS,
    RUNS,
    Experiment,
    Kind,
    RegisteredModel,
    Selection,
    Skipped,
    several,
)
from mlmeta.schema.summary import Acceptance
from mlmeta.schema.words import closest
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.opening import open_snapshot


class Shown(Result):
    """Base: it is what was asked for."""

    timestamp: str
    storage: str

    is_report: ClassVar[bool] = False

    @property
    def headline(self) -> str:
        """Which snapshot."""
        return f"{self.timestamp} in {self.storage}"


class ExperimentRow(BaseModel):
    """An experiment and the number of its runs; `latest` is its newest run's start, milliseconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    experiment: Experiment
    runs: int
    deleted_runs: int
    latest: int | None


class Overview(Shown):
    """A snapshot as a whole.

    Args:
        tables: how many rows of each table that no other kind models.
        size: bytes of all its files.
        experiments: of the snapshot, with what it has of them.
        limited_to: the names of experiments that the backup was limited to; empty: none.
        workspaces: likewise of workspaces.
        without: the kinds and groups that the backup left out on request.
        tags: that a person gave the snapshot.
        epoch: number of the guard that saved it; 0: none did.
        accepted: words for those kinds of things in `skipped` that a person accepted to be missing.
        auth: the database that users and permissions of basic-auth came from; empty: it has none.
    """

    source: str
    source_id: str = ""
    label: str = ""
    tags: dict[str, str] = {}
    epoch: int = 0
    source_kind: str
    date: str
    schema_version: str
    mlflow_server_version: str | None
    point_in_time: bool
    stats: dict[str, int]
    tables: dict[str, int] = {}
    size: int
    limited_to: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    auth: str = ""
    experiments: tuple[ExperimentRow, ...]
    skipped: tuple[Skipped, ...]
    accepted: tuple[str, ...] = ()
    note: str

    @property
    def gaps(self) -> tuple[Skipped, ...]:
        """Those of `skipped` that nobody accepts to be missing."""
        return Acceptance(self.accepted).gaps(self.skipped)


class ModelList(Shown):
    """The model registry."""

    models: tuple[RegisteredModel, ...]


def overview(
    selector: str = "latest", storage: str = "backups", *, workspaces: str | Sequence[str] = (), of_source: str = ""
) -> Overview:
    """A snapshot as a whole: where it is from, and its experiments.

    Args:
        selector: which snapshot: see `snapshot.selector.select`.
        storage: where it is.
        workspaces: whose experiments are listed; none: all.
        of_source: label or tracking URI of the source that is meant, where the storage has several.

    Raises:
        SnapshotNotFoundError: there is no such snapshot.
        DamagedSnapshotError: it can't be trusted.
    """
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    selection = within_workspaces(snapshot, workspaces)
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
        if selection.has_workspace(e.workspace)
    )
    summary, shown = snapshot.summary, where(snapshot)
    return Overview(
        **{**shown, "warnings": (*shown["warnings"], *summary.warnings)},
        source=summary.mlflow_uri,
        source_id=summary.source_id,
        label=summary.label,
        tags=summary.tags,
        epoch=summary.epoch,
        source_kind=summary.source_kind,
        date=summary.backup_date,
        schema_version=summary.schema_version,
        mlflow_server_version=summary.mlflow_server_version,
        point_in_time=summary.point_in_time,
        stats=summary.stats,
        tables=summary.tables,
        limited_to=summary.experiments,
        workspaces=summary.workspaces,
        without=summary.without,
        auth=summary.auth_uri,
        size=snapshot.size,
        experiments=rows,
        skipped=summary.skipped,
        accepted=summary.accepted,
        note=summary.note,
    )


def models(
    selector: str = "latest", storage: str = "backups", *, workspaces: str | Sequence[str] = (), of_source: str = ""
) -> ModelList:
    """The registered models with their versions, stages and aliases; `workspaces`: whose; none: of all."""
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    selection = within_workspaces(snapshot, workspaces)
    found = (model for model in snapshot.records(MODELS) if selection.has_workspace(model.workspace))
    return ModelList(**where(snapshot, MODELS), models=tuple(found))


def within_workspaces(snapshot: Snapshot, workspaces: str | Sequence[str]) -> Selection:
    """The selection of some workspaces; none: of all.

    Raises:
        UsageError: the snapshot has nothing in one of them.
    """
    return Selected(snapshot, Selection(workspaces=several(workspaces))).selection


def where(snapshot: Snapshot, *shown: Kind[Any]) -> dict[str, Any]:
    """What every result says: which snapshot, where it is, and what to know of the choice.

    Args:
        snapshot: that is shown.
        shown: kinds that it may lack, though the store had some.
    """
    shrunken = snapshot.summary.shrunken
    notes = [*snapshot.notes, *(f"{one.kind}: {one.reason}" for one in snapshot.unknown)]
    if shrunken:
        notes.append(f"this snapshot has {shrunken}: `mlmeta list` shows others")
    notes += (sentence for kind in shown for sentence in lacks(snapshot, kind))
    return {"timestamp": snapshot.timestamp, "storage": snapshot.storage.location, "warnings": tuple(notes)}


def experiment_names(snapshot: Snapshot) -> dict[str, str]:
    """The names of all experiments, by id."""
    return {one.experiment_id: one.name for one in snapshot.records(EXPERIMENTS)}


def experiment_of(snapshot: Snapshot, wanted: str, workspaces: str | Sequence[str] = ()) -> Experiment:
    """The experiment of a name, or of an id that is nobody's name.

    Args:
        snapshot: that has it.
        wanted: name or id.
        workspaces: where to look; none: in all.

    Raises:
        UsageError: there is none, or several workspaces have one of that name.
    """
    selection = within_workspaces(snapshot, workspaces)
    found = [one for one in snapshot.records(EXPERIMENTS) if selection.has_workspace(one.workspace)]
    named = [experiment for experiment in found if wanted == experiment.name]
    if len(named) > 1:
        places = ", ".join(f"{one.workspace or DEFAULT_WORKSPACE} (id {one.experiment_id})" for one in named)
        raise UsageError(
            f"several workspaces have an experiment {wanted!r}: {places}", hint="add --workspace NAME, or name its id"
        )
    for experiment in named:
        return experiment
    for experiment in found:
        if wanted == experiment.experiment_id:
            return experiment
    raise UsageError(
        f"snapshot {snapshot.timestamp} has no experiment {wanted!r}",
        hint=f"it has: {closest(wanted, (e.name for e in found))}",
    )


T = TypeVar("T")


def nested(items: Sequence[T], own: Callable[[T], str], parent: Callable[[T], str | None]) -> Iterator[tuple[int, T]]:
    """Each item once, followed by those within it, with its depth.

    One whose parent is not among them stands at the top; so does one of several that are within each other.

    Args:
        items: in the order that those within the same one have.
        own: the id of an item.
        parent: the id of the item that it is within; None: of none.
    """
    known = {own(item) for item in items}
    within: defaultdict[str | None, list[T]] = defaultdict(list)
    for item in items:
        above = parent(item)
        within[above if above in known else None].append(item)
    seen: set[str] = set()
    for top in (*within[None], *items):
        waiting = [(0, top)]
        while waiting:
            depth, item = waiting.pop()
            if own(item) not in seen:
                seen.add(own(item))
                yield depth, item
                waiting += ((depth + 1, child) for child in reversed(within[own(item)]))
