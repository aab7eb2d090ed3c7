"""`mlmeta report`: one file, which says what there was and how it comes back."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from mlmeta.schema import LatestMetric, Skipped
from tests.builders import snapshots as made
from tests.support.cli import Cli

HOSTILE = "</script><img src=x onerror=alert(1)>\u202e{a|b}`${x}`\x1b\n'\"&"


def part(page: str, name: str) -> Any:
    """What a page has packed."""
    found = re.search(rf'<script type="application/gzip\+base64" id="{name}">([A-Za-z0-9+/=]*)</script>', page)
    assert found is not None
    content = gzip.decompress(base64.b64decode(found[1]))
    return json.loads(content) if name != "echarts" else content


def test_everything_of_a_store(snapshots: Path, cli: Cli) -> None:
    done = cli("report", "-o", "out.html", "--json").ok()
    page = (cli.folder / "out.html").read_text()
    assert (done.data["path"], done.data["size"]) == ("out.html", len(page.encode()))
    assert stat.S_IMODE((cli.folder / "out.html").stat().st_mode) == 0o600
    data, shown = part(page, "data"), cli("show", "--json").ok().data
    assert data["about"]["timestamp"] == shown["timestamp"]
    assert {one["id"]: one["total"] for one in data["experiments"]} == {
        one["experiment"]["experiment_id"]: one["runs"] for one in shown["experiments"]
    }
    first = data["restore"][0]["command"]
    assert first.startswith(f"mlmeta restore {shown['timestamp']} --storage {cli.folder / 'backups'}")
    assert first.endswith(shown["source"])
    assert not [name for name in cli.folder.iterdir() if name.suffix == ".tmp"]


def test_a_page_asks_for_nothing_and_runs_only_its_own_scripts(snapshots: Path, cli: Cli) -> None:
    cli("report").ok()
    page = (cli.folder / "report.html").read_text()
    policy = re.search('<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; ")
    assert "unsafe" not in policy[1]
    inline = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    for content in (*(text.encode() for text in inline), part(page, "echarts")):
        assert base64.b64encode(hashlib.sha256(content).digest()).decode() in policy[1]
    assert len(inline) == 1
    assert page.index("Content-Security-Policy") < page.index("<script")
    assert not re.search(r'(?:src|href)="(?!#|data:)', re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))


def test_no_name_becomes_part_of_the_page(cli: Cli) -> None:
    run = made.run(run_name=HOSTILE, user_id=HOSTILE, params={HOSTILE: HOSTILE}, tags={HOSTILE: HOSTILE})
    metrics = {HOSTILE: LatestMetric(value=float("nan"), step=1, timestamp=1)}
    records = [
        made.experiment(name=HOSTILE),
        run.model_copy(update={"metrics": metrics}),
        made.history(HOSTILE, (0, 1, float("inf")), (1, 1, float("nan"))),
        made.model(made.version(source=HOSTILE), name=HOSTILE, aliases={HOSTILE: 1}),
    ]
    gap = Skipped(kind="run", id=HOSTILE, reason=HOSTILE)
    made.write(cli.folder / "backups", records[:1], mlflow_uri=HOSTILE)
    made.write(cli.folder / "backups", records, mlflow_uri=HOSTILE, skipped=(gap,), warnings=(HOSTILE,))
    done = cli("report", "latest", "--storage", "backups").ok()
    assert "\x1b" not in done.out + done.err
    page = (cli.folder / "report.html").read_text()
    assert "onerror" not in page
    assert part(page, "data")["experiments"][0]["name"] == HOSTILE
    assert part(page, "data")["changes"]["total"] == 2
    assert part(page, "curves")["curves"][0]["odd"] == 2


@pytest.mark.parametrize("records", [(), (made.experiment(),)], ids=["nothing", "an experiment"])
def test_next_to_nothing(cli: Cli, records: tuple[Any, ...]) -> None:
    made.write(cli.folder / "backups", records)
    cli("report").ok()
    data = part((cli.folder / "report.html").read_text(), "data")
    assert len(data["experiments"]) == len(records)
    assert data["changes"] is None


def test_a_file_that_is_there_stays(snapshots: Path, cli: Cli) -> None:
    taken = cli.folder / "report.html"
    taken.write_text("mine")
    done = cli("report").ended(2)
    assert "is there already" in done.err
    assert taken.read_text() == "mine"
    cli("report", "--force").ok()
    assert taken.read_text().startswith("<!doctype html>")
    (cli.folder / "link.html").symlink_to("elsewhere.html")
    assert "is there already" in cli("report", "-o", "link.html").ended(2).err
    cli("report", "-o", "link.html", "--force").ok()
    assert (cli.folder / "elsewhere.html").read_bytes() == (cli.folder / "link.html").read_bytes() != b""
    assert (cli.folder / "link.html").is_symlink()
    os.mkfifo(cli.folder / "pipe.html")
    assert "is not a regular file" in cli("report", "-o", "pipe.html", "--force").ended(2).err
    assert "is a folder" in cli("report", "-o", str(cli.folder)).ended(2).err
    assert "there is no folder" in cli("report", "-o", "nowhere/report.html").ended(2).err
    assert "no experiment 'nothing'" in cli("report", "-o", "b.html", "--experiment", "nothing").ended(2).err
    for size in ("nan", "inf"):
        assert "--max-size" in cli("report", "-o", "b.html", "--max-size", size).ended(2).err
    assert not (cli.folder / "b.html").exists()


def test_a_page_on_stdout(snapshots: Path, cli: Cli) -> None:
    done = cli("report", "-o", "-").ok()
    assert part(done.out, "data")["about"]["state"] == "complete"
    assert done.out.endswith("</html>\n")
    assert "--json" in cli("report", "-o", "-", "--json").ended(2).document["errors"][0]["message"]


def test_a_damaged_snapshot_gives_no_page(snapshots: Path, cli: Cli) -> None:
    runs = next(snapshots.glob("runs_*.json"))
    runs.write_bytes(runs.read_bytes().replace(b"FINISHED", b"FINISHEE"))
    assert "SHA-256" in cli("report").ended(4).err
    assert not (cli.folder / "report.html").exists()


def test_a_part(with_workspaces: Path, cli: Cli) -> None:
    cli("backup", "--tracking-uri", f"sqlite:///{os.path.relpath(with_workspaces, cli.folder)}").ok()
    names = {one["experiment"]["workspace"] or "default" for one in cli("show", "--json").ok().data["experiments"]}
    assert len(names) == 3
    cli("report", "--workspace", "team-a").ok()
    data = part((cli.folder / "report.html").read_text(), "data")
    assert {one["workspace"] for one in data["experiments"]} == {"team-a"}
    assert any("team-a" in sentence for sentence in data["left_out"])
    assert data["restore"][0]["command"].endswith(f"--tracking-uri sqlite:///{with_workspaces.resolve()}"), (
        "from anywhere"
    )
