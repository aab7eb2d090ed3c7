"""A bucket that moved under a living store: its locations are rewritten in the database."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import mlmeta
from mlmeta.commands.rewrite import rewrite
from mlmeta.errors import ExitCode, MissingStoreError, UsageError
from tests.sql.helpers import digests
from tests.support.cli import Cli

PAIRS = {"gs://bucket": "s3://new/größe"}
"""The old name is the beginning of others, and `LIKE` and MySQL's collations would take more."""
TRACE = "tr-1"
EXACT = ("gs://bucket", "gs://bucket/%_/größe 模型", "gs://bucket/", "gs://bucket/gs://bucket/x")
OTHERS = ("gs://bucketless/1", "GS://Bucket/1", "gs://buck", "mlflow-artifacts:/1", "models:/m-1", "gs://buckeT")


def located(path: Path) -> None:
    """Give a store something of each kind that has a location."""
    with closing(sqlite3.connect(path)) as db, db:
        for number, location in enumerate((*EXACT, *OTHERS)):
            db.execute(
                "INSERT INTO model_versions (name, version, creation_time, current_stage, source, status, workspace)"
                " VALUES ('zeta', ?, 1, 'None', ?, 'READY', 'default')",
                (100 + number, location),
            )
        db.execute(
            "INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, creation_timestamp_ms,"
            " last_updated_timestamp_ms, status, lifecycle_stage) VALUES ('m-1', 1, 'm', 'gs://bucket/m', 1, 1, 2,"
            " 'active')"
        )
        db.execute(
            f"INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, status) VALUES ('{TRACE}', 1, 1, 'OK')"
        )
        tags = {"mlflow.artifactLocation": "gs://bucket/t", "mlflow.trace.archiveLocation": "gs://bucket/a"}
        for key, value in {**tags, "note": "gs://bucket/n"}.items():
            db.execute("INSERT INTO trace_tags (request_id, key, value) VALUES (?, ?, ?)", (TRACE, key, value))
        db.execute("INSERT INTO workspaces VALUES ('team', NULL, 'gs://bucket/team', 'gs://bucket/archive', NULL)")
        db.execute("UPDATE datasets SET dataset_source = 'gs://bucket/data' WHERE rowid = 1")


