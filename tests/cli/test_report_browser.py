"""The page of `mlmeta report` in a real browser: one start of it, from the first look to the last."""

from __future__ import annotations

import json
import math
import shlex
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from mlmeta import report
from mlmeta.schema import LatestMetric, Record, Skipped
from tests.builders import snapshots as made
from tests.support.browser import BROWSER, Tab, browser

HOSTILE = "</script><img src=x onerror=alert(1)>\u202e{a|b}%{value}\x1b\n'\"& 東京"
BEST, NAN = "7" * 32, "8" * 32
READY = "document.documentElement?.dataset.ready"
STEPS = 400
SHELL = "$(touch x)'; y"


def run(number: int, experiment: str = "1", **more: object) -> list[Record]:
    """A run with a loss that is 1 / (1 + number), and its history."""
    run_id = f"{number}" * 32 if number < 10 else f"{number:032x}"
    value = math.nan if run_id == NAN else 1 / (1 + number) if number < 8 else 1 + 1 / number
    metrics = {"loss": LatestMetric(value=value, step=STEPS - 1, timestamp=made.T)}
    params = {"lr": str(10 ** -(1 + number % 3)), "optimizer": ["adam", "sgd"][number % 2], "depth": str(number)}
    found = made.run(
        run_id, experiment, run_name=f"run {number}", params=params, start_time=made.T + number * 86_400_000, **more
    )
    points = [(step, made.T, value + 1 / (1 + step)) for step in range(STEPS - 1)]
    history = made.history("loss", *points, (STEPS - 1, made.T, value), run_id=run_id)
    return [found.model_copy(update={"metrics": metrics}), history]


def records() -> list[Record]:
    found: list[Record] = [
        made.experiment(),
        made.experiment("2", HOSTILE, workspace="team"),
        made.experiment("3", "dry"),
    ]
    for number in range(30):
        found += run(number, lifecycle_stage="deleted" if number == 29 else "active")
    hostile = dict.fromkeys(("run_name", "user_id"), HOSTILE)
    many = {f"metric {number}": LatestMetric(value=number, step=0, timestamp=1) for number in range(1000)}
    odd = {HOSTILE: LatestMetric(value=1.5, step=1, timestamp=1), "inf": LatestMetric(value=math.inf), **many}
    for number in (40, 41):
        named = made.run(
            f"{number:032x}", "2", params={HOSTILE: HOSTILE, "n": str(number)}, tags={HOSTILE: HOSTILE}, **hostile
        )
        found += [
            named.model_copy(update={"metrics": odd, "start_time": [None, (1 << 63) - 1][number % 2]}),
            made.history(HOSTILE, (0, 1, -math.inf), (1, 1, 1.5), run_id=named.run_id),
        ]
    found.append(made.run(SHELL, "3", status=HOSTILE))
    version = made.version(run_id=BEST, source=HOSTILE, description=HOSTILE)
    return [*found, made.model(version, name=HOSTILE, description=HOSTILE, aliases={HOSTILE: 1, "gone": 9})]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page of a store, and that of an empty one."""
    folder = tmp_path_factory.mktemp("pages")
    made.write(folder / "backups", records()[:-1], mlflow_uri=HOSTILE)
    gap = Skipped(kind="run", id=HOSTILE, reason=HOSTILE)
    made.write(folder / "backups", records(), mlflow_uri=HOSTILE, skipped=(gap,), warnings=(HOSTILE,))
    report("latest", folder / "backups", folder / "full.html")
    made.write(folder / "none", [])
    report("latest", folder / "none", folder / "empty.html")
    return folder


def text(tab: Tab, selector: str) -> list[str]:
    """What the elements that a selector means have to read."""
    found: list[str] = tab.run(
        f"[...document.querySelectorAll({json.dumps(selector)})].map(one => one.innerText.trim())"
    )
    return found


def go(tab: Tab, where: str, until: str) -> None:
    tab.run(f"location.hash = {json.dumps(where)}")
    tab.await_(f"document.querySelector({json.dumps(until)})")


def write(tab: Tab, words: str) -> None:
    """Type into the filter, which the key / leads to."""
    tab.run("document.activeElement.blur()")
    for kind in ("keyDown", "keyUp"):
        tab.call("Input.dispatchKeyEvent", type=kind, key="/", text="/" if kind == "keyDown" else "")
    assert tab.run("document.activeElement.id") == "filter"
    tab.run("document.activeElement.select()")
    tab.call("Input.insertText", text=words)


def place(tab: Tab, chart: int) -> dict[str, float]:
    """Where a chart is, once it is drawn and within sight."""
    tab.await_(f"document.querySelectorAll('.chart')[{chart}]?.querySelector('canvas')")
    tab.run(f"document.querySelectorAll('.chart')[{chart}].scrollIntoView({{block: 'center'}})")
    time.sleep(0.2)
    found: dict[str, float] = tab.run(f"document.querySelectorAll('.chart')[{chart}].getBoundingClientRect().toJSON()")
    return found


def mouse(tab: Tab, kind: str, x: float, y: float) -> None:
    pressed = {"button": "left", "buttons": 1, "clickCount": 1} if kind != "mouseMoved" else {}
    tab.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **pressed)


def drag(tab: Tab, at: dict[str, float], start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw from one place of a chart to another."""
    (x, y), (right, bottom) = start, end
    mouse(tab, "mouseMoved", at["x"] + x, at["y"] + y)
    mouse(tab, "mousePressed", at["x"] + x, at["y"] + y)
    for share in (0.2, 0.6, 1):
        mouse(tab, "mouseMoved", at["x"] + x + share * (right - x), at["y"] + y + share * (bottom - y))
    mouse(tab, "mouseReleased", at["x"] + right, at["y"] + bottom)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_page_from_the_first_look_to_the_last(folder: Path) -> None:
    with browser(folder) as tab:
        tab.size(1440, 900)
        tab.open((folder / "full.html").as_uri(), READY)
        the_overview(tab)
        the_leaderboard(tab)
        the_charts(tab)
        runs_and_models(tab)
        whatever_its_name(tab)
        narrow_dark_and_on_paper(tab)
        tab.open((folder / "empty.html").as_uri(), READY)
        assert "An empty snapshot." in text(tab, "main")[0]
        for where in ("#/models", "#/changes", "#/backups", "#/run/nobody", "#/experiment/%", "#/constructor"):
            go(tab, where, "main h1, main .empty")
        assert tab.requests() == [(folder / name).as_uri() for name in ("full.html", "empty.html")]
        assert tab.complaints() == []
        html = "try { document.createElement('p').innerHTML = '<b>x</b>' } catch (error) { error.name }"
        assert tab.run(html) == "TypeError", "no text becomes HTML"
        assert tab.complaints() != [], "and what is not let through is seen here"


