"""Runs through the API: read in order and without gaps, each followed by its metric histories.

A restore first creates all, so that their new ids are known, then fills each. A run carries the tag
`restore_tags.SNAPSHOT` once it is complete, and not before. What a killed restore left half-filled is found by
`restore_tags.SOURCE_RUN_ID` and filled again: the store keeps params, tags and metric points as sets, so nothing
doubles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Executor
from enum import Enum
from functools import partial
from typing import Any

from mlmeta.parallel import ordered_map
from mlmeta.progress import Progress
from mlmeta.redaction import cut
from mlmeta.schema import RUNS, DatasetInput, Run, Skipped
from mlmeta.schema.runs import PARENT_RUN_ID, RUN_MODELS
from mlmeta.snapshot.reader import Led, RunHistories, RunLines
from mlmeta.stores.api import entities as convert
from mlmeta.stores.api import restore_tags
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.context import Extent, Refusing, RestoreContext, SourceIds, TargetExperiment, TargetRun
from mlmeta.stores.api.file_store import FileStore
from mlmeta.stores.api.histories import BULK_RUNS, Asked, HistoryReader, RunToRead
from mlmeta.stores.api.log_batch import LogBatch, log, may_be_refused, refused_part, sift
from mlmeta.stores.api.logged_models import Completing, completing
from mlmeta.stores.api.name_rules import dataset_obstacle
from mlmeta.stores.api.paging import PAGE, Search, Sieve, runs_page
from mlmeta.stores.source import SourceItem
from mlmeta.stores.target import Refusal, deleted_in_target

_EXPERIMENTS_AHEAD = 4
_GROUPS_AHEAD = 3
_GROUP_POINTS = 250_000
_GROUP_RUNS = 1_000
_KIND = RUNS.one
_TRIED_AGAIN = 100
"""Most runs that are kept in memory for a second try."""


class RunReader:
    """All runs of some experiments, deleted ones included, each followed by its metric histories.

    Args:
        connection: to the store.
        histories: reads those.
        threads: for the searches.
        only: ids of those that are wanted; empty: all.
    """

    def __init__(
        self, connection: Connection, histories: HistoryReader, threads: Executor, only: Collection[str] = ()
    ) -> None:
        self._connection = connection
        self._only = frozenset(only)
        self._histories = histories
        self._threads = threads
        self._sieve = Sieve(connection, RUNS, RUNS.one, convert.run)

    def read(self, experiment_ids: list[str]) -> Iterator[SourceItem]:
        """The runs, experiment after experiment.

        The first page of several experiments is asked for ahead: most are small, and waiting adds up.

        Raises:
            ConnectionFailedError: the server is gone.
        """
        complete = completing(self._connection, self._threads, experiment_ids)
        begun: deque[Iterator[SourceItem]] = deque()
        for experiment_id in experiment_ids:
            begun.append(self._begin(experiment_id, complete))
            if len(begun) > _EXPERIMENTS_AHEAD:
                yield from begun.popleft()
        while begun:
            yield from begun.popleft()

    def _begin(self, experiment_id: str, complete: Completing) -> Iterator[SourceItem]:
        if self._connection.kind == "files":
            return self._runs_with_histories(FileStore(self._connection).runs(experiment_id), [], complete)
        search = Search(
            self._connection,
            RUNS.one,
            ask=partial(runs_page, self._connection, [experiment_id]),
            key=lambda entity: entity.info.run_id,
            lost=lambda place: f"experiment {experiment_id}, {'run ' * place.startswith('number')}{place}",
            size=PAGE,
        )
        found = self._sieve.sift(search.ahead(self._threads), experiment_id)
        if self._only:
            found = (one for one in found if isinstance(one, Skipped) or one.run_id in self._only)
        return self._runs_with_histories(found, search.skipped, complete)

    def _runs_with_histories(
        self, items: Iterable[Run | Skipped], skipped: list[Skipped], complete: Completing
    ) -> Iterator[SourceItem]:
        waiting: deque[tuple[list[RunToRead], Asked]] = deque()
        for group in _groups(complete(map(self._histories.to_read, _runs(items, skipped)), skipped)):
            waiting.append((group, self._histories.begin(group)))
            if len(waiting) > _GROUPS_AHEAD:
                yield from self._histories.finish(*waiting.popleft())
        while waiting:
            yield from self._histories.finish(*waiting.popleft())
        yield from skipped


def _runs(items: Iterable[Run | Skipped], skipped: list[Skipped]) -> Iterator[Run]:
    """The runs; all else goes into `skipped`."""
    for item in items:
        if isinstance(item, Skipped):
            skipped.append(item)
        else:
            yield item


def _groups(runs: Iterable[RunToRead]) -> Iterator[list[RunToRead]]:
    """Runs in groups that fit one round of requests, and memory."""
    group: list[RunToRead] = []
    asked = points = 0
    for run in runs:
        more = sum(run.expected.values())
        is_round = more > 0 and (asked == BULK_RUNS or points + more > _GROUP_POINTS)
        if group and (is_round or len(group) == _GROUP_RUNS):
            yield group
            group, asked, points = [], 0, 0
        group.append(run)
        if more:
            asked, points = asked + 1, points + more
    if group:
        yield group


class Fate(Enum):
    """What a restore does about a run."""

    CREATE = "create"
    FILL = "fill what an interrupted restore left"
    PRESENT = "it is there"
    UNDELETE = "make it active again"
    DELETED = "it is deleted in the target, and stays deleted"
    OUT_OF_REACH = "its experiment can't be filled"


def _fate(run: Run, context: RestoreContext) -> Fate:
    """What a restore does about a run of a selected experiment."""
    experiment, found = context.experiments[run.experiment_id], context.target_run(run.run_id)
    if found is None:
        return Fate.CREATE if experiment.is_open else Fate.OUT_OF_REACH
    if found.is_lost(run.lifecycle_stage) and not experiment.was_deleted_last:
        return Fate.UNDELETE if context.undelete and not experiment.refused else Fate.DELETED
    if found.snapshot:
        return Fate.PRESENT
    return Fate.FILL if experiment.is_open else Fate.OUT_OF_REACH


def restore(context: RestoreContext, progress: Progress) -> None:
    """Create and fill the runs that the target lacks; or plan it. Experiments are restored by then."""
    if not context.writes:
        for item in context.selected.led(RUNS):
            _plan(item, context)
        return
    runs = _RunRestorer(context)
    progress.phase("creating runs")
    runs.create()
    progress.phase("filling runs")
    runs.fill(progress)


def _plan(item: RunLines, context: RestoreContext) -> None:
    """Count what a restore would do about a run, and name what of it the target won't take."""
    run = item.record
    fate, found = _fate(run, context), context.target_run(run.run_id)
    _count(run, fate, context)
    if fate is Fate.CREATE:
        context.coming_runs.add(run.run_id)
    if fate in {Fate.CREATE, Fate.FILL} or (fate is Fate.UNDELETE and found is not None and not found.snapshot):
        doubtful = tuple(line.record() for line in item.lines if may_be_refused(line))
        batch = LogBatch.of(RunHistories(run, doubtful), restore_tags.without(run.tags), {})
        context.refused += (*sift(batch, run.run_id)[1], *_foreseen(run, context))


