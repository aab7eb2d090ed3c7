"""Steps of a restore for what evaluations need: traces, each with its spans, and datasets with their records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mlmeta.schema import (
    ASSESSMENTS,
    EVALUATION_DATASETS,
    SPANS,
    Assessment,
    DatasetRecord,
    EvaluationDataset,
    SpanLine,
    Trace,
)
from mlmeta.schema.words import amount
from mlmeta.snapshot.reader import Led, TraceLines, bare
from mlmeta.stores.base import ENDED_TRACES
from mlmeta.stores.sql.changes import TargetChange, changes, is_same, others
from mlmeta.stores.sql.joining import Joined, join
from mlmeta.stores.sql.queries import sized_batches
from mlmeta.stores.sql.spans import BYTES_AT_ONCE
from mlmeta.stores.sql.steps import RestoreContext, Step
from mlmeta.stores.sql.tables import DATASET_RECORD_TABLE, EVALUATION_DATASET_TABLE
from mlmeta.stores.sql.trace_tables import TRACE_TABLE
from mlmeta.stores.sql.writer import RowWriter
from mlmeta.stores.target import Key, assessment_key


class TraceStep(Step[Trace]):
    """Decides about traces, with their spans."""

    def __init__(self, context: RestoreContext) -> None:
        super().__init__(TRACE_TABLE, context)
        self._without: defaultdict[str, list[Trace]] = defaultdict(list)

    def take_items(self, items: Sequence[TraceLines]) -> None:
        """See `Step.take`."""
        items = self._unsettled(items, bare)
        ids = [item.record.trace_id for item in items]
        theirs = {item.record.trace_id: item for item in self._existing.traces(ids)}
        for item in items:
            trace = self._context.form.of(item.record)
            if (found := theirs.get(trace.trace_id)) is not None:
                self._take_item(Led(trace, item.lines), found)
            elif self._has_place(trace):
                self._create_with_spans(trace, item)

    def _create_with_spans(self, trace: Trace, item: TraceLines) -> None:
        self._tally.created[self._kind.counted_as] += 1
        if trace.assessments and ASSESSMENTS.name not in self._existing:
            self._without[ASSESSMENTS.name].append(trace)
            trace = trace.model_copy(update={"assessments": ()})
        if item.lines and SPANS.name not in self._existing:
            self._without[SPANS.name].append(trace)
            item = Led(trace, ())
        self._tally.created[ASSESSMENTS.counted_as] += len(trace.assessments)
        self._do(RowWriter.trace, trace, item.lines)

    def _take_item(self, stored: TraceLines, found: TraceLines) -> None:
        if self._context.merges:
            self._merge_item(stored, found)
            return
        self._take_assessments(stored.record, found.record)
        if is_same(stored, found):
            self._present(stored.record)
            return
        differences = changes(stored, found)
        if stored.record.state not in ENDED_TRACES or stored.record.spans_location != found.record.spans_location:
            differences = [TargetChange(one.field, one.expected, one.found, is_other=False) for one in differences]
        self._take_changed(stored.record, found.record, differences)

    def _take_assessments(self, stored: Trace, found: Trace) -> None:
        """A trace that is there keeps the assessments that it has, whatever became of those of the snapshot."""
        there = {one.assessment_id: one for one in found.assessments}
        for one in stored.assessments:
            key, own = assessment_key(stored.trace_id, one.assessment_id), there.get(one.assessment_id)
            if own is not None:
                self._tally.was_there(ASSESSMENTS.counted_as, key, changes(one, own))
            else:
                self._tally.existing.add(key)

    def _merge_item(self, stored: TraceLines, found: TraceLines) -> None:
        """Add what a trace that is there lacks, assessments and spans, too; and name what stays as it is there."""
        if is_same(stored, found):
            self._take_assessments(stored.record, found.record)
            self._settle(stored.record)
            return
        trace, theirs = stored.record, found.record
        differences = changes(stored, found)
        if reason := others([change for change in differences if change.name in self._table.identity]):
            self._conflict(trace, f"the target has another one under its id: {reason}")
            return
        equal = self._leave_equal_keys(trace, theirs)
        differences = [change for change in differences if change.field not in equal]
        joined = join(trace, theirs, differences)
        assessments, lines = self._missing_assessments(trace, theirs), self._missing_spans(stored, found)
        added = (change.field for change in differences if change.name == SPANS.name and _is_of(change, lines))
        written = {*joined.written, *added}
        if written or assessments:
            self._do(RowWriter.merge_trace, theirs, joined.record, assessments, [*lines.values()])
        self._tally.created[SPANS.counted_as] += len(lines)
        self._note_merged(self._key(trace), written, more=bool(assessments))
        self._note_joined(self._key(trace), joined)
        left = [change for change in differences if change.field not in written]
        for change in left:
            if change.name == SPANS.name and not change.is_more:
                self._tally.kept(self._key(trace), change)
        self._present(trace, [] if written else left)

    def _missing_spans(self, stored: TraceLines, found: TraceLines) -> dict[str, SpanLine]:
        """The spans that the target lacks, by id; none where it has put its own away."""
        if SPANS.name not in self._existing or stored.record.spans_location != found.record.spans_location:
            return {}
        there = {line.span_id for line in found.lines}
        return {line.span_id: line for line in stored.lines if line.span_id not in there}

    def _missing_assessments(self, stored: Trace, found: Trace) -> list[Assessment]:
        """The assessments that the target lacks; of those that it has, what differs is named."""
        there = {one.assessment_id: one for one in found.assessments}
        missing = []
        for one in stored.assessments:
            key, own = assessment_key(stored.trace_id, one.assessment_id), there.get(one.assessment_id)
            if own is not None:
                differences = changes(one, own)
                self._tally.was_there(ASSESSMENTS.counted_as, key, differences)
                self._note_joined(key, Joined(own, kept=tuple(c for c in differences if not c.is_more)))
            elif ASSESSMENTS.name in self._existing:
                missing.append(one)
            else:
                self._without[ASSESSMENTS.name].append(stored.model_copy(update={"assessments": (one,)}))
        self._tally.created[ASSESSMENTS.counted_as] += len(missing)
        return missing

    def finish(self) -> None:
        """See `Step.finish`."""
        super().finish()
        for name, traces in self._without.items():
            reason = f"the target's MLflow is older than 3.5, and has no table {name}"
            if name == SPANS.name:
                field, keys = name, [self._key(trace) for trace in traces]
            else:
                field, keys = "", [key for trace in traces for key in _assessment_keys(trace)]
            self._tally.misfit(name, f"of {amount(len(traces), 'traces')}", reason, field, records=tuple(keys))


def _is_of(change: TargetChange, lines: Mapping[str, SpanLine]) -> bool:
    """Whether a field is one of some spans, or all of them."""
    return (change.key.split(" ")[0] in lines) if change.key is not None else bool(lines)


def _assessment_keys(trace: Trace) -> list[Key]:
    """The assessments of a trace as a comparison names them."""
    return [assessment_key(trace.trace_id, one.assessment_id) for one in trace.assessments]


def trace_batches(items: Iterable[TraceLines]) -> Iterator[list[TraceLines]]:
    """Traces in batches that are small in traces and in bytes."""
    return sized_batches(items, lambda item: sum(len(line.line) for line in item.lines), BYTES_AT_ONCE)


_LINKS = "experiment_ids"


class EvaluationDatasetStep(Step[EvaluationDataset]):
    """Decides about evaluation datasets, and remembers which of them records may go into."""

    def __init__(self, context: RestoreContext) -> None:
        super().__init__(EVALUATION_DATASET_TABLE, context)

    def _has_place(self, stored: EvaluationDataset) -> bool:
        if problem := self._workspace_problem(stored):
            self._misfit(stored, problem)
            return False
        return super()._has_place(stored)

    def _create(self, stored: EvaluationDataset) -> None:
        self._context.datasets[stored.dataset_id] = True
        super()._create(self._with_links(stored))

    def _merge(self, stored: EvaluationDataset, found: EvaluationDataset, differences: Sequence[TargetChange]) -> None:
        super()._merge(self._with_links(stored), found, differences)

    def _with_links(self, stored: EvaluationDataset) -> EvaluationDataset:
        """Without the experiments that it can't belong to in the target; that is noted."""
        kept = tuple(number for number in stored.experiment_ids if self._is_meant(number))
        if len(kept) < len(stored.experiment_ids):
            lost = ", ".join(number for number in stored.experiment_ids if number not in kept)
            reason = f"it belongs to experiments that the target has no place for, or others under their id: {lost}"
            self._tally.leave_out(*self._key(stored), reason, _LINKS)
            return stored.model_copy(update={_LINKS: kept})
        return stored

    def _is_meant(self, experiment_id: str) -> bool:
        """Whether the target's experiment of an id is the snapshot's; or neither has one, as after `mlflow gc`."""
        context = self._context
        if experiment_id in context.open:
            return True
        is_there = experiment_id.isdecimal() and int(experiment_id) in self._existing.experiments
        return not is_there and experiment_id not in context.known

    def _present(self, stored: EvaluationDataset, *given: object, **named: object) -> None:
        self._context.datasets[stored.dataset_id] = False
        super()._present(stored, *given, **named)  # type: ignore[arg-type]