@pytest.fixture(scope="module")
def moving(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with locations of all kinds. Not to be changed."""
    path = tmp_path_factory.mktemp("moving") / "mlflow.db"
    shutil.copy(filled, path)
    located(path)
    return path


@pytest.fixture(scope="module")
def backups(moving: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a snapshot of it. Not to be written to."""
    folder = str(tmp_path_factory.mktemp("backups"))
    assert mlmeta.backup(f"sqlite:///{moving}", folder).exit_code == ExitCode.DONE
    return folder


def saved(uri: str, folder: Path) -> dict[str, str]:
    mlmeta.backup(uri, folder)
    return digests(mlmeta.open_snapshot(folder))


@pytest.fixture(scope="module")
def moved(backups: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a restore with new prefixes makes of the store."""
    folder = tmp_path_factory.mktemp("moved")
    uri = f"sqlite:///{folder}/moved.db"
    assert mlmeta.restore(uri, "latest", backups, rewrite=PAIRS).exit_code == ExitCode.DONE
    return saved(uri, folder / "b")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
def test_a_store_is_rewritten_as_a_restore_would_do_it(
    kind: str, moving: Path, backups: str, moved: dict[str, str], tmp_path: Path, request: Any
) -> None:
    uri = f"sqlite:///{tmp_path}/store.db"
    if kind == "sqlite":
        shutil.copy(moving, tmp_path / "store.db")
    else:
        uri = request.getfixturevalue("emptied")(kind)
        assert mlmeta.restore(uri, "latest", backups).exit_code == ExitCode.DONE
    planned = rewrite(uri, PAIRS, dry_run=True)
    assert kind != "sqlite" or (tmp_path / "store.db").read_bytes() == moving.read_bytes()
    done = rewrite(uri, PAIRS)
    assert (done.exit_code, done.issues) == (ExitCode.DONE, ())
    assert planned.survey == done.survey
    assert done.changed == {one.name: one.matching for one in planned.survey.located if one.matching}
    assert {*done.changed} >= {
        *("experiments.artifact_location", "runs.artifact_uri", "logged models.artifact_location"),
        *("model versions.source", "model versions.storage_location", "workspaces.default_artifact_root"),
        *(
            "workspaces.trace_archival_location",
            "traces.mlflow.artifactLocation",
            "traces.mlflow.trace.archiveLocation",
        ),
    }
    assert planned.survey.others["gs://bucketless"] == planned.survey.others["GS://Bucket"] == 1
    assert any(warning.startswith("1 dataset that runs used has") for warning in done.warnings)
    again = rewrite(uri, PAIRS)
    assert (again.exit_code, again.changed, again.survey.matching) == (ExitCode.DONE, {}, 0)
    if kind != "sqlite":
        too_long = rewrite(uri, {"s3://new": "s3://" + "x" * 200})
        assert (too_long.exit_code, too_long.changed) == (ExitCode.FAILED, {})
        assert "runs.artifact_uri holds 200" in str([one.message for one in too_long.issues])
    assert saved(uri, tmp_path / "after") == moved


def test_into_a_folder_of_the_same_bucket_and_out_of_it(moving: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{shutil.copy(moving, tmp_path / 'store.db')}"
    first = saved(uri, tmp_path / "first")
    down = {"gs://bucket": "gs://bucket/sub"}
    into = rewrite(uri, down)
    assert (into.exit_code, into.survey.matching) == (ExitCode.DONE, sum(into.changed.values()))
    twice = rewrite(uri, down)
    assert (twice.changed, sum(one.settled for one in twice.survey.located)) == ({}, into.survey.matching)
    assert twice.warnings == into.warnings  # of datasets; none that nothing begins with it
    out = rewrite(uri, {"gs://bucket/sub": "gs://bucket"})
    assert (out.exit_code, out.survey.matching) == (ExitCode.DONE, into.survey.matching)
    assert saved(uri, tmp_path / "last") == first
    swapped = rewrite(uri, {"gs://bucket": "gs://elsewhere", "gs://elsewhere": "gs://bucket"})
    assert swapped.exit_code == ExitCode.DONE
    assert any("a second run would change them once more" in warning for warning in swapped.warnings)
    misspelt = rewrite(uri, {"gs://buckt": "gs://x", **down}, dry_run=True)
    assert (misspelt.survey.unused, misspelt.warnings[0]) == (
        ("gs://buckt",),
        "no artifact location begins with gs://buckt",
    )


def test_what_others_write_meanwhile_is_told(moving: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{shutil.copy(moving, tmp_path / 'store.db')}"
    done = rewrite(uri, PAIRS)
    changed = done.model_copy(update={"after": rewrite(f"sqlite:///{moving}", PAIRS, dry_run=True).survey})
    assert changed.exit_code == ExitCode.DIFFERENT
    assert any("begin with the old prefix" in issue.message for issue in changed.issues)
    with closing(sqlite3.connect(tmp_path / "store.db")) as db, db:
        db.execute("UPDATE runs SET artifact_uri = artifact_uri || 'x' WHERE rowid = 1")
    other = done.model_copy(update={"after": rewrite(uri, PAIRS, dry_run=True).survey})
    assert [issue.code for issue in other.issues] == ["different"]


def test_nothing_is_written_where_the_answer_is_missing_or_no(moving: Path, cli: Cli, tmp_path: Path) -> None:
    uri = f"sqlite:///{shutil.copy(moving, tmp_path / 'store.db')}"
    content = (tmp_path / "store.db").read_bytes()
    words = ("rewrite", "--artifact-prefix", "gs://bucket=s3://new", "--tracking-uri", uri)
    asked = cli(*words).ended(2)
    assert "add --yes" in asked.err
    assert "gs://bucket/first" in asked.err
    planned = cli(*words, "--dry-run").ok()
    assert "-> s3://new/first" in planned.out
    assert (tmp_path / "store.db").read_bytes() == content
    done = cli(*words, "--yes", "--json").ok()
    assert sum(done.data["changed"].values()) == sum(one["matching"] for one in done.data["survey"]["located"])
    assert "nothing to change" in cli(*words).ok().out


@pytest.mark.parametrize(
    ("uri", "pairs", "says"),
    [
        ("http://127.0.0.1:9", PAIRS, "is not a database"),
        ("./mlruns", PAIRS, "is a file store"),
        ("", PAIRS, "no MLflow server or store"),
        ("sqlite:///x.db", {}, "no artifact prefix"),
        ("sqlite:///x.db", {"gs://a": ""}, "no new prefix"),
        ("sqlite:///x.db", {"gs://a": "gs://a"}, "both the old and the new"),
        ("sqlite:///x.db", {"gs://a/": "gs://b"}, "slash"),
    ],
)
def test_what_can_not_be_meant_is_refused(uri: str, pairs: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        rewrite(uri, pairs)


def test_a_database_that_is_missing_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(MissingStoreError):
        rewrite(f"sqlite:///{tmp_path}/none.db", PAIRS)
    assert list(tmp_path.iterdir()) == []
