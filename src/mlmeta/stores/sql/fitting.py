"""Takes out of a snapshot's records what the target can't hold, as little as possible, and names it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

from mlmeta.schema import (
    LOGGED_MODELS,
    MODELS,
    RUNS,
    SPANS,
    TRACES,
    DatasetInput,
    LoggedModel,
    Record,
    RegisteredModel,
    Run,
    SpanLine,
    Trace,
)
from mlmeta.snapshot.reader import Led, RunLines, TraceLines
from mlmeta.stores.sql.limits import Limits
from mlmeta.stores.sql.mapping import Column, KindTable, Pairs, Table
from mlmeta.stores.sql.spans import span_row
from mlmeta.stores.sql.stored import StoredForm
from mlmeta.stores.sql.tables import (
    DATASET_TABLE,
    INPUT_TAGS,
    LOGGED_MODEL_METRIC_TABLE,
    MODEL_ALIASES,
    MODEL_VERSION_TABLE,
    RUN_TABLE,
    table_of,
)
from mlmeta.stores.sql.tally import RestoreTally
from mlmeta.stores.sql.trace_tables import ASSESSMENT_TABLE, SPAN_ROW, TRACE_TABLE
from mlmeta.stores.target import Key, assessment_key, model_key, version_key

R = TypeVar("R", bound=Record)
V = TypeVar("V")
Seen = dict[Hashable, tuple[str, ...]]


class Fitting:
    """Passes records on as a target can hold them.

    Args:
        limits: of the target.
        tally: what does not fit is named there.
        form: gives stored forms; of its own, for it counts what it rewrites.
    """

    def __init__(self, limits: Limits, tally: RestoreTally, form: StoredForm) -> None:
        self._limits = limits
        self._tally = tally
        self._form = form
        self._datasets_seen: Seen = {}
        self._checks = cache(self._checks_of)
        self._more: dict[str, Callable[[Any], dict[str, Any]]] = {
            LOGGED_MODELS.name: self._model_metrics,
            MODELS.name: self._versions,
            TRACES.name: self._assessments,
        }

    def records(self, records: Iterable[R]) -> Iterable[R]:
        """Those that fit, without those of their parts that don't."""
        return self._fitting(records) if self._limits.are_any else records

    def _fitting(self, records: Iterable[R]) -> Iterator[R]:
        for record in records:
            table = table_of(record)
            fitted = self._fitted(table, record, (table.kind.one, table.kind.found_as(record)))
            if fitted is not None:
                yield fitted

    def _fitted(self, table: KindTable[R], record: R, subject: Key) -> R | None:
        if problem := self._problem(table, self._form.of(record)):
            parts = ((part, one) for field, part in table.kind.parts.items() for one in getattr(record, field))
            below = ((part.one, f"{subject[1]} {part.key(one)}") for part, one in parts)
            self._tally.misfit(*subject, f"it {problem}", records=(subject, *below))
            return None
        fields: dict[str, Any] = self._all_pairs(table, record, subject)
        if more := self._more.get(table.kind.name):
            fields |= more(record)
        return _with(record, fields)

    def traces(self, items: Iterable[TraceLines]) -> Iterable[TraceLines]:
        """Those that fit, without the tags, metadata, assessments and spans that don't."""
        return self._traces(items) if self._limits.are_any else items

    def _traces(self, items: Iterable[TraceLines]) -> Iterator[TraceLines]:
        for item in items:
            subject = (TRACES.one, item.record.trace_id)
            fitted = self._fitted(TRACE_TABLE, item.record, subject)
            if fitted is not None:
                yield Led(fitted, self._spans(item.lines, subject))

    def _spans(self, lines: tuple[SpanLine, ...], subject: Key) -> tuple[SpanLine, ...]:
        problems = [self._limits.column(SPANS.name, name).problem for name in SPAN_ROW]

        def problem(line: SpanLine) -> str:
            row = zip(problems, span_row(line, 0), strict=True)
            return next((found for problem_of, value in row if (found := problem_of(value))), "")

        return self._those_that_fit(
            lines, problem, lambda line, why: self._misfit(subject, "span", line.span_id, why, f"spans[{line.span_id}]")
        )

    def _assessments(self, record: Trace) -> dict[str, Any]:
        fitted = [
            self._fitted(ASSESSMENT_TABLE, one, assessment_key(record.trace_id, one.assessment_id))
            for one in record.assessments
        ]
        same = all(map(_is, fitted, record.assessments))
        kept = record.assessments if same else tuple(one for one in fitted if one is not None)
        return {"assessments": kept}

    def runs(self, items: Iterable[RunLines]) -> Iterable[RunLines]:
        """Those that fit, without the params, tags, metrics and datasets that don't."""
        return self._runs(items) if self._limits.are_any else items

    def _runs(self, items: Iterable[RunLines]) -> Iterator[RunLines]:
        for item in items:
            stored, subject = self._form.of(item.record), (RUNS.one, item.record.run_id)
            if problem := self._problem(RUN_TABLE, stored):
                self._tally.misfit(*subject, f"it {problem}")
            else:
                yield self._run(item, stored, subject)

    def _run(self, item: RunLines, stored: Run, subject: Key) -> RunLines:
        run, bad = item.record, self._bad_metrics(item, stored)
        metrics = self._without("metrics", subject, run.metrics, bad)
        pairs = self._all_pairs(RUN_TABLE, run, subject)
        fitted = _with(run, {**pairs, "metrics": metrics, "dataset_inputs": self._datasets(run, subject)})
        if fitted is run and not bad:
            return item
        for key in bad.keys() - run.metrics.keys():
            self._misfit(subject, "metric", key, bad[key], f"metrics[{key}]")
        return Led(fitted, tuple(line for line in item.lines if line.key not in bad))

    def _bad_metrics(self, item: RunLines, stored: Run) -> dict[str, str]:
        """What is wrong with metrics, by key."""
        key_problem, step_problem, time_problem = (
            self._limits.column("latest_metrics", name).problem for name in ("key", "step", "timestamp")
        )
        bad = {}
        for key, metric in stored.metrics.items():
            if problem := key_problem(key) or step_problem(metric.step) or time_problem(metric.timestamp):
                bad[key] = problem
        more = {line.key for line in item.lines}.difference(stored.metrics)
        bad.update((key, problem) for key in more if (problem := key_problem(key)))
        return bad | self._equal("latest_metrics", "key", [*stored.metrics, *sorted(more)], bad)

    def _datasets(self, run: Run, subject: Key) -> tuple[DatasetInput, ...]:
        def problem(used: DatasetInput) -> str:
            words = (used.dataset.name, used.dataset.digest)
            return (
                self._problem(DATASET_TABLE, used.dataset)
                or next(iter(self._bad_pairs(INPUT_TAGS, used.tags).values()), "")
                or self._taken("datasets", "name", words, (run.experiment_id,), self._datasets_seen)
            )

        return self._those_that_fit(
            run.dataset_inputs,
            problem,
            lambda used, why: self._misfit(subject, "dataset", used.dataset.name, why, "dataset_inputs"),
        )

    def _model_metrics(self, record: LoggedModel) -> dict[str, Any]:
        subject = (LOGGED_MODELS.one, record.model_id)
        seen: Seen = {}

        def problem(metric: Any) -> str:
            place = (metric.run_id, metric.step, metric.timestamp)
            table = LOGGED_MODEL_METRIC_TABLE
            return self._problem(table, metric) or self._taken(table.name, "metric_name", (metric.key,), place, seen)

        metrics = self._those_that_fit(
            record.metrics, problem, lambda metric, why: self._misfit(subject, "metric", metric.key, why, "metrics")
        )
        return {"metrics": metrics}

    @staticmethod
    def _those_that_fit(
        parts: tuple[V, ...], problem: Callable[[V], str], misfit: Callable[[V, str], None]
    ) -> tuple[V, ...]:
        """Parts of a record without those that don't fit, which are named; the very same where all do."""
        kept = []
        for part in parts:
            if why := problem(part):
                misfit(part, why)
            else:
                kept.append(part)
        return parts if len(kept) == len(parts) else tuple(kept)

    def _versions(self, record: RegisteredModel) -> dict[str, Any]:
        fitted = [
            self._fitted(MODEL_VERSION_TABLE, version, version_key(record, version.version))
            for version in record.versions
        ]
        kept = tuple(version for version in fitted if version is not None)
        gone = {version.version for version in record.versions} - {version.version for version in kept}
        same = len(kept) == len(record.versions) and all(map(_is, kept, record.versions))
        return {"versions": record.versions if same else kept, "aliases": self._aliases(record, gone)}

    def _aliases(self, record: RegisteredModel, gone: set[int]) -> Mapping[str, int]:
        table, column = MODEL_ALIASES.name, self._limits.column(MODEL_ALIASES.name, MODEL_ALIASES.key)
        bad = {alias: f"it {problem}" for alias in record.aliases if (problem := column.problem(alias))}
        equal = self._equal(table, MODEL_ALIASES.key, record.aliases, bad)
        bad |= {alias: f"it {problem}" for alias, problem in equal.items()}
        bad |= {a: f"its version {v} is left out" for a, v in record.aliases.items() if v in gone and a not in bad}
        for alias, problem in bad.items():
            concerned = (model_key(record),)
            self._tally.misfit("alias", f"{concerned[0][1]}@{alias}", problem, f"aliases[{alias}]", concerned)
        return {a: v for a, v in record.aliases.items() if a not in bad} if bad else record.aliases

    def _problem(self, table: Table, record: Record) -> str:
        """Why a record does not fit as a whole, in words that follow "it"; empty: it does."""
        for value_of, problem_of in self._checks(table):
            if problem := problem_of(value_of(record)):
                return problem
        return ""

    def _checks_of(self, table: Table) -> list[tuple[Callable[[Any], object], Callable[[object], str]]]:
        return [
            (_value_of(column), self._limits.column(table.name, column.name).problem)
            for column in table.fields
            if column.limited
        ]

    def _all_pairs(self, table: KindTable[Any], record: Record, subject: Key) -> dict[str, Any]:
        """The maps of a record without what does not fit, which is named; the very same ones where all does."""
        found = {}
        for pairs in table.pairs:
            if pairs.text:
                own = getattr(record, pairs.field)
                found[pairs.field] = self._without(pairs.field, subject, own, self._bad_pairs(pairs, own))
        return found

    def _bad_pairs(self, pairs: Pairs, own: Mapping[str, str]) -> dict[str, str]:
        key_problem, value_problem = (self._limits.column(pairs.name, n).problem for n in (pairs.key, pairs.value))
        bad = {}
        for name, text in own.items():
            if problem := key_problem(name) or value_problem(text):
                bad[name] = problem
        return bad | self._equal(pairs.name, pairs.key, own, bad)

    def _equal(self, table: str, column: str, names: Iterable[str], bad: Mapping[str, str]) -> dict[str, str]:
        """Names that the target's collation takes for one that comes before."""
        found = self._limits.column(table, column)
        if found.collation is None:
            return {}
        equal = found.collation.equal([name for name in names if name not in bad])
        return {name: f"equals {other!r} in the collation {found.collation.name}" for name, other in equal.items()}

    def _taken(self, table: str, column: str, words: tuple[str, ...], place: Hashable, seen: Seen) -> str:
        """Why words can't be in a place: the target's collation takes them for others that are there."""
        collation = self._limits.column(table, column).collation
        if collation is None:
            return ""
        first = seen.setdefault((place, *collation.weights(words)), words)
        return "" if first == words else f"equals {first[0]!r} in the collation {collation.name}"

    def _without(self, field: str, subject: Key, values: Mapping[str, V], bad: Mapping[str, str]) -> Mapping[str, V]:
        """Values by name without the bad ones, which are named; the very same map where there is none."""
        if not bad:
            return values
        for name in values:
            if name in bad:
                self._misfit(subject, field.removesuffix("s"), name, bad[name], f"{field}[{name}]")
        return {name: value for name, value in values.items() if name not in bad}

    def _misfit(self, subject: Key, what: str, name: str, problem: str, field: str) -> None:
        self._tally.misfit(*subject, f"its {what} {name!r} {problem}", field)


def _value_of(column: Column) -> Callable[[Any], object]:
    """Gives what of a record has to fit into a column."""
    value_of, write = attrgetter(column.field), column.write
    return (lambda record: write(value_of(record))) if column.is_json and write is not None else value_of


def _is(one: object, other: object) -> bool:
    return one is other


def _with(record: R, fields: Mapping[str, Any]) -> R:
    """A record with these fields; the very same where they are its own."""
    changed = {name: value for name, value in fields.items() if value is not getattr(record, name)}
    return record.model_copy(update=changed) if changed else record
