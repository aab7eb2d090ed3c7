"""The parts of the page of `mlmeta report`: what was vendored, curves with fewer points, what a metric's name tells."""

from __future__ import annotations

import hashlib
import io
import math
import random
import re
from pathlib import Path

import pytest

from mlmeta import report
from mlmeta.page import html
from mlmeta.page.metrics import FEWEST_POINTS, Ranks, curves_of, goal_of, in_order, lttb, steps_of, words_of
from mlmeta.page.runs import experiment_pages, newest_runs, shortened
from mlmeta.schema import LatestMetric, Record
from mlmeta.storage import LocalStorage
from tests.builders import snapshots as made

PACKAGE = Path(html.__file__).parent


def test_echarts_is_what_was_built() -> None:
    """`vendor/build.sh` makes it again, to the byte."""
    digest, name = (PACKAGE / "vendor" / "SHA256SUMS").read_text().split()
    content = (PACKAGE / "vendor" / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest
    versions = re.findall(r"(?:echarts|zrender|tslib)@([\d.]+)", (PACKAGE / "vendor" / "build.sh").read_text())
    assert all(version.encode() in content[:200] for version in versions)
    assert b"Apache License" in (PACKAGE / "vendor" / "LICENSE").read_bytes()


def test_every_script_is_on_the_page_after_those_it_imports_from() -> None:
    assert sorted(html.MODULES) == sorted(path.stem for path in (PACKAGE / "web").glob("*.js"))
    for place, name in enumerate(html.MODULES):
        text = (PACKAGE / "web" / f"{name}.js").read_text()
        imported = re.findall(r'from "\./([a-z]+)\.js";', text)
        assert set(imported) <= set(html.MODULES[:place]), name
        assert text.count("import ") >= len(imported)
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text), name
    assert not re.search(r"^(import|export) |</script|<!--", html.app(), re.MULTILINE | re.IGNORECASE)


def test_peaks_stay() -> None:
    steps = list(range(1000))
    values = [math.sin(step / 50) for step in steps]
    values[617] = 9.0
    kept = lttb(steps, values, 40)
    assert len(kept) == 40
    assert kept == sorted(set(kept))
    assert {0, 617, 999} <= set(kept)


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 16, [1e308, -1e308] * 20, [5e-324] * 30])
def test_any_numbers(values: list[float]) -> None:
    kept = lttb(list(range(len(values))), values, 16)
    assert len(kept) == min(len(values), 16)


@pytest.mark.parametrize(
    ("key", "goal"),
    [
        *[(key, "min") for key in ("loss", "val_loss", "valLoss", "test/RMSE", "log_loss", "perplexity", "mean_error")],
        *[(key, "min") for key in ("WER", "fit time", "p95_latency", "FPR", "f1_loss", "crossEntropy", "mse2")],
        *[
            (key, "max")
            for key in ("accuracy", "val_auc", "F1", "r2", "reward", "ndcg@10", "validation score", "x", "")
        ],
        *[(key, "max") for key in ("time_to_score", "precision", "損失", "mean average precision")],
    ],
)
def test_what_is_better(key: str, goal: str) -> None:
    assert goal_of(key) == goal


def test_the_metric_that_tells_most_comes_first() -> None:
    everywhere = [(key, 1.0) for key in ("epoch", "lr", "loss", "system/gpu_memory", "val_loss", "zeta")]
    order = in_order([*everywhere, ("val_rare", 0.1)])
    assert order[:2] == ["val_loss", "loss"]
    assert set(order[-3:]) == {"epoch", "lr", "system/gpu_memory"}
    assert words_of("valLoss_RMSE/2") == ["val", "loss", "rmse", "2"]


def test_curves_of_the_best_and_newest_runs_fit(tmp_path: Path) -> None:
    """40 runs with 10 metrics of 100 points each, and room for a tenth of the curves."""
    records = [made.experiment()]
    for number in range(40):
        metrics = {f"m{key}": LatestMetric(value=float(number == 7), step=99, timestamp=1) for key in range(10)}
        run = made.run(f"{number:032x}", start_time=made.T + number, metrics=metrics)
        points = [(step, 1, 123456.789 + step / 7) for step in range(99)]
        histories = [made.history(key, *points, (99, 1, math.nan), run_id=run.run_id) for key in metrics]
        records += [run, *histories]
    snapshot = made.snapshot_of(records, tmp_path)
    runs, totals = newest_runs(snapshot.runs(), most=30)
    assert (totals["1"], [run.start_time for run in runs["1"]]) == (40, [made.T + number for number in range(10, 40)])
    pages = experiment_pages(snapshot, newest_runs(snapshot.runs())[0], totals, 0)
    found = curves_of(snapshot, Ranks(pages), 40 * FEWEST_POINTS)
    assert found.left_out == 360
    assert len(found.curves) == 40
    assert sum(len(curve.step) for curve in found.curves) <= 40 * FEWEST_POINTS
    of = {run: sum(curve.run == f"{run:032x}" for curve in found.curves) for run in range(40)}
    assert (of[39], of[7]) == (max(of.values()), max(of.values()))
    curve = found.curves[-1]
    assert (curve.total, curve.odd) == (100, 1)
    assert all(abs(value - (123456.789 + step / 7)) < 0.01 for step, value in steps_of(curve).items())
    assert len(html.packed(found)) < 40 * FEWEST_POINTS * 6


def test_a_page_of_2000_runs_has_less_than_a_megabyte(tmp_path: Path) -> None:
    """Each with 20 metrics of all digits, 8 params, and curves for whose points there is no room."""
    chance = random.Random(7)
    records: list[Record] = [made.experiment()]
    for number in range(2000):
        run_id = f"{chance.getrandbits(128):032x}"
        metrics = {f"metric_{key}": LatestMetric(value=chance.random(), step=59, timestamp=1) for key in range(20)}
        params = {f"param_{key}": str(chance.random()) for key in range(8)}
        run = made.run(run_id, start_time=made.T + number * 60_000, params=params)
        records.append(run.model_copy(update={"metrics": metrics}))
        points = [(step, 1, chance.random()) for step in range(59)]
        records.append(made.history("metric_0", *points, (59, 1, metrics["metric_0"].value), run_id=run_id))
    made.commit(LocalStorage(tmp_path), records, at=made.NOW)
    page = io.BytesIO()
    made_page = report("latest", tmp_path, page)
    assert made_page.size == len(page.getvalue())
    assert 900_000 < made_page.size <= 1_000_000
    assert made_page.runs == 2000
    assert made_page.curves > 100
    assert made_page.curves + made_page.curves_left_out == 2000


def test_long_texts_are_cut_and_say_so() -> None:
    assert shortened("x" * 500) == "x" * 500
    assert shortened("x" * 501).endswith("… (501 characters)")
