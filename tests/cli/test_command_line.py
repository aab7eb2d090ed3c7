"""Words of a command line: which snapshot, which of them, and what a document says of a mistake."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from mlmeta import backup, copy, list_snapshots, verify
from mlmeta.cli.backup import view
from mlmeta.commands.prune import prune
from mlmeta.errors import UsageError
from mlmeta.schema.summary import tags_of
from mlmeta.snapshot.retention import Rules
from mlmeta.storage import LocalStorage
from tests.builders import snapshots as made
from tests.support.cli import Cli
from tests.support.databases import Databases


@pytest.fixture
def stamps(cli: Cli) -> list[str]:
    """Timestamps of three small snapshots in `backups`, the oldest first."""
    storage = LocalStorage(cli.folder / "backups")
    moments = [made.NOW + timedelta(days=day) for day in range(3)]
    return [made.commit(storage, at=moment).summary.backup_timestamp for moment in moments]


def test_restore_takes_its_snapshot_as_the_others_do(
    cli: Cli, stamps: list[str], databases: Databases, tmp_path: Path
) -> None:
    target = databases.copy("empty", tmp_path / "target.db")

    def planned(*words: str, **env: str) -> str:
        where = ("--tracking-uri", target, "--dry-run", "--json")
        return str(cli("restore", *words, *where, env={**env}).ok().data["timestamp"])

    assert planned() == stamps[2]
    assert planned(stamps[0], "--timestamp", stamps[0]) == stamps[0]
    assert planned("latest", MLMETA_TIMESTAMP=stamps[0]) == stamps[2]
    (tmp_path / "mlmeta.toml").write_text(f'[restore]\ntimestamp = "{stamps[0]}"\n')
    assert planned("latest~1", MLMETA_NO_CONFIG="") == stamps[1]
    done = cli("restore", "latest", "--timestamp", stamps[0], "--tracking-uri", target, "--json").ended(2)
    (error,) = done.document["errors"]
    assert error["message"] == f"two snapshots are named: latest, and {stamps[0]} by --timestamp"


def test_what_a_list_is_of(cli: Cli) -> None:
    """Those of a source, those with a tag, the newest few; what can't say whether it is meant is counted."""
    folder = cli.folder / "backups"
    storage = LocalStorage(folder)
    prod = {"mlflow_uri": "http://b:80/", "label": "prod"}
    sources = ({"mlflow_uri": "http://a"}, prod, {"mlflow_uri": "http://a:80/"}, {"mlflow_uri": "http://c"})
    stamps = []
    for day in range(6):
        tags = {"release": str(day)} if day % 3 else {}
        at = made.NOW + timedelta(days=day)
        stamps.append(made.commit(storage, at=at, tags=tags, **sources[day % 4]).summary.backup_timestamp)
    (folder / f"backup_summary_{stamps[0]}.json").write_text("{")

    def listed(*words: str) -> tuple[list[int], int, int]:
        done = cli("list", "--json", *words).ok().document
        rows = [stamps.index(row["timestamp"]) for row in done["data"]["snapshots"]]
        return rows, done["data"]["total"], len(done["warnings"])

    assert listed() == ([5, 4, 3, 2, 1, 0], 6, 0)
    assert listed("--limit", "2") == ([5, 4], 6, 0)
    assert listed("--source", "prod", "--limit", "1") == ([5], 2, 1)
    assert listed("--source", "http://a/") == ([4, 2], 2, 1)
    assert listed("--tag", "release") == ([5, 4, 2, 1], 4, 1)
    assert listed("--tag", "release=4", "--source", "http://a") == ([4], 1, 1)
    assert listed("--tag", "none") == ([], 0, 1)
    assert "there are: prod, http://a, http://c" in cli("list", "--source", "nobody").ended(5).err
    verified = verify([], str(folder), of_source="prod", every=True).snapshots
    assert [stamps.index(one.timestamp) for one in verified] == [5, 1, 0], "a damaged one may be meant as well"
    copied = copy([], str(folder), str(cli.folder / "there"), of_source="prod", missing=True)
    assert [stamps.index(one.timestamp) for one in copied.snapshots] == [1, 5]
    assert "of nobody" in cli("prune", "--keep-last", "1", "--source", "nobody").ended(5).err
    pruned = cli("prune", "--keep-last", "1", "--source", "http://a/", "--dry-run").ok().out
    assert pruned.splitlines()[-2:] == ["4 other snapshots: left alone", pruned.splitlines()[-1]]
    assert [line.split()[:2] for line in pruned.splitlines()[2:4]] == [[stamps[4], "keep"], [stamps[2], "remove"]]
    (cli.folder / "nothing").mkdir()
    assert cli("prune", "--keep-last", "1", "--storage", "nothing", "--source", "x").ok().out.splitlines() == [
        "Removed 0 snapshots from nothing/."
    ]
    gone = prune(str(folder), Rules(last=1), of_source="http://a/")
    assert (gone.going, gone.others) == ({stamps[2]}, 4)
    assert [one.value for one in gone.measures(0)][:2] == [5, 1], "how many there are in the storage, whoever's"
    stamps[2:3] = []
    shown = cli("list", "--limit", "2").ok().out
    assert "and 3 more" in shown
    assert "release=5" in shown
    prefix = stamps[1][:7]
    assert cli("show", prefix, "--json").ended(2).document["errors"][0]["code"] == "ambiguous_selector"
    found = cli("show", prefix, "--source", "prod", "--json").ok().data
    assert (found["timestamp"], found["tags"]) == (stamps[1], {"release": "1"})


