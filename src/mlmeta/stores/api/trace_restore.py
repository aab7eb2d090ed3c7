"""Restores traces through the API: under their own ids, and never over one that is there.

A trace of a restore carries the tag `restore_tags.SNAPSHOT`, which says that it is being filled until it is complete.
What a killed restore left is filled again: everything in it has an id of its own, so that nothing doubles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from itertools import islice
from typing import Any

from mlmeta.errors import UnknownCallError
from mlmeta.parallel import ordered_map
from mlmeta.progress import Progress
from mlmeta.schema import ASSESSMENTS, TRACES, Trace
from mlmeta.schema.traces import ARTIFACT_LOCATION_TAG
from mlmeta.snapshot.reader import TraceLines
from mlmeta.stores.api import links, restore_tags, trace_writing
from mlmeta.stores.api.connection import release
from mlmeta.stores.api.context import Refusing, RestoreContext, TargetTrace
from mlmeta.stores.api.otlp import TRACE_ID, Sendable, UnsendableError
from mlmeta.stores.api.trace_records import with_ids
from mlmeta.stores.target import Key, Refusal, assessment_key

_KIND = TRACES.one
_IDS_PER_CALL = 100
_CHUNK = 20
"""Traces whose spans are sent at once."""
_CHUNK_BYTES = 1 << 20
"""Of spans that are sent at once, but for those of one trace."""
_OWN_LOCATIONS = (3, 18)
"""The first version whose servers keep the location of a trace's files to themselves."""
_TOO_OLD = "restore into a server of MLflow 3.5 or later, or into a database"


class Fate(Enum):
    """What a restore does about a trace."""

    CREATE = "create"
    FILL = "fill what an interrupted restore left"
    PRESENT = "it is there"
    OUT_OF_REACH = "its experiment can't be filled"
    UNKNOWN = "the target knows no traces"


def survey(context: RestoreContext) -> set[str]:
    """Note which traces of the snapshot the target has; the experiments that lack some.

    Args:
        context: of which the experiments are known.
    """
    lacking: set[str] = set()
    if not context.selected.selection.means(TRACES):
        return lacking
    traces = context.selected.records(TRACES)
    while some := list(islice(traces, _IDS_PER_CALL)):
        context.traces.update(_there(context, [trace.trace_id for trace in some]))
        lacking |= {trace.experiment_id for trace in some if not _is_whole(trace, context)}
    return lacking


def _there(context: RestoreContext, trace_ids: list[str]) -> dict[str, TargetTrace]:
    if not context.knows_traces or context.is_planned:
        return {}
    try:
        found = trace_writing.infos(context.connection, trace_ids)
    except UnknownCallError:
        context.knows_traces = False  # a server before 3
        return {}
    return {str(info["trace_id"]): _target_trace(info) for info in found if info.get("trace_id") in trace_ids}


def _target_trace(info: dict[str, Any]) -> TargetTrace:
    return TargetTrace(
        experiment_id=str(info.get("trace_location", {}).get("mlflow_experiment", {}).get("experiment_id", "")),
        snapshot=str(info.get("tags", {}).get(restore_tags.SNAPSHOT, "")),
        assessments=frozenset(one["assessment_id"] for one in info.get("assessments", ())),
    )


def _is_whole(trace: Trace, context: RestoreContext) -> bool:
    """Whether the target has a trace, and not just what a restore left of it when it was killed.

    A server before 3.17 takes no tags with spans: there, what is in an experiment that a restore made is of its making.
    """
    experiment, found = context.experiments[trace.experiment_id], context.traces.get(trace.trace_id)
    if found is None:
        return False
    if not found.snapshot:
        return experiment.joined or found.experiment_id != experiment.target_id
    return not found.snapshot.startswith(restore_tags.filling(""))


def _fate(trace: Trace, context: RestoreContext) -> Fate:
    if not context.knows_traces:
        return Fate.UNKNOWN
    if _is_whole(trace, context):
        return Fate.PRESENT
    if not context.experiments[trace.experiment_id].is_open:
        return Fate.OUT_OF_REACH
    return Fate.FILL if trace.trace_id in context.traces else Fate.CREATE


@dataclass
class _Job:
    """A trace that is to be written.

    Args:
        own: as the snapshot has it.
        trace: as the target is to have it.
        experiment_id: the target's.
        spans: those that can be sent.
        refused: what the target does not take of it.
    """

    own: TraceLines
    trace: Trace
    experiment_id: str
    spans: list[Sendable] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


