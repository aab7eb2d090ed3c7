"""Whole histories of metrics, however long and odd."""

from __future__ import annotations

import json
import math
import pickle
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

from mlmeta import backup, open_snapshot
from mlmeta.schema import METRICS, Point
from mlmeta.stores.api.histories import BULK
from mlmeta.stores.api.pace import Pace, _pause
from tests.builders.stores import add_history
from tests.support.examples import examples
from tests.support.proxy import Request, proxy
from tests.support.reading import data_files
from tests.support.server import Server


def _new_runs(server: Server, count: int) -> list[str]:
    client = MlflowClient(server.uri)
    experiment = client.create_experiment("long", "gs://bucket/long")
    return [client.create_run(experiment, start_time=number).info.run_id for number in range(count)]


def _read(folder: Path) -> dict[tuple[str, str], list[Point]]:
    found: dict[tuple[str, str], list[Point]] = {}
    for history in open_snapshot(str(folder)).records(METRICS):
        found.setdefault((history.run_id, history.key), []).extend(history.points())
    return found


def _steps(count: int, first: int = 0) -> list[Point]:
    return [(step, 1000 + step, float(step)) for step in range(first, first + count)]


def test_more_points_than_one_reply_or_page_holds(server: Server, tmp_path: Path) -> None:
    """Of one run; just the number at which a bulk reply is cut; and of several runs together."""
    sizes = [50_001, 25_000, 12_501, 12_500, 9_000, 9_000, 9_000, 1]
    runs = _new_runs(server, len(sizes))
    wanted = {
        (run, "loss"): add_history(server.database, run, "loss", _steps(size))
        for run, size in zip(runs, sizes, strict=True)
    }
    result = backup(server.uri, [str(tmp_path)])
    assert result.stats["metric_points"] == sum(sizes)
    found = _read(tmp_path)
    del wanted[runs[-1], "loss"]  # the one point is the run's latest metric
    assert found == wanted


def test_steps_that_do_not_tell_the_length(server: Server, tmp_path: Path) -> None:
    """The latest step is 0 or below, so nothing warns that the replies will be cut."""
    runs = _new_runs(server, 2)
    wanted = {
        (run, "loss"): add_history(server.database, run, "loss", [(-step, step, 1.0) for step in range(15_000)])
        for run in runs
    }
    backup(server.uri, [str(tmp_path)])
    assert _read(tmp_path) == wanted


def test_bulk_and_single_reading_give_the_same_bytes(filled: Server, tmp_path: Path) -> None:
    runs = _new_runs(filled, 2)
    points = [*_steps(500), *((step % 7 - 3, step % 3, math.nan) for step in range(30))]
    random.Random(1).shuffle(points)
    for run in runs:
        add_history(filled.database, run, "odd", points)

    def without_bulk(request: Request) -> int | None:
        return 404 if request.path.startswith(BULK) else None

    with proxy(filled.uri) as plain, proxy(filled.uri, without_bulk) as older:
        with_bulk = backup(plain.uri, [str(tmp_path / "bulk")])
        singly = backup(older.uri, [str(tmp_path / "single")])
    assert any(r.path.startswith(BULK) for r in plain.requests)
    assert data_files(tmp_path / "bulk") == data_files(tmp_path / "single")
    assert with_bulk.warnings == ()
    assert "bulk" in singly.warnings[0]


_STEPS = st.one_of(st.integers(-3, 3), st.sampled_from([2**62, -(2**62)]))
_FLOATS = st.one_of(st.floats(allow_infinity=False), st.sampled_from([0.0, 1.0]))
_POINTS = st.lists(st.tuples(_STEPS, st.integers(0, 3), _FLOATS), min_size=1, max_size=6)


@examples(8)
@given(histories=st.lists(_POINTS, min_size=1, max_size=4))
def test_odd_points_come_back_as_mlflow_itself_tells_them(
    server: Server, tmp_path_factory: pytest.TempPathFactory, histories: list[list[Point]]
) -> None:
    """NaN, repeated, unordered and negative steps, logged through the API."""
    from mlflow.entities import Metric

    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name("odd")
    experiment_id = experiment.experiment_id if experiment else client.create_experiment("odd", "gs://bucket/odd")
    wanted = {}
    for points in histories:
        run = client.create_run(experiment_id).info.run_id
        client.log_batch(run, [Metric("m", value, timestamp, step) for step, timestamp, value in points])
        told = client.get_metric_history(run, "m")
        wanted[run] = sorted({repr((m.step, m.timestamp, m.value + 0.0)) for m in told})
    folder = tmp_path_factory.mktemp("odd")
    backup(server.uri, [str(folder)], experiments=["odd"])
    snapshot = open_snapshot(str(folder))
    found: dict[str, list[str]] = {}
    for item in snapshot.runs_with_histories():
        latest = item.run.metrics["m"]
        points = [p for history in item.histories for p in history.points()]
        points = points or [(latest.step or 0, latest.timestamp or 0, latest.value)]
        found[item.run.run_id] = sorted(repr((s, t, v + 0.0)) for s, t, v in points)
    assert {run: found[run] for run in wanted} == wanted