def the_overview(tab: Tab) -> None:
    assert text(tab, ".hero .status") == ["Incomplete"]
    assert text(tab, ".command code")[0].startswith("mlmeta restore 2")
    assert "\\u202e" in text(tab, "main")[0], "nothing turns the text around it"
    assert [name for name in text(tab, ".list a") if name == "made"] == ["made"]
    assert "0.125" in text(tab, ".list tr:has(a[href='#/experiment/1'])")[0]


def the_leaderboard(tab: Tab) -> None:
    go(tab, "#/experiment/1", ".runs")
    assert text(tab, ".runs tbody th")[0] == "run 7", "the best first, as less of a loss is better"
    assert text(tab, ".runs tbody tr:first-child td.best") == ["0.125"]
    tab.run("document.querySelector('[data-column=\"params.depth\"]').click()")
    assert text(tab, ".runs tbody th")[:3] == ["run 0", "run 1", "run 2"], "numbers, not texts"
    tab.run("document.querySelector('[data-column=\"params.depth\"]').click()")
    assert text(tab, ".runs tbody th")[0] == "run 29"
    assert text(tab, "th[aria-sort=descending] span:first-child") == ["depth"]
    tab.run("document.querySelector('[data-column=\"metrics.loss\"]').click()")
    tab.run("document.querySelector('[data-column=\"metrics.loss\"]').click()")
    assert text(tab, ".runs tbody th")[0] == "run 9", "NaN is no value to sort by"
    write(tab, "adam loss<0.3")
    assert text(tab, ".runs tbody th") == ["run 4", "run 6"]
    assert text(tab, "[role=status]") == ["2 of 30 runs"]
    write(tab, '"loss" >= 1 status=deleted nonsense=1')
    assert text(tab, ".runs tbody th") == ["run 29"]
    assert "no such column: nonsense" in text(tab, "[role=status]")[0]
    write(tab, "nowhere to be found")
    assert "No run passes the filter." in text(tab, "main .empty p.strong")
    write(tab, "")
    assert text(tab, "[role=status]") == ["30 runs"]