def test_rules_and_tags(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    given: list[dict[str, str]] = [{"release": "1"}, {"release": "2"}, {"note": ""}, {}, {}]
    stamps = [
        made.commit(storage, at=made.NOW + timedelta(days=day), tags=tags).summary.backup_timestamp
        for day, tags in enumerate(given)
    ]

    def stay(*tags: str) -> list[int]:
        plan = prune(str(tmp_path), Rules(last=1, tags=tags), dry_run=True)
        return sorted(stamps.index(one.timestamp) for one in plan.snapshots if one.keep)

    assert stay() == [4]
    assert stay("release") == [0, 1, 4]
    assert stay("release=2", "note=") == [1, 2, 4]
    with pytest.raises(UsageError, match="no rule"):
        prune(str(tmp_path), Rules(tags=("release",)))
    plan = prune(str(tmp_path), Rules(last=1, tags=("note",)))
    assert {one.reason for one in plan.snapshots if one.keep} == {"last 1", "tag note"}


def test_tags_of_a_backup(databases: Databases, tmp_path: Path) -> None:
    """They are in the summary, which has no such key without one; and they count for `--if-changed`."""
    store, place = databases.uri("filled"), str(tmp_path)
    plain = backup(store, place)
    assert b'"tags"' not in (tmp_path / f"backup_summary_{plain.timestamp}.json").read_bytes()
    tagged = backup(store, place, tags={"release": "1.4", "by": "ada"}, if_changed=True)
    assert (tagged.tags, tagged.unchanged_since) == ({"by": "ada", "release": "1.4"}, "")
    assert [one.tags for one in list_snapshots(place).snapshots] == [tagged.tags, {}]
    assert backup(store, place, if_changed=True).unchanged_since == tagged.timestamp
    assert backup(store, place, tags={"by": "ada"}, if_changed=True).unchanged_since == tagged.timestamp
    for words in (["no value"], ["=x"], ["a=1", "a=2"], [f"{'k' * 300}=1"]):
        with pytest.raises(UsageError):
            tags_of(words)


def test_a_plan_names_the_single_things_and_what_they_need(cli: Cli, databases: Databases, tmp_path: Path) -> None:
    runs = [made.run("a" * 32, run_name="sweep\x1b[2J"), made.run("b" * 32, tags={"mlflow.parentRunId": "a" * 32})]
    made.write(cli.folder / "backups", [made.experiment(), *runs, made.model(made.version(run_id="b" * 32))])
    words = ("restore", "--tracking-uri", databases.copy("empty", tmp_path / "target.db"), "--dry-run")
    shown = cli(*words, "--run", "bb", "--model", "made-model/1", env={"COLUMNS": "80"}).ok().out.splitlines()
    assert shown[1].split() == ["WHAT", "ID", "NAME", "WHY", "STATE"]
    assert [line.split()[0] for line in shown[3:6]] == ["model", "run", "run"]
    assert shown[4].split() == ["run", "b" * 32, "run-b", "asked", "for", "new"]
    assert shown[5].split()[-2:] == ["parent", "new"]
    assert "\x1b" not in shown[5]
    assert max(map(len, shown[1:])) <= 80
    chosen = cli(*words, "--run", "bb", "--json").ok().data["plan"]["chosen"]
    assert [(one["kind"], one["id"][:2], one["reason"]) for one in chosen] == [
        ("run", "bb", "asked for"),
        ("run", "aa", "parent"),
        ("experiment", "1", "needed"),
    ]
    (error,) = cli(*words, "--run", "c", "--json").ended(2).document["errors"]
    assert error["code"] == "unknown_record"


def test_a_dry_run_says_what_would_go(databases: Databases, tmp_path: Path) -> None:
    """As the run itself does: of its own source, and nothing where the new one is suspected."""
    store, place = databases.uri("filled"), str(tmp_path / "backups")
    assert backup(store, place, keep=Rules(last=1), dry_run=True).pruned == {f"{place}/": ()}
    assert not (tmp_path / "backups").exists()
    other = backup(databases.uri("empty"), place)
    stamps = [backup(store, place, label="" if number else "x").timestamp for number in range(3)]
    told = backup(store, place, keep=Rules(last=2), dry_run=True)
    assert (told.pruned, told.timestamp) == ({f"{place}/": (stamps[1],)}, "")
    assert f"Would remove 1 older snapshot from {place}/: {stamps[1]}" in view(told, verbose=False)
    assert backup(store, place, if_changed=True, keep=Rules(last=1), dry_run=True).unchanged_since == stamps[2]
    lost = backup(databases.uri("empty"), place, label="x", keep=Rules(last=1), dry_run=True)
    assert (lost.exit_code, lost.pruned, bool(lost.shrunken)) == (3, {}, True)
    assert len(list_snapshots(place).snapshots) == 4
    assert backup(store, place, keep=Rules(last=2)).pruned == told.pruned
    assert other.timestamp in {one.timestamp for one in list_snapshots(place).snapshots}


def test_json_wherever_it_is_asked_for(cli: Cli) -> None:
    """One document, also before there is a command, and by the configuration file."""
    (cli.folder / "mlmeta.toml").write_text("[list]\njson = true\n")
    by_file: dict[str, str | None] = {"MLMETA_NO_CONFIG": None}
    (error,) = cli("list", "--nope", env=by_file).ended(2).document["errors"]
    assert "--nope" in error["message"]
    assert cli("list", "--nope", env={**by_file, "MLMETA_JSON": "0"}).ended(2).out == ""
    (error,) = cli("--json", "list").ended(2).document["errors"]
    assert error["message"] == "--json goes after the command: mlmeta list --json …"
    for words in (("--profile", "x", "--version", "--json"), ("--json", "--version", "list")):
        assert cli(*words).ok().document["mlmeta_version"]
    assert cli("--version", env={"MLMETA_JSON": "1"}).ok().document["mlmeta_version"]
    asked = {"_MLMETA_COMPLETE": "complete_bash", "COMP_WORDS": "mlmeta\nforg", "COMP_CWORD": "1", "MLMETA_JSON": "1"}
    assert cli(env={**asked}).out.split() == ["forget"]
