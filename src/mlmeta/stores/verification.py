"""The proof of a restore: the snapshot's records against what the target gives back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from mlmeta.schema import (
    Experiment,
    Line,
    LoggedModel,
    ModelVersion,
    RegisteredModel,
    Skipped,
)
from mlmeta.snapshot import equality
from mlmeta.snapshot.order import place
from mlmeta.snapshot.reader import RunLines
from mlmeta.snapshot.selected import Selected
from mlmeta.snapshot.walking import Merge, with_histories
from mlmeta.stores.target import Key, Report, version_key

MOST_NAMED = 1000

T = TypeVar("T")


class Difference(BaseModel):
    """Something that the target gives back differently, or not at all.

    Args:
        kind: ``experiment``, ``run``, ``metric history``, ``logged model``, ``registered model`` or
            ``model version``.
        id: in the snapshot.
        field: which field; empty: the whole record is missing, or there twice.
        expected: what the snapshot says, shortened.
        found: what the target says, shortened.
        metric: the metric's field, where its history differs: a refusal of a point names that. Not part of the JSON
            output.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    id: str
    field: str = ""
    expected: str = ""
    found: str = ""
    metric: str = Field(default="", exclude=True)

    def __str__(self) -> str:
        """In one line."""
        if not self.field:
            return f"{self.kind} {self.id}: {self.found}"
        return f"{self.kind} {self.id}: {self.field} is {self.found} instead of {self.expected}"


