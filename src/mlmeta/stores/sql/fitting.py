"""Takes out of a snapshot's records what the target can't hold, as little as possible, and names it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any, TypeVar

from mlmeta.schema import (
    DatasetInput,
    Experiment,
    LoggedModel,
    LoggedModelMetric,
    ModelVersion,
    Record,
    RegisteredModel,
    Run,
)
from mlmeta.snapshot.reader import RunLines
from mlmeta.stores.sql.limits import Limits
from mlmeta.stores.sql.outcome import Outcome
from mlmeta.stores.sql.stored import StoredForm
from mlmeta.stores.target import model_key, model_keys, version_key

_FIELDS: dict[str, dict[str, str]] = {
    "experiments": {
        "name": "name",
        "artifact_location": "artifact_location",
        "lifecycle_stage": "lifecycle_stage",
        "creation_time": "creation_time",
        "last_update_time": "last_update_time",
    },
    "runs": {
        "run_uuid": "run_id",
        "name": "run_name",
        "user_id": "user_id",
        "status": "status",
        "lifecycle_stage": "lifecycle_stage",
        "start_time": "start_time",
        "end_time": "end_time",
        "deleted_time": "deleted_time",
        "artifact_uri": "artifact_uri",
    },
    "latest_metrics": {"step": "step", "timestamp": "timestamp"},
    "datasets": {
        "name": "name",
        "digest": "digest",
        "dataset_source_type": "source_type",
        "dataset_source": "source",
        "dataset_schema": "schema_",
        "dataset_profile": "profile",
    },
    "logged_models": {
        "model_id": "model_id",
        "name": "name",
        "artifact_location": "artifact_location",
        "creation_timestamp_ms": "creation_timestamp",
        "last_updated_timestamp_ms": "last_updated_timestamp",
        "lifecycle_stage": "lifecycle_stage",
        "model_type": "model_type",
        "source_run_id": "source_run_id",
        "status_message": "status_message",
    },
    "logged_model_metrics": {
        "metric_name": "key",
        "metric_timestamp_ms": "timestamp",
        "metric_step": "step",
        "run_id": "run_id",
        "dataset_name": "dataset_name",
        "dataset_digest": "dataset_digest",
    },
    "registered_models": {
        "name": "name",
        "creation_time": "creation_timestamp",
        "last_updated_time": "last_updated_timestamp",
        "description": "description",
    },
    "model_versions": {
        "version": "version",
        "creation_time": "creation_timestamp",
        "last_updated_time": "last_updated_timestamp",
        "description": "description",
        "user_id": "user_id",
        "current_stage": "current_stage",
        "source": "source",
        "storage_location": "storage_location",
        "run_id": "run_id",
        "run_link": "run_link",
        "status": "status",
        "status_message": "status_message",
    },
}
"""Columns whose values are fields of a record, by table. An experiment's id is looked at where it is decided about."""

R = TypeVar("R", bound=Record)
V = TypeVar("V")
Checks = list[tuple[Callable[[Any], object], Callable[[object], str]]]