class _RunRestorer:
    def __init__(self, context: RestoreContext) -> None:
        self._context = context
        self._connection = context.connection
        self._ahead = 4 * context.jobs

    def create(self) -> None:
        """Create the runs that the target lacks."""
        missing = (run for run in self._runs() if _fate(run, self._context) is Fate.CREATE)
        for run, run_id, refused in ordered_map(self._context.executor, self._create, missing, self._ahead):
            self._context.refused += refused
            if run_id:
                self._context.runs[run.run_id] = TargetRun(run_id)

    def _runs(self) -> Iterator[Run]:
        return self._context.selected.records(RUNS)

    def _create(self, run: Run) -> tuple[Run, str, list[Refusal]]:
        from mlflow.entities import RunTag

        tags = {
            restore_tags.SOURCE_RUN_ID: run.run_id,
            restore_tags.SOURCE_EXPERIMENT_ID: run.experiment_id,
            restore_tags.SOURCE_ARTIFACT_URI: run.artifact_uri or "",
        }
        refused: list[Refusal] = []
        with self._refusing(run, refused):
            created = self._connection.tracking.create_run(
                experiment_id=self._context.experiments[run.experiment_id].target_id,
                user_id=run.user_id or "",
                start_time=run.start_time or 0,
                tags=[RunTag(key, value) for key, value in tags.items()],
                run_name=run.run_name or run.tags.get("mlflow.runName") or "",
            )
            return run, created.info.run_id, refused
        return run, "", refused

    def _refusing(self, run: Run, into: list[Refusal]) -> Refusing:
        """Like `RestoreContext.refusing`, for a thread: its refusals are taken over in the order of the runs."""
        return Refusing(self._connection, Refusal(kind=_KIND, id=run.run_id, reason=""), "", into)

    def fill(self, progress: Progress) -> None:
        """Fill the runs that are not complete. What fails in the crowd is tried once more, by itself, at the end."""
        again: list[RunHistories] = []
        runs = self._context.selected.runs_with_histories()
        for item, refused in ordered_map(self._context.executor, self._fill, runs, self._ahead):
            if any(refusal.kind == _KIND for refusal in refused) and len(again) < _TRIED_AGAIN:
                again.append(item)
                continue
            self._finished(item, refused, progress)
        for item in again:
            self._finished(*self._fill(item), progress)

    def _finished(self, item: RunHistories, refused: list[Refusal], progress: Progress) -> None:
        self._context.refused += refused
        self._note(item.run)
        progress.advance(RUNS.counted_as)

    def _note(self, run: Run) -> None:
        fate, found = _fate(run, self._context), self._context.target_run(run.run_id)
        if found is None:
            if fate is Fate.OUT_OF_REACH:
                _refuse(run, fate, self._context)
            return
        _count(run, fate, self._context)
        if run.lifecycle_stage == "deleted" and not found.deleted and self._is_ours(found):
            self._context.to_delete[run.run_id] = found.run_id
        experiment = self._context.experiments[run.experiment_id]
        cut_short = experiment.was_deleted_last and found.deleted  # a restore was killed before its last requests
        if run.lifecycle_stage == "active" and (experiment.delete_last or cut_short):
            self._context.active_in_deleted.append(found.run_id)

    def _fill(self, item: RunHistories) -> tuple[RunHistories, list[Refusal]]:
        run = item.run
        found, fate = self._context.target_run(run.run_id), _fate(run, self._context)
        refused: list[Refusal] = []
        if found is None or not (self._is_ours(found) or fate is Fate.UNDELETE):
            return item, refused
        with self._refusing(run, refused):
            if fate is Fate.UNDELETE:
                self._connection.client.restore_run(found.run_id)
            if not found.snapshot and (fate is Fate.UNDELETE or not found.deleted):
                refused += self._complete(item, found.run_id)
        return item, refused

    def _is_ours(self, found: TargetRun) -> bool:
        """Whether a restore of this snapshot made a run, or is making it."""
        return found.snapshot in {"", self._context.timestamp}

    def _complete(self, item: RunHistories, run_id: str) -> list[Refusal]:
        run = item.run
        store = self._connection.tracking
        status = _status(run.status)
        if run.status != "RUNNING" or run.end_time is not None:
            store.update_run_info(run_id, status, run.end_time, None)
        takes = [i for i in run.dataset_inputs if not _dataset_obstacle(i)]
        if takes:
            store.log_inputs(run_id, [_dataset_input(i) for i in takes])
        batch, refused = sift(self._batch(item), run.run_id)
        refused += log(self._connection, run_id, batch, run.run_id)
        return [*refused, *_foreseen(run, self._context)]

    def _batch(self, item: RunHistories) -> LogBatch:
        tags = restore_tags.without(item.run.tags)
        parent = tags.get(PARENT_RUN_ID)
        if parent is not None:
            tags[PARENT_RUN_ID] = self._context.target_run_id(parent) or parent
        return LogBatch.of(item, tags, {restore_tags.SNAPSHOT: self._context.timestamp})