class Comparison(BaseModel):
    """What came of it.

    Args:
        compared: records of the snapshot by kind.
        matching: those of them that the target gives back equal.
        differences: the first `MOST_NAMED`; not those that a refusal has told already.
        total: of all differences.
        changed: what people did in the target since the snapshot was made: the first `MOST_NAMED`.
        total_changed: of all that.
        unkept: fields that were not compared, for the route can't keep them.
    """

    model_config = ConfigDict(frozen=True)

    compared: dict[str, int]
    matching: dict[str, int]
    differences: tuple[Difference, ...] = ()
    total: int = 0
    changed: tuple[Difference, ...] = ()
    total_changed: int = 0
    unkept: tuple[str, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Whether all came back that was written."""
        return self.total == 0


def compare(
    selected: Selected, found: Iterable[Line | Skipped], unkept: tuple[str, ...], report: Report | None = None
) -> Comparison:
    """Check what a target gives back against the snapshot.

    A difference is what the restore wrote and the target does not give back. What was there before the restore, and
    what the target has more than the snapshot, was changed since by somebody.

    Args:
        selected: what was to be restored.
        found: what the target has, in the snapshot's ids; each kind in the snapshot's order.
        unkept: fields to leave out, such as ``runs.artifact_uri``.
        report: what the restore did; None: it wrote everything, and nobody else writes there.
    """
    return _Comparer(selected, unkept, report).compare(found)


class Told:
    """What a restore has told of records already.

    Args:
        report: what it did.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._refused: dict[Key, set[str]] = {}
        for refusal in report.refused:
            for key in refusal.concerned:
                self._refused.setdefault(key, set()).add(refusal.field)

    def explains(self, difference: Difference) -> bool:
        """Whether the target refused the record or what differs in it."""
        told = self._refused.get((difference.kind, difference.id), set())
        return not told.isdisjoint({"", difference.field, difference.metric})

    def is_older(self, difference: Difference) -> bool:
        """Whether it is about something that this restore did not write."""
        key = (difference.kind, difference.id)
        return key in self._report.existing and (*key, difference.field) not in self._report.completed


class _Comparer:
    def __init__(self, selected: Selected, unkept: tuple[str, ...], report: Report | None) -> None:
        self._told = Told(report) if report is not None else None
        self._changed: list[Difference] = []
        self._total_changed = 0
        self._unkept = unkept
        self._unkept_keys = tuple(field.replace("[", "[[]") for field in unkept if field.endswith("*]"))
        self._compared: Counter[str] = Counter()
        self._matching: Counter[str] = Counter()
        self._differences: list[Difference] = []
        self._total = 0
        self._experiments = Merge(selected.experiments(), place)
        self._runs = Merge(selected.runs_with_lines(), place)
        self._logged = Merge(selected.logged_models(), place)
        self._models = Merge(selected.models(), place)

    def compare(self, found: Iterable[Line | Skipped]) -> Comparison:
        for item in with_histories(found):
            if isinstance(item, Experiment):
                self._match(self._experiments, item, self._experiment, _named_experiment)
            elif isinstance(item, RunLines):
                self._match(self._runs, item, self._run, _named_run)
            elif isinstance(item, LoggedModel):
                self._match(self._logged, item, self._logged_model, _named_logged)
            elif isinstance(item, RegisteredModel):
                self._match(self._models, item, self._model, _named_model)
            elif isinstance(item, Skipped) and item.is_of_records:
                self._differ(Difference(kind=item.kind, id=item.id, found=f"not readable: {item.reason}"))
        self._rest(self._experiments, _named_experiment)
        self._rest(self._runs, _named_run)
        self._rest(self._logged, _named_logged)
        self._rest(self._models, _named_model)
        return Comparison(
            compared=dict(self._compared),
            matching=dict(self._matching),
            differences=tuple(self._differences),
            total=self._total,
            changed=tuple(self._changed),
            total_changed=self._total_changed,
            unkept=self._unkept,
        )

    def _match(
        self, merge: Merge[T], item: T, compare: Callable[[T, T], bool], name: Callable[[T], tuple[str, str]]
    ) -> None:
        missing, expected = merge.up_to(item)
        for record in missing:
            self._missing(*name(record))
        kind, identifier = name(item)
        if expected is None:
            if merge.was_last(item):
                self._differ(Difference(kind=kind, id=identifier, found="it is there twice"))
            return
        self._compared[kind] += 1
        self._matching[kind] += compare(expected, item)

    def _rest(self, merge: Merge[T], name: Callable[[T], tuple[str, str]]) -> None:
        for record in merge.rest():
            self._missing(*name(record))

    def _missing(self, kind: str, identifier: str) -> None:
        self._compared[kind] += 1
        self._matching[kind] += 0
        self._differ(Difference(kind=kind, id=identifier, found="it is not there"))

    def _differ(self, difference: Difference, *, is_more: bool = False) -> None:
        """Note a difference; `is_more`: all of the snapshot is there, and something else besides."""
        if self._told is not None and self._told.explains(difference):
            return
        if self._told is not None and (is_more or self._told.is_older(difference)):
            self._total_changed += 1
            noted = self._changed
        else:
            self._total += 1
            noted = self._differences
        if len(noted) < MOST_NAMED:
            noted.append(difference)

    def _fields(self, kind: str, plural: str, identifier: str, pair: tuple[dict[str, Any], dict[str, Any]]) -> bool:
        fields = [field for field in pair[0] if f"{plural}.{field}" not in self._unkept]
        differences = [
            difference
            for difference in equality.differences(*pair, fields)
            if not any(fnmatchcase(f"{plural}.{difference[0]}", unkept) for unkept in self._unkept_keys)
        ]
        for field, expected, found in differences:
            difference = Difference(kind=kind, id=identifier, field=field, expected=expected, found=found)
            self._differ(difference, is_more=equality.is_more(field, *pair))
        return not differences

    def _experiment(self, expected: Experiment, found: Experiment) -> bool:
        return self._fields("experiment", "experiments", expected.name, (dict(expected), dict(found)))

    def _run(self, expected: RunLines, found: RunLines) -> bool:
        wanted, actual = dict(expected.run), dict(found.run)
        if any(metric.step is None for metric in expected.run.metrics.values()):  # older snapshots: values only
            wanted["metrics"] = {k: m.value for k, m in wanted["metrics"].items()}
            actual["metrics"] = {k: m.value for k, m in actual["metrics"].items()}
        if not wanted["run_name"]:  # a server makes up a name for a run without one
            wanted["run_name"] = actual["run_name"]
        same = self._fields("run", "runs", expected.run.run_id, (wanted, actual))
        return self._histories(expected, found) and same

    def _histories(self, expected: RunLines, found: RunLines) -> bool:
        """Point by point; a history of one point that is the latest metric needs no record on either side."""
        wanted, actual = equality.metrics_of(expected), equality.metrics_of(found)
        same = [self._points(expected, key, metric, actual.get(key)) for key, metric in wanted.items()]
        return all(same)

    def _points(
        self, run: RunLines, key: str, expected: equality.MetricPoints, found: equality.MetricPoints | None
    ) -> bool:
        if found is not None and expected.is_plainly(found):
            self._compared["metric point"] += expected.size
            self._matching["metric point"] += expected.size
            return True
        points, there = expected.points(), found.points() if found else set()
        self._compared["metric point"] += len(points)
        self._matching["metric point"] += len(points & there)
        if points == there:
            return True
        shown = {"expected": f"{len(points)} points", "found": f"{len(points & there)} of them"}
        more = len(there - points)
        shown["found"] += f" and {more} others" if more else ""
        difference = Difference(
            kind="run", id=run.run.run_id, field=f"history of {key}", metric=f"metrics[{key}]", **shown
        )
        self._differ(difference, is_more=points <= there)
        return False

    def _logged_model(self, expected: LoggedModel, found: LoggedModel) -> bool:
        return self._fields("logged model", "logged models", expected.model_id, (dict(expected), dict(found)))

    def _model(self, expected: RegisteredModel, found: RegisteredModel) -> bool:
        wanted, actual = dict(expected), dict(found)
        versions = {version.version: version for version in actual.pop("versions")}
        same = True
        for version in wanted.pop("versions"):
            same = self._version(expected.name, version, versions.get(version.version)) and same
        return self._fields("registered model", "models", expected.name, (wanted, actual)) and same

    def _version(self, name: str, expected: ModelVersion, found: ModelVersion | None) -> bool:
        kind, identifier = version_key(name, expected.version)
        if found is None:
            self._missing(kind, identifier)
            return False
        self._compared[kind] += 1
        pair = (dict(expected), dict(found))
        same = self._fields(kind, "model versions", identifier, pair)
        self._matching[kind] += same
        return same


def _named_experiment(record: Experiment) -> tuple[str, str]:
    return "experiment", record.name


def _named_run(item: RunLines) -> tuple[str, str]:
    return "run", item.run.run_id


def _named_logged(record: LoggedModel) -> tuple[str, str]:
    return "logged model", record.model_id


def _named_model(record: RegisteredModel) -> tuple[str, str]:
    return "registered model", record.name