class Fitting:
    """Passes records on as a target can hold them.

    Args:
        limits: of the target.
        outcome: what does not fit is named there.
        form: gives stored forms; of its own, for it counts what it rewrites.
    """

    def __init__(self, limits: Limits, outcome: Outcome, form: StoredForm) -> None:
        self._limits = limits
        self._outcome = outcome
        self._form = form
        self._datasets_seen: dict[Hashable, tuple[str, ...]] = {}
        self._checks: dict[str, Checks] = {
            table: [(attrgetter(field), limits.column(table, column).problem) for column, field in fields.items()]
            for table, fields in _FIELDS.items()
        }

    def experiments(self, records: Iterable[Experiment]) -> Iterable[Experiment]:
        """Those that fit, without the tags that don't."""
        return self._experiments(records) if self._limits.are_any else records

    def _experiments(self, records: Iterable[Experiment]) -> Iterator[Experiment]:
        for record in records:
            if self._fits("experiment", record.name, "experiments", self._form.of(record)):
                tags = self._pairs("experiment_tags", ("experiment", record.name, "tag"), record.tags)
                yield _with(record, tags=tags)

    def runs(self, items: Iterable[RunLines]) -> Iterable[RunLines]:
        """Those that fit, without the params, tags, metrics and datasets that don't."""
        return self._runs(items) if self._limits.are_any else items

    def _runs(self, items: Iterable[RunLines]) -> Iterator[RunLines]:
        for item in items:
            stored = self._form.of(item.run)
            if self._fits("run", item.run.run_id, "runs", stored):
                yield self._run(item, stored)

    def _run(self, item: RunLines, stored: Run) -> RunLines:
        run, run_id = item.run, item.run.run_id
        bad = self._bad_metrics(item, stored)
        metrics = self._without("metrics", ("run", run_id, "metric"), run.metrics, bad)
        fitted = _with(
            run,
            params=self._pairs("params", ("run", run_id, "param"), run.params),
            tags=self._pairs("tags", ("run", run_id, "tag"), run.tags),
            metrics=metrics,
            dataset_inputs=self._datasets(run),
        )
        if fitted is run and not bad:
            return item
        for key in bad.keys() - run.metrics.keys():
            self._misfit(("run", run_id, "metric"), key, bad[key], f"metrics[{key}]")
        return RunLines(fitted, tuple(line for line in item.lines if line.key not in bad))

    def _bad_metrics(self, item: RunLines, stored: Run) -> dict[str, str]:
        """What is wrong with metrics, by key."""
        column = self._limits.column("latest_metrics", "key")
        bad = {}
        for key, metric in stored.metrics.items():
            if problem := column.problem(key) or self._problem("latest_metrics", metric):
                bad[key] = problem
        more = {line.key for line in item.lines}.difference(stored.metrics)
        bad.update((key, problem) for key in more if (problem := column.problem(key)))
        return bad | self._equal("latest_metrics", "key", [*stored.metrics, *sorted(more)], bad)

    def _datasets(self, run: Run) -> tuple[DatasetInput, ...]:
        kept = []
        for used in run.dataset_inputs:
            problem = self._problem("datasets", used.dataset) or self._tag_problem("input_tags", used.tags)
            if not problem:
                words = (used.dataset.name, used.dataset.digest)
                problem = self._taken("datasets", "name", words, (run.experiment_id,), self._datasets_seen)
            if problem:
                self._misfit(("run", run.run_id, "dataset"), used.dataset.name, problem, "dataset_inputs")
            else:
                kept.append(used)
        return run.dataset_inputs if len(kept) == len(run.dataset_inputs) else tuple(kept)

    def _tag_problem(self, table: str, tags: Mapping[str, str]) -> str:
        return next(iter(self._bad_pairs(table, "name", "value", tags).values()), "")

    def logged_models(self, records: Iterable[LoggedModel]) -> Iterable[LoggedModel]:
        """Those that fit, without the params, tags and metrics that don't."""
        return self._logged_models(records) if self._limits.are_any else records

    def _logged_models(self, records: Iterable[LoggedModel]) -> Iterator[LoggedModel]:
        for record in records:
            place = ("logged model", record.model_id)
            if self._fits(*place, "logged_models", self._form.of(record)):
                params = ("logged_model_params", (*place, "param"), record.params, "param_key", "param_value")
                tags = ("logged_model_tags", (*place, "tag"), record.tags, "tag_key", "tag_value")
                metrics = self._model_metrics(record)
                yield _with(record, params=self._pairs(*params), tags=self._pairs(*tags), metrics=metrics)

    def _model_metrics(self, record: LoggedModel) -> tuple[LoggedModelMetric, ...]:
        kept = []
        seen: dict[Hashable, tuple[str, ...]] = {}
        for metric in record.metrics:
            place = (metric.run_id, metric.step, metric.timestamp)
            problem = self._problem("logged_model_metrics", metric)
            if problem or (problem := self._taken("logged_model_metrics", "metric_name", (metric.key,), place, seen)):
                self._misfit(("logged model", record.model_id, "metric"), metric.key, problem, "metrics")
            else:
                kept.append(metric)
        return record.metrics if len(kept) == len(record.metrics) else tuple(kept)

    def models(self, records: Iterable[RegisteredModel]) -> Iterable[RegisteredModel]:
        """Those that fit, without the versions, aliases and tags that don't."""
        return self._models(records) if self._limits.are_any else records

    def _models(self, records: Iterable[RegisteredModel]) -> Iterator[RegisteredModel]:
        for record in records:
            stored = self._form.of(record)
            if problem := self._problem("registered_models", stored):
                self._outcome.misfit(*model_key(record.name), f"it {problem}", records=model_keys(record))
            else:
                yield self._model(record, stored)

    def _model(self, record: RegisteredModel, stored: RegisteredModel) -> RegisteredModel:
        tags = self._pairs("registered_model_tags", ("registered model", record.name, "tag"), record.tags)
        pairs = zip(record.versions, stored.versions, strict=True)
        versions = [fitted for own, form in pairs if (fitted := self._version(record.name, own, form))]
        same = len(versions) == len(record.versions) and all(map(_is, versions, record.versions))
        gone = {version.version for version in record.versions} - {version.version for version in versions}
        return _with(
            record,
            tags=tags,
            aliases=self._aliases(record, gone),
            versions=record.versions if same else tuple(versions),
        )

    def _aliases(self, record: RegisteredModel, gone: set[int]) -> Mapping[str, int]:
        column = self._limits.column("registered_model_aliases", "alias")
        bad = {alias: f"it {problem}" for alias in record.aliases if (problem := column.problem(alias))}
        equal = self._equal("registered_model_aliases", "alias", record.aliases, bad)
        bad |= {alias: f"it {problem}" for alias, problem in equal.items()}
        bad |= {a: f"its version {v} is left out" for a, v in record.aliases.items() if v in gone and a not in bad}
        for alias, problem in bad.items():
            concerned = (model_key(record.name),)
            self._outcome.misfit("alias", f"{record.name}@{alias}", problem, f"aliases[{alias}]", concerned)
        return {a: v for a, v in record.aliases.items() if a not in bad} if bad else record.aliases

    def _version(self, name: str, record: ModelVersion, stored: ModelVersion) -> ModelVersion | None:
        key = version_key(name, record.version)
        if not self._fits(*key, "model_versions", stored):
            return None
        return _with(record, tags=self._pairs("model_version_tags", (*key, "tag"), record.tags))

    def _fits(self, kind: str, identifier: str, table: str, stored: Record) -> bool:
        """Whether a record fits as a whole; named, if not."""
        problem = self._problem(table, stored)
        if problem:
            self._outcome.misfit(kind, identifier, f"it {problem}")
        return not problem

    def _problem(self, table: str, record: Record) -> str:
        for value_of, problem_of in self._checks[table]:
            if problem := problem_of(value_of(record)):
                return problem
        return ""

    def _pairs(
        self, table: str, place: tuple[str, str, str], pairs: Mapping[str, str], key: str = "key", value: str = "value"
    ) -> Mapping[str, str]:
        """Those that fit; the very same map where all do.

        Args:
            table: they belong into.
            place: kind and id of their record, and what they are.
            pairs: keys and values.
            key: the column for keys.
            value: the column for values.
        """
        bad = self._bad_pairs(table, key, value, pairs)
        return self._without(f"{place[2]}s", place, pairs, bad)

    def _bad_pairs(self, table: str, key: str, value: str, pairs: Mapping[str, str]) -> dict[str, str]:
        key_problem, value_problem = (self._limits.column(table, name).problem for name in (key, value))
        bad = {}
        for name, text in pairs.items():
            if problem := key_problem(name) or value_problem(text):
                bad[name] = problem
        return bad | self._equal(table, key, pairs, bad)

    def _equal(self, table: str, column: str, names: Iterable[str], bad: Mapping[str, str]) -> dict[str, str]:
        """Names that the target's collation takes for one that comes before."""
        found = self._limits.column(table, column)
        if found.collation is None:
            return {}
        equal = found.collation.equal([name for name in names if name not in bad])
        return {name: f"is {other!r} to the collation {found.collation.name}" for name, other in equal.items()}

    def _taken(
        self, table: str, column: str, words: tuple[str, ...], place: Hashable, seen: dict[Hashable, tuple[str, ...]]
    ) -> str:
        """Why words can't be in a place: the target's collation takes them for others that are there."""
        collation = self._limits.column(table, column).collation
        if collation is None:
            return ""
        first = seen.setdefault((place, *collation.weights(words)), words)
        return "" if first == words else f"is {first[0]!r} to the collation {collation.name}"

    def _without(
        self, field: str, place: tuple[str, str, str], values: Mapping[str, V], bad: Mapping[str, str]
    ) -> Mapping[str, V]:
        """Values by name without the bad ones, which are named; the very same map where there is none."""
        if not bad:
            return values
        for name in values:
            if name in bad:
                self._misfit(place, name, bad[name], f"{field}[{name}]")
        return {name: value for name, value in values.items() if name not in bad}

    def _misfit(self, place: tuple[str, str, str], name: str, problem: str, field: str) -> None:
        kind, identifier, what = place
        self._outcome.misfit(kind, identifier, f"its {what} {name!r} {problem}", field)


def _is(one: object, other: object) -> bool:
    return one is other


def _with(record: R, **fields: Any) -> R:
    """A record with these fields; the very same where they are its own."""
    changed = {name: value for name, value in fields.items() if value is not getattr(record, name)}
    return record.model_copy(update=changed) if changed else record
