"""`mlmeta doctor`: what is configured, whether it works, and how old the newest snapshot is."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mlmeta.guard.lock import only_guard_of
from mlmeta.metrics import LAST_DRILL, Sample, update_file
from mlmeta.schema import Summary
from mlmeta.snapshot.epochs import Claim, create
from mlmeta.storage import LocalStorage
from mlmeta.stores.checkup import TESTED, doubt_of_version
from tests.compat.environments import VERSIONS
from tests.support.cli import Cli, Finished
from tests.support.databases import Databases
from tests.support.server import Server

USES = ["storage-list", "storage-write", "storage-create-only", "storage-read", "storage-delete"]


@pytest.fixture
def store(databases: Databases, tmp_path: Path) -> str:
    databases.copy("filled", tmp_path / "store.db")
    return "sqlite:///store.db"


def states(done: Finished) -> dict[str, str]:
    return {check["name"]: check["state"] for check in done.data["checks"]}


def check(done: Finished, name: str) -> dict[str, Any]:
    """The last check of that name."""
    found: dict[str, Any] = [one for one in done.data["checks"] if one["name"] == name][-1]
    return found


def age(folder: Path, timestamp: str, to: str) -> None:
    """Give a snapshot another timestamp, with a checksum that is right."""
    for path in folder.glob(f"*_{timestamp}.json"):
        path.rename(path.with_name(path.name.replace(timestamp, to)))
    path = folder / f"backup_summary_{to}.json"
    summary = Summary.model_validate(json.loads(path.read_text().replace(timestamp, to)))
    path.write_bytes(summary.to_bytes())


def test_all_is_well(cli: Cli, store: str) -> None:
    saved = cli("backup", "--tracking-uri", store, "--json").ok().data["timestamp"]
    before = set((cli.folder / "backups").iterdir())
    done = cli("doctor", "--tracking-uri", store, "--max-age", "26h", "--json").ok()
    assert states(done) == dict.fromkeys(["versions", "store", *USES, "snapshot"], "ok")
    (newest,) = done.data["snapshots"]
    assert (newest["timestamp"], newest["too_old"]) == (saved, False)
    assert 0 <= newest["age"] < 600
    assert done.document["warnings"] == done.document["errors"] == []
    assert set((cli.folder / "backups").iterdir()) == before
    shown = cli("doctor", env={"MLFLOW_TRACKING_URI": store, "COLUMNS": "80"}).ok()
    assert [line[:8] for line in shown.out.splitlines()[-8:]] == ["ok      "] * 8
    assert re.search(r"tracking-uri +sqlite:///store\.db +environment MLFLOW_TRACKING_URI", shown.out)
    assert cli("doctor", "--tracking-uri", store, "--quiet", "--no-progress").ok().out == ""
    assert list(states(cli("doctor", "--read-only", "--tracking-uri", store, "--json").ok()))[2:] == [
        "storage-list",
        "snapshot",
    ]


def test_guards(cli: Cli, store: str) -> None:
    """Who has the highest number, and whether that of this file has been superseded."""
    backups, arguments = LocalStorage(cli.folder / "backups"), ("doctor", "--tracking-uri", store, "--json")
    cli("backup", "--tracking-uri", store, "--label", "prod").ok()
    told = "backups/ guard {} on here (process 7, since 2026) has the highest number"

    def found(number: int, source: str = "prod", label: str = "prod") -> tuple[str, str]:
        create(backups, Claim(epoch=number, source=source, guard=str(number), host="here", pid=7, started="2026"))
        one = check(cli(*arguments, "--label", label).ok(), "guards")
        return one["state"], f"{one['subject']} {one['message']}"

    assert found(2) == ("ok", told.format(2))
    with only_guard_of(cli.folder / "store.db") as lock:
        lock.leave({"epoch": 2, "storages": ["backups/"]})
        assert found(3, "other") == ("ok", f"{told.format(2)}, and guards this very file")
        state, message = found(4)
    assert (state, message) == (
        "warning",
        f"{told.format(4)}; that of this file, 2, is superseded: it saves, and prunes nothing",
    )
    assert "guards" not in states(cli(*arguments, "--label", "nobody").ok())
    (cli.folder / "backups" / "guard_5.json").write_text("torn")
    assert found(4) == (state, message)


def test_what_is_too_old_or_missing(cli: Cli, store: str) -> None:
    """4 where the newest is too old, whatever else is wrong; 1 where something else is; each with what to do."""
    arguments = ("doctor", "--tracking-uri", store, "--json")
    first = cli(*arguments).ok()
    assert (states(first)["storage-list"], states(first)["snapshot"]) == ("warning", "warning")
    assert not (cli.folder / "backups").exists(), "a look makes nothing"
    none = cli(*arguments, "--max-age", "1h").ended(4)
    assert none.document["errors"][0]["message"] == "backups/ has no sound snapshot of this source"

    saved = cli("backup", "--tracking-uri", store, "--json").ok().data["timestamp"]
    age(cli.folder / "backups", saved, "20260101_000000")
    cli(*arguments).ok()
    old = cli(*arguments, "--max-age", "26h").ended(4)
    (issue,) = old.document["errors"]
    assert "20260101_000000 of sqlite:///store.db, " in issue["message"]
    assert issue["message"].endswith("more than 26 h (--max-age)")
    assert issue["hint"]

    (cli.folder / "store.db").rename(cli.folder / "gone.db")
    lost = cli(*arguments).ended(1)
    assert [one["code"] for one in lost.document["errors"]] == ["store"]
    assert check(lost, "snapshot")["state"] == "ok", "it is found without its store"
    assert cli(*arguments, "--max-age", "26h").ended(4).document["errors"][0]["code"] == "store"
    elsewhere = cli("doctor", "--storage", "backups", "--storage", "s3://x", "--json").ended(1)
    assert (check(elsewhere, "store")["state"], check(elsewhere, "storage")["state"]) == ("warning", "failed")
    shown = cli("doctor", "--storage", "s3://x").ended(1)
    assert "failed   s3://x is not a storage that mlmeta knows\n         name a folder" in shown.out
    assert "s3" not in shown.err.replace("looking at s3://x", "")
    assert "storage: s3://x" in cli("doctor", "--quiet", "--storage", "s3://x").ended(1).err
    assert "gone.db: Not a directory" in cli("doctor", "--storage", "gone.db").ended(1).out
    assert cli("doctor", "--max-age", "soon").ended(2).err.startswith("error: --max-age: 'soon' is not a duration")


def test_it_looks_at_what_a_backup_would_use(cli: Cli, store: str) -> None:
    """At its section, its profile, its label; what is said to the doctor goes before. Secrets stay unseen."""
    (cli.folder / "mlmeta.toml").write_text(
        f'tracking-uri = "{store}"\nping = "http://h/secret"\n[backup]\nstorage = ["one", "two"]\nlabel = "prod"\n'
        'keep-last = 3\n[profile.other.doctor]\nstorage = ["three"]\n'
    )
    env: dict[str, str | None] = {"MLMETA_NO_CONFIG": None}
    cli("backup", env=env).ok()
    done = cli("doctor", "--json", "--max-age", "1h", env=env).ok()
    found = {one["option"]: (one["value"], one["source"], one["section"]) for one in done.data["settings"]}
    assert (
        found
        == {
            "tracking-uri": (f"sqlite:///{cli.folder}/store.db", "file", ""),
            "storage": (["one", "two"], "file", "[backup]"),
            "label": ("prod", "file", "[backup]"),
            "keep-last": (3, "file", "[backup]"),
            "ping": ("***", "file", ""),
        }
        or found["tracking-uri"][0] == store
    )
    assert [one["source"] for one in done.data["snapshots"]] == ["prod", "prod"]
    assert done.data["file"] == str(cli.folder / "mlmeta.toml")
    other = cli("--profile", "other", "doctor", "--json", env=env).ok()
    assert [one["storage"] for one in other.data["snapshots"]] == ["three/"]
    said = cli("doctor", "--storage", "one", "--label", "test", "--json", env=env).ok()
    assert [(one["storage"], one["timestamp"]) for one in said.data["snapshots"]] == [("one/", "")]
    assert "secret" not in done.out + done.err + cli("doctor", env=env).ok().out
    secret = ("--tracking-uri", "http://ada:pass-word@127.0.0.1:9/")
    for more in ((), ("--json",), ("--verbose",)):
        refused = cli("doctor", *secret, *more).ended(1)
        assert "pass-word" not in refused.out + refused.err


def test_several_sources_and_what_does_not_count(cli: Cli, store: str, databases: Databases) -> None:
    cli("backup", "--tracking-uri", store).ok()
    databases.copy("empty", cli.folder / "store.db")
    cli("backup", "--tracking-uri", store).ended(3)
    shrunken = cli("doctor", "--tracking-uri", store, "--max-age", "1h", "--json").ok()
    (warning,) = shrunken.document["warnings"]
    assert "which does not count: it is shrunken" in warning
    assert shrunken.data["snapshots"][0]["timestamp"]
    databases.copy("filled", cli.folder / "store.db")
    cli("backup", "--tracking-uri", store, "--label", "a\x1b[31mb").ok()
    several = cli("doctor", "--max-age", "1h", "--json").ended(1)
    assert "of 2 sources" in several.document["errors"][0]["message"]
    assert cli("doctor", "--json").ok().document["warnings"][-1].startswith("backups/ has snapshots of 2 sources")
    assert cli("doctor", "--max-age", "1h", "--source", store, "--json").ok().data["snapshots"][0]["source"] == store
    shown = cli("doctor", "--max-age", "1h", "--source", "a\x1b[31mb").ok()
    assert "\x1b" not in shown.out
    for path in (cli.folder / "backups").glob("runs_*"):
        path.unlink()
    damaged = cli("doctor", "--tracking-uri", store, "--max-age", "1h", "--json").ended(4)
    assert "it is damaged" in check(damaged, "snapshot")["message"] or "damaged" in str(damaged.document["warnings"])


def test_the_file_of_metrics_tells_of_drills_and_of_backups_that_found_nothing_new(cli: Cli, store: str) -> None:
    env: dict[str, str | None] = {"MLMETA_TRACKING_URI": store, "MLMETA_METRICS_FILE": "m.prom"}
    assert states(cli("doctor", "--json", env=env).ok())["drill"] == "warning"
    saved = cli("backup", "--json", env=env).ok().data["timestamp"]
    age(cli.folder / "backups", saved, "20260101_000000")
    changed = {**env, "MLMETA_IF_CHANGED": "1"}
    cli("backup", env=changed).ok()
    cli("doctor", "--max-age", "1h", env=changed).ok()
    cli("doctor", "--max-age", "1h", env=env).ended(4)
    hint = cli("doctor", "--max-age", "1h", env={**changed, "MLMETA_METRICS_FILE": None}).ended(4).out
    assert "--metrics-file tells when it last looked" in hint
    drilled = Sample(LAST_DRILL, time.time() - 3 * 86400)
    update_file(cli.folder / "m.prom", {"command": "verify", "storage": "backups"}, [drilled])
    done = cli("doctor", "--json", env=env).ok()
    assert check(done, "drill")["message"] == "a trial restore brought everything back, 3 d ago"
    (cli.folder / "m.prom").write_text("up 1\n")
    assert states(cli("doctor", "--json", env=env).ok())["metrics-file"] == "warning"


def test_servers_and_schemas_that_are_known_or_not(cli: Cli, filled: Server, store: str) -> None:
    done = cli("doctor", "--tracking-uri", filled.uri, "--json").ok()
    assert check(done, "store")["message"].startswith("is a server, through MLflow's API; MLflow ")
    with closing(sqlite3.connect(cli.folder / "store.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    newer = check(cli("doctor", "--tracking-uri", store, "--json").ok(), "store")
    assert newer["state"] == "warning"
    assert "schema ffffffffffff; " in newer["message"]
    assert "does not know its schema" in newer["message"]
    assert newer["hint"]


def test_the_versions_that_are_tested() -> None:
    """What is said is what the tests run with."""
    numbers = sorted(tuple(map(int, version.split("."))) for version in VERSIONS)
    assert (numbers[0], numbers[-1]) == TESTED
    assert "older" in doubt_of_version("2.9.1", "it")[0]
    assert "newer" in doubt_of_version("99.0.0", "it")[0]
    for known in (*VERSIONS.values(), None, "", "unknown"):
        assert doubt_of_version(known, "it") == ("", "")
