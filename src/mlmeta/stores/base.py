"""The base of an incremental backup: a snapshot of the same source, from which comes what can't have changed since."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from typing import TypeVar

from mlmeta.errors import BaseSnapshotError, SnapshotError, StorageError
from mlmeta.schema import METRICS, RUNS, SPANS, TRACES, UNNAMED, HistoryLine, Run, SpanLine, Trace, same_point
from mlmeta.schema.runs import RUN_MODELS
from mlmeta.snapshot.order import place
from mlmeta.snapshot.reader import Snapshot, TraceLines
from mlmeta.snapshot.records import taken_apart

T = TypeVar("T")
L = TypeVar("L", HistoryLine, SpanLine)

ENDED = frozenset({"FINISHED", "FAILED", "KILLED"})
"""Statuses of runs to which nobody adds any more."""
ENDED_TRACES = frozenset({"OK", "ERROR"})
"""States of traces to whose spans nobody adds any more."""
_SIZE_STATS = "mlflow.trace.sizeStats"
"""In a trace's metadata: how many spans it has, and how large they are, as its client said when it had ended."""


class Base:
    """A snapshot that is read along with the runs and traces that its source has now.

    It is read at positions that only move forward, so that nothing has to be kept in memory: that of `run`, for runs
    that are just coming in, that of `lines`, for runs that are written, and that of `spans`.

    Args:
        snapshot: a complete one of the same source. Its files are checked as they are read, and `finish` says
            whether all was as it should be.

    Raises:
        BaseSnapshotError: here and in all that follows: the snapshot can't be read. Nothing that came from it may be
            kept then.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._timestamp = snapshot.timestamp
        self._started = snapshot.summary.started
        self._runs = self._checked(snapshot.records(RUNS))
        self._lines = self._checked(snapshot.lines(METRICS))
        self._run = next(self._runs, None)
        self._line = next(self._lines, None)
        self._passed: deque[str] = deque()
        self._current = ""
        self._traces = self._checked(snapshot.led(TRACES))
        self._trace: TraceLines | None = None
        self._reads_traces = False
        skipped = snapshot.summary.skipped
        self._skipped_unnamed = any(one.kind == UNNAMED for one in skipped)
        self._skipped = {one.id for one in skipped if one.kind in {METRICS.one, SPANS.many, RUN_MODELS}}

    def run(self, now: Run) -> Run | None:
        """The run as the base has it; None where it is new.

        Args:
            now: the run as it is now. Runs come in a snapshot's order.
        """
        while self._run is not None and place(self._run) <= place(now):
            found = self._run
            self._pass()
            if found.run_id == now.run_id:
                return found
        return None

    def _pass(self) -> None:
        if self._run is not None:
            self._passed.append(self._run.run_id)
        self._run = next(self._runs, None)

    def lines(self, run: Run) -> Iterator[HistoryLine]:
        """The histories that the base has of a run, by key: sound ones, for they become part of another snapshot.

        Args:
            run: one that `run` found. Runs come in the same order here.
        """
        self._drop(self._current)
        while (passed := self._passed.popleft()) != run.run_id:
            self._drop(passed)
        self._current = run.run_id
        while self._line is not None and self._line.run_id == run.run_id:
            yield self._sound(self._line)
            self._line = next(self._lines, None)

    def spans(self, now: Trace) -> tuple[SpanLine, ...] | None:
        """The spans that the base has of a trace to which nobody adds any more; None: they have to be read.

        That is so where the trace had ended, with all spans that its own count of them says, and that still says the
        same.

        Args:
            now: the trace as it is now. Traces come in a snapshot's order.
        """
        if not self._reads_traces:
            self._reads_traces = True
            self._trace = next(self._traces, None)
        while self._trace is not None and place(self._trace) < place(now):
            self._trace = next(self._traces, None)
        found = self._trace
        if found is None or not _is_settled(found, now) or self._skipped_unnamed or now.trace_id in self._skipped:
            return None
        return tuple(map(self._sound, found.lines))

    def _sound(self, line: L) -> L:
        try:
            taken_apart(line)
        except SnapshotError as error:
            raise self._unusable(str(error)) from error
        return line

    def _drop(self, run_id: str) -> None:
        while self._line is not None and self._line.run_id == run_id:
            self._line = next(self._lines, None)

    def ended(self, now: Run) -> Run | None:
        """The run as the base has it, if nobody adds to it any more: it had ended before the base was begun.

        Args:
            now: as for `run`, in place of it.
        """
        before = None if self._skipped_unnamed else self.run(now)
        return before if before is not None and self._had_ended(before) and _end(before) == _end(now) else None

    def known_keys(self, now: Run, before: Run) -> set[str]:
        """The metrics of an ended run whose histories the base has: the latest point is still the same.

        What escapes this are points that were added later, through the API, behind the latest step of an ended run.
        """
        same = {key for key, latest in now.metrics.items() if same_point(latest, before.metrics.get(key))}
        return {key for key in same if f"{now.run_id}/{key}" not in self._skipped}

    def knows_models(self, before: Run) -> bool:
        """Whether the base has the logged models of an ended run; those that it used later escape this."""
        return before.run_id not in self._skipped

    def _had_ended(self, run: Run) -> bool:
        return run.status in ENDED and run.end_time is not None and run.end_time < self._started

    def finish(self) -> None:
        """See that all that was used was as the snapshot's summary says.

        Raises:
            BaseSnapshotError: it was not.
        """
        while self._run is not None:
            self._pass()
        for passed in (self._current, *self._passed):
            self._drop(passed)
        if self._line is not None:
            raise self._unusable(f"it has a history of a run that it does not have: {self._line.run_id}")
        for _ in self._traces if self._reads_traces else ():
            pass

    def _checked(self, items: Iterator[T]) -> Iterator[T]:
        try:
            yield from items
        except (SnapshotError, StorageError) as error:
            raise self._unusable(str(error)) from error

    def _unusable(self, why: str) -> BaseSnapshotError:
        return BaseSnapshotError(
            f"snapshot {self._timestamp} can't be used as a base: {why}", hint="try again without --incremental"
        )


def _end(run: Run) -> tuple[str, int | None]:
    return run.status, run.end_time


def _is_settled(before: TraceLines, now: Trace) -> bool:
    """Whether a trace is the one of before, and had all its spans by then."""
    then = before.record
    same = [(one.trace_id, one.state, one.duration, one.metadata.get(_SIZE_STATS)) for one in (then, now)]
    return same[0] == same[1] and now.state in ENDED_TRACES and _spans_said(now) == len(before.lines)


def _spans_said(trace: Trace) -> int:
    """How many spans a trace says that it has; -1: it does not say."""
    try:
        found = json.loads(trace.metadata[_SIZE_STATS])["num_spans"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return -1
    return found if isinstance(found, int) else -1
