"""What changed between two states, checked against dictionaries."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlmeta.schema import (
    Experiment,
    HistoryLine,
    LatestMetric,
    LoggedModel,
    MetricHistory,
    ModelVersion,
    RegisteredModel,
    Run,
    SpanLine,
    Trace,
    experiment_order,
    kind_of,
    logged_model_order,
    run_order,
)
from mlmeta.snapshot.compare import MOST_NAMED, Changes, ComparisonRules, Item, Tally, changes
from mlmeta.snapshot.reader import Led, RunLines, TraceLines
from tests.support.examples import examples

_FEW = st.integers(0, 4).map(str)
_TAGS = st.dictionaries(st.sampled_from("ab"), st.sampled_from(["x", "y", "nothing"]), max_size=2)
_VALUES = st.sampled_from([0.5, 1.0, float("nan")])


@st.composite
def _runs(draw: st.DrawFn) -> RunLines:
    count, value = draw(st.integers(1, 3)), draw(_VALUES)
    latest = {"loss": LatestMetric(value=value, step=count - 1, timestamp=7)}
    run = Run(run_id=draw(_FEW), experiment_id="1", status="RUNNING", start_time=5, tags=draw(_TAGS), metrics=latest)
    steps = list(range(count))
    values = [draw(_VALUES) for _ in steps[1:]] + [value]
    history = MetricHistory(run_id=run.run_id, key="loss", step=steps, timestamp=[7] * count, value=values)
    return RunLines(run, (history.as_line(),) if count > 1 else ())


@st.composite
def _traces(draw: st.DrawFn) -> TraceLines:
    trace = Trace(trace_id=draw(_FEW), experiment_id="1", timestamp=5, state="OK", tags=draw(_TAGS))
    spans = draw(st.lists(st.tuples(st.sampled_from("ab"), _TAGS), max_size=2, unique_by=lambda span: span[0]))
    return Led(trace, tuple(_span(trace.trace_id, key, attributes) for key, attributes in sorted(spans)))


def _span(trace_id: str, span_id: str, attributes: dict[str, str]) -> SpanLine:
    content = json.dumps({"name": "call", "start_time_unix_nano": 5, "attributes": attributes})
    return SpanLine.of_content(trace_id, span_id, content.encode())


_EXPERIMENTS = st.builds(Experiment, experiment_id=_FEW, name=_FEW, tags=_TAGS)
_LOGGED = st.builds(
    LoggedModel,
    model_id=_FEW,
    experiment_id=st.just("1"),
    name=_FEW,
    creation_timestamp=st.just(5),
    last_updated_timestamp=st.integers(5, 6),
    status=st.just("READY"),
)
_VERSIONS = st.builds(ModelVersion, version=st.integers(1, 3), description=_FEW)
_MODELS = st.builds(
    RegisteredModel,
    name=_FEW,
    tags=_TAGS,
    versions=st.lists(_VERSIONS, max_size=3, unique_by=lambda version: version.version).map(
        lambda versions: tuple(sorted(versions, key=lambda version: version.version))
    ),
)
_ITEMS = st.tuples(
    st.lists(_EXPERIMENTS, unique_by=lambda e: e.experiment_id).map(
        lambda found: sorted(found, key=lambda e: experiment_order(e.experiment_id))
    ),
    st.lists(_runs(), unique_by=lambda r: r.record.run_id).map(
        lambda found: sorted(found, key=lambda r: run_order(r.record))
    ),
    st.lists(_LOGGED, unique_by=lambda m: m.model_id).map(lambda found: sorted(found, key=logged_model_order)),
    st.lists(_traces(), unique_by=lambda t: t.record.trace_id).map(
        lambda found: sorted(found, key=lambda t: t.record.trace_id)
    ),
    st.lists(_MODELS, unique_by=lambda m: m.name).map(lambda found: sorted(found, key=lambda m: m.name)),
).map(lambda kinds: [item for kind in kinds for item in kind])


def _by_id(items: Sequence[Item]) -> dict[tuple[str, str], bytes]:
    found = {}
    for item in items:
        if isinstance(item, Led):
            kind = kind_of(item.record)
            found[kind.one, kind.key(item.record)] = b"".join([item.record.to_line(), *_content_of(item)])
        elif isinstance(item, Experiment):
            found["experiment", item.experiment_id] = item.to_line()
        elif isinstance(item, LoggedModel):
            found["logged model", item.model_id] = item.to_line()
        elif isinstance(item, RegisteredModel):
            found["registered model", item.name] = item.model_copy(update={"versions": ()}).to_line()
            for version in item.versions:
                found["model version", f"{item.name} version {version.version}"] = version.to_line()
    return found


def _content_of(item: Led[Any, Any]) -> Iterator[bytes]:
    """The lines of what follows a record; of spans, with their attributes in order: that says the same."""
    for line in item.lines:
        yield line.line if isinstance(line, HistoryLine) else json.dumps(json.loads(line.line), sort_keys=True).encode()


@examples(150)
@given(_ITEMS, _ITEMS)
def test_it_finds_what_dictionaries_find(one: list[Item], other: list[Item]) -> None:
    before, after = _by_id(one), _by_id(other)
    expected: dict[str, Tally] = {}
    for kind, identifier in {*before, *after}:
        old, new = before.get((kind, identifier)), after.get((kind, identifier))
        what = "added" if old is None else "removed" if new is None else "same" if old == new else "changed"
        tally = expected.setdefault(kind, Tally())
        setattr(tally, what, getattr(tally, what) + 1)
    found = changes(one, other, ComparisonRules())
    assert found.records == expected
    assert found.is_equal == (before == after)
    named = {(change.kind, change.id) for change in found.changes}
    differing = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    assert named <= differing
    one_sided = {identifier for kind, identifier in before.keys() ^ after.keys() if kind == "registered model"}
    assert {(kind, identifier.rpartition(" version ")[0] in one_sided) for kind, identifier in differing - named} <= {
        ("model version", True)
    }


def _tags(**tags: str) -> list[Item]:
    return [Experiment(experiment_id="1", name="e", tags=tags)]


def _differences(one: list[Item], other: list[Item]) -> list[tuple[str, str, str]]:
    return [(c.field, *c.words) for c in changes(one, other, ComparisonRules()).changes]


def test_a_value_that_says_nothing_is_not_none_at_all() -> None:
    assert _differences(_tags(a="nothing"), _tags()) == [("tags[a]", "'nothing'", "nothing")]


def test_values_are_those_of_json() -> None:
    """Not their text: numbers, null and maps, and whether a key was there; what is too long is cut, and says so."""

    def state(**more: Any) -> list[Item]:
        run = {"run_id": "r", "experiment_id": "1", "status": "RUNNING", **more}
        return [RunLines(Run.model_validate(run), ())]

    nan, one = ({"loss": {"value": value, "step": 1, "timestamp": 2}} for value in (float("nan"), 0.5))
    found = changes(
        state(end_time=None, tags={"t": "x" * 20_000}, metrics=nan, params={"p": "1"}),
        state(end_time=5, tags={"t": "y"}, metrics=one),
        ComparisonRules(),
    )
    told = [change.model_dump(mode="json") for change in found.changes]
    assert {t["field"]: (t["before"], t["after"], t["absent"]) for t in told if t["field"] != "tags[t]"} == {
        "end_time": (None, 5, ""),
        "params[p]": ("1", None, "after"),
        "metrics[loss]": ({"value": "NaN", "step": 1, "timestamp": 2}, {"value": 0.5, "step": 1, "timestamp": 2}, ""),
    }
    (long,) = (t for t in told if t["field"] == "tags[t]")
    assert (long["is_cut"], len(long["before"]), long["after"]) == (True, 10_000, "y")
    assert not any("words" in t for t in told)


def test_points_are_counted() -> None:
    run = Run(run_id="r", experiment_id="1", status="RUNNING", metrics={})
    one, other = (
        RunLines(run, (MetricHistory(run_id="r", key="k", step=s, timestamp=s, value=[0.5] * 3).as_line(),))
        for s in ([1, 2, 3], [2, 3, 4])
    )
    assert _differences([one], [other]) == [("history of k", "3 points", "3 points: 1 new, 1 gone")]


def _trace(*spans: SpanLine) -> list[Item]:
    return [Led(Trace(trace_id="t", experiment_id="1", timestamp=5, state="OK"), spans)]


def test_spans_are_named_with_what_differs() -> None:
    before, after = _trace(_span("t", "a", {"k": "x" * 200})), _trace(_span("t", "a", {"k": "y"}))
    was = f"'{'x' * 78}…"
    assert _differences(before, after) == [("spans[a 'call'].attributes[k]", was, "'y'")]


def test_a_span_on_one_side_only() -> None:
    one, other = _span("t", "a", {}), _span("t", "b", {})
    size = f"{len(one.line)} bytes"
    assert _differences(_trace(one), _trace(one, other)) == [("spans[b 'call']", "nothing", size)]
    assert _differences(_trace(one, other), _trace(other)) == [("spans[a 'call']", size, "nothing")]
    assert _differences(_trace(one, other), _trace()) == [("spans", "2 spans", "0 spans")]


def test_a_span_in_other_letters_is_the_same() -> None:
    content = b'{"attributes":{"b":1.0,"a":[1]},"name":"call"}'
    other = b'{"name": "call",  "attributes": {"a": [1], "b": 1.0}}'
    one, same = (SpanLine.of_content("t", "a", text) for text in (content, other))
    assert one != same
    assert _differences(_trace(one), _trace(same)) == []


def test_spans_that_one_side_does_not_have() -> None:
    rules = ComparisonRules(frozenset({"traces.spans"}))
    assert changes(_trace(_span("t", "a", {})), _trace(), rules).is_equal


def test_what_one_side_can_not_know_does_not_count() -> None:
    def state(deleted: int | None) -> list[Item]:
        return [RunLines(Run(run_id="r", experiment_id="1", status="RUNNING", deleted_time=deleted), ())]

    assert changes(state(5), state(None), ComparisonRules(frozenset({"runs.deleted_time"}))).is_equal
    assert not changes(state(5), state(None), ComparisonRules(frozenset({"runs.end_time"}))).is_equal


def test_more_changes_than_are_named() -> None:
    many: list[Item] = [Experiment(experiment_id=str(number), name=str(number)) for number in range(MOST_NAMED + 5)]
    found: Changes = changes([], many, ComparisonRules())
    assert (len(found.changes), found.unnamed) == (MOST_NAMED, 5)
    assert found.records == {"experiment": Tally(added=MOST_NAMED + 5)}


def test_what_could_not_be_read_is_no_change() -> None:
    """Gone is what the side after lacks and could have read; a time that was lost moves a record, and no more."""

    def made(run_id: str, start: int | None = 5, experiment: str = "1") -> RunLines:
        run = Run(run_id=run_id, experiment_id=experiment, status="RUNNING", start_time=start)
        return RunLines(run, ())

    one, two = Experiment(experiment_id="1", name="one"), Experiment(experiment_id="2", name="two")
    before = [one, two, made("gone"), made("lost"), made("moved", 7), made("within", 5, "2")]
    after = [one, made("moved", None), made("new"), made("unsaved")]
    gaps = frozenset({("run", "unsaved")}), frozenset({("run", "lost"), ("run", "moved"), ("experiment", "2")})
    found = changes(before, after, ComparisonRules(), lambda: gaps)
    assert {(one.what, one.id) for one in found.changes} == {("removed", "gone"), ("added", "new")}
    assert found.records["run"] == Tally(added=1, removed=1, unread=4)
    assert found.records["experiment"] == Tally(same=1, unread=1)
    assert found.unnamed == 0
    found = changes([one, made("unsaved")], [one, made("x")], ComparisonRules(), lambda: gaps)
    assert ("removed", "unsaved") in {(one.what, one.id) for one in found.changes}, "it was saved in part, and has gone"