def the_charts(tab: Tab) -> None:
    at = place(tab, 1)
    drag(tab, at, (at["width"] * 0.2, 90), (at["width"] * 0.6, 250))
    tab.await_("document.querySelectorAll('.chips button').length === 2")
    assert [chip.partition(":")[0] for chip in text(tab, ".chips button")] == ["depth", "loss"]
    assert 0 < len(text(tab, ".runs tbody th")) < 25
    for _ in range(2):
        tab.run("document.querySelector('.chips button').click()")
    assert text(tab, "[role=status]") == ["30 runs"]
    last = tab.run("document.querySelectorAll('.chart').length") - 1
    at = place(tab, last)
    mouse(tab, "mouseMoved", at["x"] + at["width"] / 2, at["y"] + at["height"] / 2)
    tab.await_("document.querySelector('.tip')")
    assert text(tab, ".tip .strong")[0].startswith("step ")
    tab.run("document.querySelectorAll('.segmented')[0].children[1].click()")
    assert text(tab, ".told strong") == ["1.11111"], "when more is better"
    tab.run("document.querySelectorAll('.segmented')[1].children[1].click()")
    tab.await_("document.querySelector('.wide canvas')")
    drag(tab, place(tab, 1), (46, 90), (46, 220))
    tab.await_("document.querySelectorAll('.chips button').length === 1")
    assert text(tab, ".chips button")[0].startswith("depth: ")
    assert 0 < len(text(tab, ".runs tbody th")) < 25
    tab.run("document.querySelector('.chips button').click()")
    assert text(tab, "[role=status]") == ["30 runs"]


def runs_and_models(tab: Tab) -> None:
    for number in range(3):
        tab.run(f"document.querySelectorAll('.runs tbody input')[{number}].click()")
    assert text(tab, ".choice span") == ["3 runs chosen"]
    tab.run("document.querySelector('.choice a.button').click()")
    tab.await_("document.querySelectorAll('.compare').length === 2")
    assert len(text(tab, "section:first-child > .scroll thead th")) == 4
    go(tab, f"#/run/{BEST}", "dl")
    tab.await_("document.querySelector('.spark')")
    assert f"--run {BEST}" in text(tab, ".command code")[0]
    assert "0.125" in text(tab, "tbody tr")[0]
    go(tab, f"#/run/{NAN}", "dl")
    assert "NaN" in text(tab, "tbody tr")[0]
    go(tab, "#/models", ".aliases")
    assert text(tab, ".aliases li")[1] == "@gone → version 9, which is not there"
    go(tab, "#/changes", "table")
    assert "+ added" in text(tab, ".change")
    go(tab, "#/backups", "table")
    assert len(text(tab, "main tbody tr")) == 2


def whatever_its_name(tab: Tab) -> None:
    """Two runs with 1,000 metrics, whose every name is hostile."""
    go(tab, "#/experiment/2", ".runs")
    place(tab, 0)
    tab.run("document.querySelector('main details').open = true")
    assert len(text(tab, ".choices label")) == 200
    go(tab, f"#/run/{40:032x}", "dl")
    assert sum(row.startswith("metric ") for row in text(tab, "main tbody tr")) == 1000
    go(tab, "#/experiment/3", ".runs")
    assert "These runs have no metrics." in text(tab, "main .empty p.strong")
    go(tab, "#/run/" + quote(SHELL, safe=""), "dl")
    assert shlex.split(text(tab, ".command code")[0])[-2:] == ["--run", SHELL]
    assert tab.run("document.querySelectorAll('img, iframe, script[src]').length") == 0


def narrow_dark_and_on_paper(tab: Tab) -> None:
    tab.scheme("dark")
    tab.size(390, 800)
    for where in ("#/", "#/experiment/1", f"#/run/{BEST}", "#/models", "#/changes", "#/backups"):
        go(tab, where, "main h1")
        time.sleep(0.1)
        assert tab.run("document.documentElement.scrollWidth") <= 390, where
    assert tab.run("document.documentElement.dataset.scheme") == "dark"
    tab.run("document.getElementById('scheme').click()")
    assert tab.run("getComputedStyle(document.body).colorScheme") == "light"
    assert tab.call("Page.printToPDF", printBackground=True)["data"]