def restore(context: RestoreContext, progress: Progress) -> None:
    """Create the traces that the target lacks, with their spans and assessments; or plan it.

    Args:
        context: of the restore; all runs and logged models are there by then.
        progress: told how far it is.
    """
    if not context.selected.selection.means(TRACES):
        return
    progress.phase("restoring traces")
    restorer = _TraceRestorer(context)
    for item in ordered_map(context.executor, restorer.write, restorer.chunks(), 2 * context.jobs):
        for job in item:
            context.refused += job.refused
            context.created[TRACES.counted_as] += 1
            refused = sum(refusal.kind == ASSESSMENTS.one for refusal in job.refused)
            context.created.update([ASSESSMENTS.counted_as] * (len(job.trace.assessments) - refused))
            progress.advance(TRACES.counted_as)
    if restorer.sent and not context.shows_spans:
        context.notes.append("the target has the spans, and shows none of them by any call: they were not compared")
    if restorer.elsewhere:
        reason = "the target has a place of its own for the files of a trace, which nobody can change"
        more = f"that of {len(restorer.elsewhere):,} is in the tag {restore_tags.SOURCE_ARTIFACT_LOCATION}"
        keys = tuple(restorer.elsewhere)
        context.refuse(_KIND, "*", f"{reason}: {more}", f"tags[{ARTIFACT_LOCATION_TAG}]", records=keys)
    if restorer.unknown:
        reason = "the target has no call that takes traces under their ids, as MLflow 3.5 has"
        keys = tuple((_KIND, trace_id) for trace_id in restorer.unknown)
        context.refuse(_KIND, "*", f"{reason}: {len(keys):,} were left out", hint=_TOO_OLD, records=keys)