def test_infinities_are_what_the_server_keeps_of_them(filled: Server, tmp_path: Path) -> None:
    backup(filled.uri, [str(tmp_path)])
    values = [[p[2] for p in points] for (_, key), points in _read(tmp_path).items() if key == "infinite"]
    assert values == [[1.7976931348623157e308, -1.7976931348623157e308]]


def test_the_bulk_endpoint_is_proven_on_a_sample_once_a_backup(filled: Server, tmp_path: Path) -> None:
    with proxy(filled.uri) as plain:
        backup(plain.uri, [str(tmp_path)])
    single = [r for r in plain.requests if "metrics/get-history?" in r.path]
    assert 1 <= len(single) <= 6


def _sampled(metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return metrics[::2]


def _rounded(metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**metric, "value": round(metric["value"])} for metric in metrics]


@pytest.mark.parametrize("lie", [_sampled, _rounded])
def test_a_bulk_endpoint_that_lies_is_not_used(filled: Server, tmp_path: Path, lie: Callable[[Any], Any]) -> None:
    for run in _new_runs(filled, 2):
        add_history(filled.database, run, "loss", [(step, step, 0.5 + step) for step in range(20)])

    def false(request: Request, body: bytes) -> bytes:
        if not request.path.startswith(BULK):
            return body
        return json.dumps({"metrics": lie(json.loads(body)["metrics"])}).encode()

    backup(filled.uri, [str(tmp_path / "true")])
    with proxy(filled.uri) as lying:
        lying.alter = false
        result = backup(lying.uri, [str(tmp_path / "false")])
    assert "returned other points" in result.warnings[0]
    assert data_files(tmp_path / "true") == data_files(tmp_path / "false")


def test_a_busy_server_is_asked_less(filled: Server, tmp_path: Path) -> None:
    """One that takes two requests at once, and tells the others to come later."""
    for run in _new_runs(filled, 40):
        for key in ("a", "b", "c", "d", "e", "f"):
            add_history(filled.database, run, key, [(step, step, 0.5 + step) for step in range(50)])
    backup(filled.uri, [str(tmp_path / "calm")])
    lock, under_way, told = threading.Lock(), [0], [0, 0]

    def busy(request: Request) -> int | None:
        if not request.path.startswith(BULK):
            return None
        with lock:
            told[under_way[0] >= 2] += 1
            if under_way[0] >= 2:
                return 429
            under_way[0] += 1
        return None

    def done(request: Request, body: bytes) -> bytes:
        if request.path.startswith(BULK):
            time.sleep(0.05)
            with lock:
                under_way[0] -= 1
        return body

    with proxy(filled.uri, busy) as through:
        through.alter = done
        result = backup(through.uri, [str(tmp_path / "busy")], jobs=8)
    assert result.exit_code == 0
    assert data_files(tmp_path / "calm") == data_files(tmp_path / "busy")
    assert told[True] > 0
    assert len([r for r in through.requests if "metrics/get-history?" in r.path]) <= 6  # only the sample, singly


class TestPace:
    class Reply:
        def __init__(self, status: int, wait: str = "0") -> None:
            self.status_code = status
            self.headers = {"Retry-After": wait}

    def test_it_halves_and_grows_again(self) -> None:
        pace = Pace(8)
        replies = [self.Reply(429), self.Reply(200)]
        assert pace.ask(lambda: replies.pop(0)).status_code == 200  # type: ignore[arg-type,return-value]
        assert 4 < pace.allowed < 5
        for _ in range(60):
            pace.ask(lambda: self.Reply(200))  # type: ignore[arg-type,return-value]
        assert pace.allowed == 8

    def test_never_less_than_one_and_patience_ends(self) -> None:
        pace = Pace(2, patience=0.1)
        assert pace.ask(lambda: self.Reply(503, "1")).status_code == 503  # type: ignore[arg-type,return-value]
        for _ in range(3):
            pace._slowed = 0
            pace._shrink()
        assert pace.allowed == 1
        assert pace.ask(lambda: self.Reply(200)).status_code == 200  # type: ignore[arg-type,return-value]

    def test_no_more_than_allowed_at_once(self) -> None:
        pace, lock, now, peak = Pace(3), threading.Lock(), [0], [0]

        def slow() -> TestPace.Reply:
            with lock:
                now[0] += 1
                peak[0] = max(peak[0], now[0])
            time.sleep(0.01)
            with lock:
                now[0] -= 1
            return self.Reply(200)

        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda _: pace.ask(slow), range(40)))  # type: ignore[arg-type]
        assert peak == [3]

    def test_one_in_each_process(self) -> None:
        there = [pickle.loads(pickle.dumps(pace)) for pace in (Pace(3), Pace(3))]
        again = pickle.loads(pickle.dumps(there[0]))
        assert again is there[0]
        assert again is not there[1]
        assert again.most == 3

    @pytest.mark.parametrize(("said", "least"), [("60", 60), ("Wed, 21 Oct 2099 07:28:00 GMT", 1e6), ("soon", 0.25)])
    def test_it_waits_as_long_as_it_is_told(self, said: str, least: float) -> None:
        assert _pause(self.Reply(429, said), 0) >= least  # type: ignore[arg-type]
