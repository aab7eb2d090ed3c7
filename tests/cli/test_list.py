"""`mlmeta list`: every snapshot is a row, whatever is wrong with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.builders import legacy
from tests.support import damage
from tests.support.cli import Cli


def _zoo(folder: Path, timestamp: str) -> dict[str, str]:
    """Next to a good snapshot all kinds of others; the state that is expected of each."""

    def copy(name: str) -> Path:
        for path in folder.glob(f"*_{timestamp}.json"):
            shutil.copyfile(path, folder / path.name.replace(timestamp, name))
        return folder / f"backup_summary_{name}.json"

    legacy.write(folder)
    legacy.write(folder.parent / "nested", nested=True)
    shutil.move(folder.parent / "nested" / legacy.TIMESTAMP, folder / "20240302_101500")  # files of another timestamp
    copy("20200101_000000").unlink()
    copy("20200101_000001").write_bytes(b"")
    damage.folder_instead(copy("20200101_000002"))
    copy("20200101_000003").write_text("[1]")
    copy("20200101_000004").write_text('{"schema_version": "2.0", "anything": 1}')
    copy("20200101_000005").write_bytes(b"\xff\xfe{}")
    copy("20200101_000006").write_text('{"schema_version": 1.0}')
    copy("20200101_000007").write_text('{"schema_version": null}')
    copy("99999999_999999").write_text("{")
    (folder / "runs_20190101_000000.json").mkdir()
    (folder / "notes.txt").write_text("hello")
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "sub" / "deep" / "runs_20200101_000000.json").write_text("")
    (folder / "dangling_20210101_000000.json").symlink_to(folder / "nowhere")
    (folder / ".mlmeta-0123456789abcdef.tmp").write_text("half")
    return {
        timestamp: "complete",
        legacy.TIMESTAMP: "legacy",
        "20200101_000000": "incomplete",
        "20200101_000001": "damaged",
        "20200101_000002": "incomplete",
        "20200101_000003": "damaged",
        "20200101_000004": "unsupported",
        "20200101_000005": "damaged",
        "20200101_000006": "damaged",
        "20200101_000007": "damaged",
        "99999999_999999": "damaged",
    }


def test_nothing_breaks_the_list(snapshots: Path, cli: Cli) -> None:
    (summary,) = snapshots.glob("backup_summary_*")
    wanted = _zoo(snapshots, summary.stem[-15:])
    found = cli("list", "--json").ok()
    rows = {row["timestamp"]: row for row in found.data["snapshots"]}
    assert {timestamp: row["state"] for timestamp, row in rows.items()} == wanted
    assert list(rows) == sorted(rows, reverse=True)
    assert all(bool(row["problem"]) == (row["state"] not in {"complete", "legacy"}) for row in rows.values())
    shown = cli("list").ok().out
    assert all(any(t in line and state in line for line in shown.splitlines()) for t, state in wanted.items())


@pytest.mark.parametrize("kind", ["experiments", "runs", "metrics", "models"])
@pytest.mark.parametrize("how", ["deleted", "cut in the middle", "a folder"])
def test_a_file_that_is_missing_or_too_short_shows(snapshots: Path, cli: Cli, kind: str, how: str) -> None:
    (path,) = snapshots.glob(f"{kind}_*")
    damage.NAMED[how](path)
    (row,) = cli("list", "--json").ok().data["snapshots"]
    assert row["state"] == "damaged"
    assert path.name in row["problem"]


def test_a_summary_that_was_edited_shows(snapshots: Path, cli: Cli) -> None:
    (path,) = snapshots.glob("backup_summary_*")
    fields = json.loads(path.read_bytes())
    path.write_text(json.dumps({**fields, "note": "edited"}, indent=1) + "\n")
    (row,) = cli("list", "--json").ok().data["snapshots"]
    assert (row["state"], "checksum" in row["problem"]) == ("damaged", True)


def test_no_such_folder_is_5(cli: Cli) -> None:
    done = cli("list", "--storage", "nowhere").ended(5)
    assert "nowhere" in done.err
    assert "--storage" in done.err


def test_a_folder_without_snapshots_is_an_empty_list(cli: Cli) -> None:
    (cli.folder / "backups").mkdir()
    assert cli("list", "--json").ok().data["snapshots"] == []
    cli("list").ok()


def test_a_file_instead_of_a_folder(cli: Cli) -> None:
    (cli.folder / "backups").write_text("")
    assert cli("list").code in {1, 5}


def test_a_newer_major_version_is_refused_by_name(snapshots: Path, cli: Cli) -> None:
    (path,) = snapshots.glob("backup_summary_*")
    path.write_text('{"schema_version": "2.0", "anything": 1}')
    for command in (("show",), ("restore", "--timestamp", "latest", "--tracking-uri", "sqlite:///new.db")):
        done = cli(*command, "--json").ended(1)
        assert done.document["errors"][0]["code"] == "unsupported_schema"
        assert "2.0" in done.err
        assert "newer mlmeta" in done.err