class DatasetRecordStep(Step[DatasetRecord]):
    """Decides about the records of evaluation datasets, of which MLflow takes each input once."""

    WITHIN = EVALUATION_DATASETS

    def __init__(self, context: RestoreContext) -> None:
        super().__init__(DATASET_RECORD_TABLE, context)
        self._taken: dict[tuple[str, str], str] = {}

    def take(self, records: Sequence[DatasetRecord]) -> None:
        """See `Step.take`."""
        older = {record.dataset_id for record in records if not self._context.datasets.get(record.dataset_id, True)}
        inputs = [(record.dataset_id, record.identity) for record in records if record.dataset_id in older]
        self._taken = self._existing.records_of_inputs(inputs) if inputs else {}
        super().take(records)

    def _has_place(self, stored: DatasetRecord) -> bool:
        if stored.dataset_id not in self._context.datasets:
            self._shut_out[stored.dataset_id].append(self._key(stored))
            return False
        other = self._taken.get((stored.dataset_id, stored.identity))
        if other is not None:
            self._conflict(stored, f"its dataset has these inputs already, as record {other}")
            return False
        return super()._has_place(stored)

    def _create(self, stored: DatasetRecord) -> None:
        super()._create(stored)
        if not self._context.datasets[stored.dataset_id]:
            self._do(RowWriter.count_records, stored.dataset_id)
