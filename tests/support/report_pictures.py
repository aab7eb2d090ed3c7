"""The pictures of docs/how-to/report.md, taken anew: python -m tests.support.report_pictures.

The store is made up, and the same each time. Snapshots and page are made in a folder that may be named, as the page
shows its path: /srv/mlflow by default.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from mlmeta import report
from mlmeta.schema import LatestMetric, Record, Skipped
from mlmeta.storage import LocalStorage
from tests.builders import snapshots as made
from tests.support.browser import Tab, browser

PICTURES = Path(__file__).parents[2] / "docs" / "assets" / "report"
NEWEST = datetime(2026, 11, 26, 23, 30, tzinfo=timezone.utc)
BEGIN = NEWEST - timedelta(days=60)
DAY_MS = 86_400_000
STEPS = 76
WORDS = (("swift", "calm", "eager", "brave", "keen"), ("heron", "otter", "wren", "lynx", "ibex", "finch"))
FAMILIES = (
    ("1", "churn-prediction", "gbm", 180, ("val_auc", "val_f1", "val_loss", "train_loss"), 0.81),
    ("2", "demand-forecast", "tft", 64, ("val_mape", "val_rmse", "train_loss"), 14.0),
    ("3", "defect-detection", "cnn", 38, ("val_accuracy", "val_loss", "train_loss"), 0.82),
)
"""Id, name, beginning of run names, number of runs, metrics, and where the first metric begins."""
HOLES, GAPS = {9, 17, 18}, {19, 25}
"""Days without a backup, and days whose backup lacks something."""


def milliseconds(when: datetime) -> int:
    return int(when.timestamp() * 1000)


def runs(family: tuple[str, str, str, int, tuple[str, ...], float]) -> Iterator[list[Record]]:
    """The runs of an experiment with their histories, the oldest first; they get better in time."""
    experiment, _, prefix, count, metrics, first = family
    dice = random.Random(experiment)
    for number in range(count):
        gain = 0.5 * number / count + dice.gauss(0.2, 0.14)
        start = milliseconds(BEGIN) + int((number + dice.random()) / count * 59.8 * DAY_MS)
        values = {key: _value(key, first, gain + dice.gauss(0, 0.03)) for key in metrics}
        run_id = f"{dice.getrandbits(128):032x}"
        params = {
            "lr": f"{10 ** dice.uniform(-4, -1):.2e}",
            "max_depth": str(dice.randint(3, 11)),
            "n_estimators": str(dice.choice((200, 400, 800))),
            "optimizer": dice.choice(("adam", "adamw", "sgd")),
            "subsample": f"{dice.uniform(0.5, 1):.2f}",
        }
        found = made.run(
            run_id,
            experiment,
            run_name=f"{prefix}-{dice.choice(WORDS[0])}-{dice.choice(WORDS[1])}-{number}",
            user_id=dice.choice(("ada", "grace", "alan")),
            status="FAILED" if dice.random() < 0.1 else "FINISHED",
            lifecycle_stage="deleted" if number % 50 == 7 else "active",
            start_time=start,
            end_time=start + dice.randint(4, 90) * 60_000,
            params=params,
            metrics={key: LatestMetric(value=value, step=STEPS - 1, timestamp=start) for key, value in values.items()},
        )
        yield [found, *(_history(run_id, key, value, start, dice) for key, value in values.items())]


def _value(key: str, first: float, gain: float) -> float:
    if "loss" in key:
        return 0.5 * math.exp(-0.8 * gain)
    return first * (1 - 0.45 * gain) if first > 1 else first + (1 - first) * 0.55 * gain


def _history(run_id: str, key: str, last: float, start: int, dice: random.Random) -> Record:
    """A curve that ends at a value."""
    away = 0.8 if "loss" in key or last > 1 else -0.3
    curve = [last * (1 + away * math.exp(-step / 18) + dice.gauss(0, 0.01)) for step in range(STEPS - 1)]
    return made.history(key, *((step, start + step, value) for step, value in enumerate([*curve, last])), run_id=run_id)


def registry(best: list[str]) -> list[Record]:
    """Three models, whose versions are of the runs named."""

    def versions(count: int, stages: dict[int, str]) -> list[object]:
        return [
            made.version(
                number,
                run_id=best[(number - 1) % len(best)],
                creation_timestamp=milliseconds(NEWEST) - (count - number + 1) * 7 * DAY_MS,
                current_stage=stages.get(number, "None"),
            )
            for number in range(1, count + 1)
        ]

    told = "Gradient boosting on 18 months of activity. Retrained weekly."
    stages = {1: "Archived", 2: "Archived", 4: "Staging", 5: "Production"}
    aliases = {"champion": 5, "challenger": 6, "shadow": 4}
    updated = {"last_updated_timestamp": milliseconds(NEWEST) - DAY_MS}
    return [
        made.model(*versions(6, stages), name="churn-classifier", description=told, aliases=aliases, **updated),  # type: ignore[arg-type]
        made.model(*versions(2, {}), name="demand-tft", aliases={"production": 2}, **updated),  # type: ignore[arg-type]
        made.model(*versions(1, {}), name="defect-cnn", **updated),  # type: ignore[arg-type]
    ]


def snapshots(folder: Path) -> None:
    """Four weeks of nightly backups."""
    notes = {"mlflow.note.content": "Who leaves within 30 days, from 18 months of activity.", "team": "growth"}
    all_runs = {family[0]: list(runs(family)) for family in FAMILIES}
    about = {
        "mlflow_uri": "https://mlflow.acme.example",
        "source_kind": "server",
        "mlflow_server_version": "3.4.0",
        "label": "production",
        "tags": {"by": "nightly"},
    }
    gap = Skipped(kind="run", id="5d1f0c7a", reason="the server answered 500")
    for day in range(31):
        if day in HOLES:
            continue
        at = NEWEST - timedelta(days=30 - day)
        records: list[Record] = [made.experiment("0", "Default")]
        for experiment, name, *_ in FAMILIES:
            tags = notes if experiment == "1" else {}
            records.append(made.experiment(experiment, name, tags=tags, creation_time=milliseconds(BEGIN)))
            ready = [one for one in all_runs[experiment] if one[0].start_time < milliseconds(at)]  # type: ignore[union-attr]
            records += [record for one in ready for record in one]
        records.append(made.experiment("4", "old-sandbox", lifecycle_stage="deleted"))
        records += registry([one[0].run_id for one in all_runs["1"][:60:10]])  # type: ignore[union-attr]
        skipped = (gap,) if day in GAPS else ()
        made.commit(LocalStorage(folder), made.in_order(records), at=at, skipped=skipped, **about)  # type: ignore[arg-type]


def take(page: Path, folder: Path) -> None:
    """All pictures of a page."""
    with browser(folder) as tab:
        tab.size(1440, 900)
        tab.open(page.as_uri(), "document.documentElement?.dataset.ready")
        for name, where, width, height in (
            ("overview", "#/", 1440, 1100),
            ("overview", "#/", 1024, 1000),
            ("overview", "#/", 390, 844),
            ("experiment", "#/experiment/1", 1440, 1150),
            ("experiment", "#/experiment/1", 1024, 1000),
            ("experiment", "#/experiment/1", 390, 844),
            ("backups", "#/backups", 1024, 800),
            ("models", "#/models", 390, 844),
            ("parallel", "#/experiment/1", 1440, 1150),
        ):
            for path in PICTURES.glob(f"{name}-{width}-*.webp"):
                _take(tab, path, where, (width, height), is_parallel=name == "parallel")


def _take(tab: Tab, path: Path, where: str, size: tuple[int, int], *, is_parallel: bool) -> None:
    tab.scheme(path.stem.rpartition("-")[2])
    tab.size(*size, 2 if size[0] < 600 else 1)
    tab.run(f"location.hash = '#/changes'; location.hash = '{where}'; scrollTo(0, 0)")
    tab.await_("document.querySelector('main h1')")
    if is_parallel:
        tab.run("document.querySelectorAll('.segmented')[1].children[1].click()")
        tab.await_("document.querySelector('.wide canvas')")
    tab.look(path, width=size[0], height=size[1], scale=2 if size[0] < 600 else 1)


def main() -> None:
    """Take them."""
    folder = Path(sys.argv[1] if sys.argv[1:] else "/srv/mlflow")
    folder.mkdir(parents=True)
    try:
        os.chdir(folder)
        snapshots(folder / "backups")
        report("latest", "backups", folder / "report.html")
        take(folder / "report.html", folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