def delete_last(context: RestoreContext) -> None:
    """Delete the runs that the snapshot has deleted: only an active one takes links and metrics of logged models."""
    delete = partial(_delete, context.connection)
    for refused in ordered_map(context.executor, delete, context.to_delete.items(), 4 * context.jobs):
        context.refused += refused


def _delete(connection: Connection, item: tuple[str, str]) -> list[Refusal]:
    """Delete a run, given by the snapshot's id and the target's; what the target has against it."""
    source, run_id = item
    refused: list[Refusal] = []
    with Refusing(connection, Refusal(kind=_KIND, id=source, reason="", field="lifecycle_stage"), "", refused):
        connection.client.delete_run(run_id)
    return refused


def new_ids(context: RestoreContext) -> Iterator[str]:
    """The ids that runs have in the target which were asked for by their own, where these are others.

    And what was nested in one that is gone: that was there, and stays as it is.
    """
    picked = context.selected.picked
    for one in picked.chosen if picked is not None else ():
        found = context.target_run_id(one.id) if one.is_asked and one.kind == _KIND else None
        if found not in {None, one.id}:
            yield f"run {one.id} is {found} in the target"
    for own, made in context.runs.items():
        if count := context.nested[own]:
            named = "1 run that is nested in it names" if count == 1 else f"{count:,} runs that are nested in it name"
            yield f"run {own} came back as {made.run_id}, and {named} it by the old id: MLflow shows them side by side"