class _TraceRestorer:
    def __init__(self, context: RestoreContext) -> None:
        self._context = context
        self._connection = context.connection
        self.sent = False
        self.unknown: list[str] = []
        self.elsewhere: list[Key] = []
        """Traces whose files the target expects elsewhere."""

    def chunks(self) -> Iterator[list[_Job]]:
        """The traces that are to be written, some of one experiment at once; the others are noted."""
        chunk: list[_Job] = []
        size = 0
        for item in self._context.selected.led(TRACES):
            if not self._is_meant(item.record):
                continue
            if ARTIFACT_LOCATION_TAG in item.record.tags and not self._sets_locations:
                self.elsewhere.append((_KIND, item.record.trace_id))
            job = _Job(
                item, self._in_target(item.record), self._context.experiments[item.record.experiment_id].target_id
            )
            more = sum(len(line.line) for line in item.lines)
            if chunk and (
                chunk[0].experiment_id != job.experiment_id or len(chunk) == _CHUNK or size + more > _CHUNK_BYTES
            ):
                yield chunk
                chunk, size = [], 0
            chunk.append(job)
            size += more
        if chunk:
            yield chunk

    def _is_meant(self, trace: Trace) -> bool:
        fate = _fate(trace, self._context)
        if fate is Fate.PRESENT:
            self._was_there(trace)
        elif fate is Fate.OUT_OF_REACH:
            self._context.refuse(_KIND, trace.trace_id, "its experiment is not in the target, or deleted there")
        elif fate is Fate.UNKNOWN:
            self.unknown.append(trace.trace_id)
        return fate in {Fate.CREATE, Fate.FILL}

    def _was_there(self, trace: Trace) -> None:
        """Count a trace that was there. It keeps the assessments that it has, whatever became of the snapshot's."""
        self._context.was_there(TRACES, trace.trace_id)
        for one in trace.assessments:
            key = assessment_key(trace.trace_id, one.assessment_id)
            if one.assessment_id in self._context.traces[trace.trace_id].assessments:
                self._context.was_there(ASSESSMENTS, key[1])
            else:
                self._context.existing.add(key)

    def _in_target(self, trace: Trace) -> Trace:
        """A trace with the target's ids of runs and logged models, and its locations as they go into the target."""
        tags = dict(trace.tags)
        for key in TRACES.location_tags:
            if key in tags:
                tags[key] = self._context.rewritten(TRACES, tags[key]) or ""
        return with_ids(trace, self._run, self._model).model_copy(update={"tags": tags})

    def _run(self, run_id: str) -> str:
        return self._context.target_run_id(run_id) or run_id

    def _model(self, model_id: str) -> str:
        return self._context.logged_models.get(model_id, (model_id, True))[0]

    def write(self, chunk: list[_Job]) -> list[_Job]:
        """Write some traces of one experiment, or see what the target would not take of them."""
        for job in chunk:
            self._prepare(job)
        if self._context.writes:
            self._send(chunk)
            for job in chunk:
                refusal = _refusal(job.trace.trace_id, "", "")
                with Refusing(self._connection, refusal, "", job.refused):
                    self._finish(job)
        return chunk

    def _prepare(self, job: _Job) -> None:
        trace_id, lines = job.trace.trace_id, job.own.lines
        if lines and (obstacle := self._obstacle(trace_id)):
            job.refused.append(_refusal(trace_id, obstacle, "spans"))
            return
        for line in lines:
            try:
                made = self._context.sender.sendable(trace_id, line)
            except UnsendableError as error:
                job.refused.append(_refusal(trace_id, f"span {line.span_id}: {error}", f"spans[{line.span_id}]"))
                continue
            job.spans.append(made)
            job.refused += (
                _refusal(trace_id, f"span {line.span_id}: {lost}", f"spans[{line.span_id}]") for lost in made.lost
            )
        if lines and not job.spans:  # a comparison names them all at once
            job.refused = [refusal.model_copy(update={"field": "spans"}) for refusal in job.refused]

    def _obstacle(self, trace_id: str) -> str:
        """Why no span of a trace can be sent; empty: some can."""
        if not TRACE_ID.fullmatch(trace_id):
            return "its spans can't be restored through the API, which would give the trace another id"
        if not self._takes_spans:
            return "the target takes no spans: that came with MLflow 3.5, where it is not started with --gunicorn-opts"
        return ""

    @cached_property
    def _sets_locations(self) -> bool:
        """Whether the target lets the location of a trace's files be set: MLflow 3.18 and later do not."""
        version = release(self._connection.server_version())
        return version is None or version < _OWN_LOCATIONS

    @cached_property
    def _takes_spans(self) -> bool:
        connection = self._connection
        return trace_writing.takes_spans(connection.within(None) if self._context.is_planned else connection)

    def _send(self, chunk: list[_Job]) -> None:
        """Send the spans of some traces at once; where that fails, of each by itself."""
        having = [job for job in chunk if job.spans]
        if not having:
            return
        tags = {restore_tags.SNAPSHOT: restore_tags.filling(self._context.timestamp)}
        refused: list[Refusal] = []
        with Refusing(self._connection, _refusal("", "", ""), None, refused):
            spans = (made.message for job in having for made in job.spans)
            trace_writing.send_spans(self._connection, having[0].experiment_id, spans, tags)
            self.sent = True
            return
        for job in having if len(having) > 1 else ():
            self._send([job])
        if len(having) == 1:
            reason = f"its spans were refused: {refused[0].reason}"
            having[0].refused.append(_refusal(having[0].trace.trace_id, reason, "spans"))

    def _finish(self, job: _Job) -> None:
        trace, connection = job.trace, self._connection
        there = self._context.traces.get(trace.trace_id, TargetTrace()).assessments
        filling = restore_tags.filling(self._context.timestamp)
        trace_writing.start(connection, trace, job.experiment_id, {restore_tags.SNAPSHOT: filling})
        for one in trace_writing.in_turn(trace.assessments):
            if one.assessment_id not in there:
                kind, identifier = assessment_key(trace.trace_id, one.assessment_id)
                refusal = Refusal(kind=kind, id=identifier, reason="")
                with Refusing(connection, refusal, "", job.refused):
                    trace_writing.assess(connection, trace.trace_id, one)
        if location := trace.tags.get(ARTIFACT_LOCATION_TAG):
            name = ARTIFACT_LOCATION_TAG if self._sets_locations else restore_tags.SOURCE_ARTIFACT_LOCATION
            trace_writing.set_tag(connection, trace.trace_id, name, location)
        links.link_to_trace(connection, trace.trace_id, trace.tags)
        trace_writing.set_tag(connection, trace.trace_id, restore_tags.SNAPSHOT, self._context.timestamp)


def _refusal(trace_id: str, reason: str, name: str, hint: str = "") -> Refusal:
    return Refusal(kind=_KIND, id=trace_id, reason=reason, field=name, hint=hint)
