"""What programs read of a snapshot: its records by kind, a metric's points, and tables of pandas."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mlmeta.errors import UsageError
from mlmeta.installing import how_to_install
from mlmeta.schema import WITH_PARTS, Dataset, DatasetInput, LatestMetric, MetricHistory, to_records
from mlmeta.snapshot.reader import Snapshot
from tests.builders import legacy
from tests.builders.snapshots import (
    T,
    assessment,
    experiment,
    in_order,
    logged_model,
    model,
    run,
    snapshot_of,
    span,
    trace,
    version,
)

FIRST, SECOND, THIRD = "a" * 32, "ab" + "0" * 30, "c" * 32
LONG = [(step, T + step, float(-step)) for step in range(25_000)]
FAR = 1 << 55
"""Milliseconds that lead to a year of seven digits."""

ODD = [assessment(f"a-{number}", value) for number, value in enumerate((10**30, None, {"a": [1]}, "NaN", True))]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    latest = {"loss": LatestMetric(value=-24_999.0, step=24_999, timestamp=T + 24_999), "one": LatestMetric(value=1.5)}
    unknown = LatestMetric(value=float("nan"), step=2)
    used = DatasetInput(dataset=Dataset(name="d", digest="1", schema="{}"))
    records = [
        experiment(1, "one", tags={"team": "a"}),
        experiment(2, "two"),
        run(FIRST, "1", params={"lr": "0.1", "run_id": "x"}, metrics=latest, dataset_inputs=[used]),
        run(SECOND, "1", end_time=None, params={"depth": "3"}, metrics={"one": unknown}),
        run(THIRD, "2", start_time=FAR, lifecycle_stage="deleted"),
        *to_records(FIRST, "loss", LONG),
        logged_model("m-1", "2", params={"k": "v"}),
        trace(experiment_id="2", assessments=ODD),
        span(),
        model(version(1, run_id=FIRST), version(3), name="m", aliases={"best": 3}),
        model(name="n", workspace="team"),
    ]
    return snapshot_of(in_order(records), tmp_path_factory.mktemp("snapshot"))


def test_records_come_kind_by_kind(snapshot: Snapshot) -> None:
    assert [one.name for one in snapshot.experiments()] == ["one", "two"]
    assert [one.run_id for one in snapshot.runs()] == [FIRST, SECOND, THIRD]
    assert sum(one.size for one in snapshot.histories()) == len(LONG)
    assert [one.model_id for one in snapshot.logged_models()] == ["m-1"]
    assert [len(one.assessments) for one in snapshot.traces()] == [len(ODD)]
    assert [one.span_id for one in snapshot.spans()] == ["1" * 16]
    assert [one.name for one in snapshot.models()] == ["m", "n"]
    assert not [*snapshot.evaluation_datasets(), *snapshot.dataset_records(), *snapshot.rows()]


def test_a_part_has_the_same(snapshot: Snapshot) -> None:
    part = snapshot.select("one")
    assert [one.run_id for one in part.runs()] == [FIRST, SECOND]
    assert [one.name for one in part.models()] == ["m"]
    assert not [*part.traces(), *part.spans(), *part.logged_models()]
    assert part.history(FIRST, "loss").size == len(LONG)
    assert repr(part).startswith("<Selected experiments one of <Snapshot ")
    assert str(part.history(FIRST, "loss")) == f"<MetricHistory loss of run {FIRST}: 25,000 points>"
    assert list(part.to_pandas("runs").run_id) == [FIRST, SECOND]
    assert list(snapshot.select(experiments=["two"], without="spans").spans()) == []
    with pytest.raises(UsageError, match="no run 'c"):
        part.run(THIRD)
    with pytest.raises(UsageError, match="no experiment 'o'"):
        snapshot.select("o")
    with pytest.raises(UsageError, match="no group 'run'"):
        snapshot.select(only="run")


def test_a_history_is_whole_however_it_is_stored(snapshot: Snapshot) -> None:
    assert [*snapshot.history(FIRST, "loss").points()] == LONG
    (second,) = (one for one in snapshot.runs() if one.run_id == SECOND)
    assert snapshot.history(second, "one").step == [2]
    assert [*snapshot.history("aaaa", "one").points()] == [(0, 0, 1.5)]
    assert snapshot.run(f"runs:/{SECOND}").run_id == SECOND
    for wanted, key, said in (
        ("a", "one", "2 runs of snapshot .* begin with 'a'"),
        ("x", "one", "has no run 'x'"),
        (FIRST, "lss", "has no metric 'lss'"),
        (run("b" * 32), "one", "has no run 'bbb"),  # of another snapshot
    ):
        with pytest.raises(UsageError, match=said) as caught:
            snapshot.history(wanted, key)
        assert caught.value.hint


def test_runs_are_a_table_as_mlflow_makes_it(snapshot: Snapshot) -> None:
    table = snapshot.to_pandas("runs").set_index("run_id")
    assert list(table.columns[-7:]) == [
        *("metrics.loss", "metrics.one", "params.depth", "params.lr", "params.run_id"),
        *("tags.mlflow.runName", "tags.mlflow.user"),
    ]
    assert table.loc[FIRST, "metrics.loss"] == -24_999.0
    assert list(table["metrics.one"].isna()) == [False, True, True]
    assert list(table["params.lr"].isna()) == [False, True, True]
    assert table.loc[FIRST, "start_time"] == pd.Timestamp(T, unit="ms", tz="UTC")
    assert list(table["end_time"].isna()) == [False, True, False]
    assert table["start_time"].astype("int64")[THIRD] == FAR
    assert table.loc[FIRST, "dataset_inputs"][0]["dataset"]["schema"] == "{}"
    assert list(table["lifecycle_stage"]) == ["active", "active", "deleted"]


def test_metrics_are_a_row_a_point(snapshot: Snapshot) -> None:
    table = snapshot.to_pandas("metrics")
    assert list(table.columns) == ["run_id", "key", "step", "timestamp", "value"]
    assert list(table.groupby(["run_id", "key"]).size().items()) == [
        ((FIRST, "loss"), len(LONG)),
        ((FIRST, "one"), 1),
        ((SECOND, "one"), 1),
    ]
    loss = table[(table.run_id == FIRST) & (table.key == "loss")]
    assert list(zip(loss.step, loss.timestamp.astype("int64"), loss.value, strict=True)) == LONG


def test_parts_are_a_table_of_their_own(snapshot: Snapshot) -> None:
    versions = snapshot.to_pandas("model_versions")
    assert versions[["name", "version", "run_id"]].fillna("").values.tolist() == [["m", 1, FIRST], ["m", 3, ""]]
    assessments = snapshot.to_pandas("assessments")
    assert set(assessments.trace_id) == {f"tr-{'c' * 32}"}
    assert list(assessments.value) == [one.value for one in ODD]
    assert list(assessments.value.iloc[:2]) == [10**30, None], "a number that no column of whole numbers holds"
    models = snapshot.to_pandas("models")
    assert "versions" not in models
    assert str(models["aliases.best"].dtype) == "Int64"
    assert list(models.workspace.fillna("")) == ["", "team"]


@pytest.mark.parametrize("kind", [kind.name for kind in WITH_PARTS if not kind.on_request])
def test_each_kind_has_a_table(snapshot: Snapshot, kind: str, tmp_path: Path) -> None:
    full, empty = snapshot.to_pandas(kind), snapshot_of([], tmp_path).to_pandas(kind)
    assert len(empty) == 0
    assert set(empty.columns) <= set(full.columns), "an empty one has those that do not depend on names"
    assert len(empty.columns) > 2
    times = {name for name in full if name.endswith(("time", "timestamp"))}
    assert all(isinstance(table[name].dtype, pd.DatetimeTZDtype) for table in (full, empty) for name in times)


def test_another_word_is_refused(snapshot: Snapshot) -> None:
    for word in ("run", "auth", ""):
        with pytest.raises(UsageError, match=f"no kind '{word}'") as caught:
            snapshot.to_pandas(word)
        assert "runs" in caught.value.hint
        assert "auth" not in caught.value.hint


def test_without_pandas_it_says_so(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    found: Callable[..., Any] = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "pandas":
            raise ModuleNotFoundError(name)
        return found(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match="pandas is not installed") as caught:
        snapshot.to_pandas("runs")
    assert caught.value.hint.startswith(how_to_install("pandas"))


def test_what_the_older_script_wrote_is_read_the_same_way(tmp_path: Path) -> None:
    from mlmeta import open_snapshot

    legacy.write(tmp_path)
    old = open_snapshot(tmp_path)
    (first, *_) = [one for one in old.runs() if one.metrics]
    key = next(iter(first.metrics))
    assert isinstance(old.history(first, key), MetricHistory)
    assert len(old.to_pandas("metrics")) == sum(len(one.metrics) for one in old.runs())