def in_own_ids(run: Run, experiment: TargetExperiment, ids: SourceIds) -> Run:
    """A run of the target in the snapshot's ids, without what a restore notes in its tags."""
    tags = restore_tags.without(run.tags)
    if parent := tags.get(PARENT_RUN_ID):
        tags[PARENT_RUN_ID] = ids.run(parent)
    experiment_id = experiment.source.experiment_id
    return run.model_copy(update={"run_id": ids.run(run.run_id), "experiment_id": experiment_id, "tags": tags})


def expected(own: RunLines, found: RunLines, _: RestoreContext) -> RunLines:
    """A run of the snapshot as the target should give it back: a server makes up a name for one without."""
    if own.record.run_name:
        return own
    return Led(own.record.model_copy(update={"run_name": found.record.run_name}), own.lines)


def _count(run: Run, fate: Fate, context: RestoreContext) -> None:
    """Count a run by its fate; name it where it stays as it is."""
    if fate in {Fate.CREATE, Fate.FILL}:
        context.created[RUNS.counted_as] += 1
    elif fate is Fate.UNDELETE:
        context.is_active_again(RUNS, run.run_id)
    elif fate in {Fate.PRESENT, Fate.DELETED}:
        context.was_there(RUNS, run.run_id)
    _refuse(run, fate, context)


def _refuse(run: Run, fate: Fate, context: RestoreContext) -> None:
    """Name a run that is left as it is: out of reach, deleted, or an older state of it than the snapshot's."""
    if fate in {Fate.PRESENT, Fate.UNDELETE}:
        found = context.target_run(run.run_id)
        there = context.extents.get(found.run_id) if found is not None and found.snapshot else None
        if there is not None and Extent.of(run.params, run.metrics.values()).is_beyond(there):
            reason = "the target has an older state of it than the snapshot, and keeps it"
            hint = "restore into an empty server, or remove the run there (`mlflow gc`) and restore again"
            context.refused.append(Refusal(kind=_KIND, id=run.run_id, reason=reason, code="older_in_target", hint=hint))
    elif fate is Fate.DELETED:
        context.refused.append(deleted_in_target(_KIND, run.run_id))
    elif fate is Fate.OUT_OF_REACH:
        context.refuse(_KIND, run.run_id, "its experiment is not in the target, or deleted there")


def _foreseen(run: Run, context: RestoreContext) -> Iterator[Refusal]:
    """What of a run that is to be filled a server can't be given."""
    if _status(run.status) is None:
        reason = f"MLflow knows no status {run.status!r}; the run stays RUNNING"
        yield refused_part("run's status", run.run_id, reason, "status")
    for reason in filter(None, map(_dataset_obstacle, run.dataset_inputs)):
        yield refused_part("run's dataset", run.run_id, reason, "dataset_inputs")
    models = {m.model_id for m in run.model_inputs} | {m.model_id for m in run.model_outputs}
    if not models <= context.coming_models:
        reason = "the snapshot lacks some of the logged models that it used or made, or has them as deleted"
        yield refused_part(RUN_MODELS, run.run_id, reason, "model_outputs")


def _status(status: str) -> Any:
    """MLflow's number of a status; None, which leaves a run as it is, where it knows none of that name."""
    from mlflow.entities import RunStatus

    known = {RunStatus.to_string(number): number for number in RunStatus.all_status()}
    return known.get(status)


def _dataset_obstacle(record: DatasetInput) -> str:
    """Why MLflow does not take a dataset; empty: it does."""
    reason = dataset_obstacle(_dataset_input(record))
    return reason and f"dataset {cut(record.dataset.name, 80)!r}: {reason}"


def _dataset_input(record: DatasetInput) -> Any:
    from mlflow import entities

    dataset = record.dataset
    return entities.DatasetInput(
        dataset=entities.Dataset(
            name=dataset.name,
            digest=dataset.digest,
            source_type=dataset.source_type or "",
            source=dataset.source or "",
            schema=dataset.schema_,
            profile=dataset.profile,
        ),
        tags=[entities.InputTag(key, value) for key, value in record.tags.items()],
    )
