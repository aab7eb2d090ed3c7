"""What a bucket says of an object is shown, and decides nothing; no more is downloaded than a summary may name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlmeta import list_snapshots
from mlmeta.commands.copy import copy
from mlmeta.commands.prune import prune
from mlmeta.commands.verify import verify
from mlmeta.errors import ObjectRefusedError, SnapshotError
from mlmeta.snapshot.catalog import ABOUT, SnapshotState, describe, file_sets, glance
from mlmeta.snapshot.reader import open_snapshot
from mlmeta.snapshot.retention import Rules
from mlmeta.storage import Storage
from tests.builders.snapshots import RECORDS
from tests.storage.conftest import Ground
from tests.storage.test_prune_and_copy import snapshot
from tests.support.stored import names, publish, read

BIG = b" " * 3_000_000


@pytest.fixture
def bucket(gcs_ground: Ground) -> Storage:
    return gcs_ground.open()


def replaced(storage: Storage, name: str, content: bytes, about: dict[str, str]) -> None:
    """Somebody puts another object in the place of one, and says what he likes of it."""
    storage.remove(name)
    publish(storage, name, content, about)


def test_a_forged_description_of_a_source_does_not_have_others_pruned(bucket: Storage) -> None:
    """The bodies say that two sources of one snapshot each; what stands beside them, that it is one of two."""
    mine, other = snapshot(bucket, 0, source="http://a"), snapshot(bucket, 1, source="http://b")
    name = f"backup_summary_{other}.json"
    (about,) = [dict(file.about) for file in bucket.files() if file.name == name]
    forged = json.dumps({**json.loads(about[ABOUT]), "mlflow_uri": "http://a"})
    replaced(bucket, name, read(bucket, name), {ABOUT: forged})
    files = {found.timestamp: found for found in file_sets(bucket)}
    assert glance(bucket, files[other], 0).source == "http://a", "it is shown"
    assert describe(bucket, files[other], 0).source == "http://b"
    prune(bucket.location, Rules(last=1))
    assert {found.timestamp for found in file_sets(bucket)} == {mine, other}


@pytest.mark.parametrize("body", [b"[" * 1_000_000, b"{}", b""])
def test_a_good_description_of_a_bad_summary_restores_nothing(bucket: Storage, body: bytes) -> None:
    good, bad = snapshot(bucket, 0), snapshot(bucket, 1)
    name = f"backup_summary_{bad}.json"
    (about,) = [dict(file.about) for file in bucket.files() if file.name == name]
    replaced(bucket, name, body, about)
    with pytest.raises(SnapshotError):
        open_snapshot(bucket, bad)
    assert {one.timestamp for one in prune(bucket.location, Rules(last=1)).snapshots if one.keep} == {good, bad}
    assert verify([], bucket.location, every=True).exit_code == 4
    assert verify([good], bucket.location).exit_code == 0


@pytest.mark.parametrize("about", ["{", "[]", '{"schema_version": "1.1"}', "null"])
def test_a_description_that_is_none_is_not_shown(bucket: Storage, about: str) -> None:
    stamp = snapshot(bucket, 0)
    name = f"backup_summary_{stamp}.json"
    replaced(bucket, name, read(bucket, name), {ABOUT: about})
    (row,) = list_snapshots(bucket.location).snapshots
    assert (row.state, row.source) == (SnapshotState.COMPLETE, "http://a")


def test_a_description_that_names_other_files_is_not_shown(bucket: Storage) -> None:
    stamp = snapshot(bucket, 0)
    name = f"backup_summary_{stamp}.json"
    (about,) = [dict(file.about) for file in bucket.files() if file.name == name]
    fields = json.loads(about[ABOUT])
    fields["files"]["runs"]["name"] = "../runs"
    replaced(bucket, name, read(bucket, name), {ABOUT: json.dumps(fields)})
    assert list_snapshots(bucket.location).snapshots[0].state is SnapshotState.COMPLETE


def test_no_more_is_downloaded_than_the_summary_says(bucket: Storage, tmp_path: Path) -> None:
    stamp = snapshot(bucket, 0, records=RECORDS)
    replaced(bucket, f"runs_{stamp}.json", BIG, {})
    with pytest.raises(ObjectRefusedError, match=r"has more than 1,000,000 bytes"):
        bucket.open(f"runs_{stamp}.json", 1_000_000)
    assert bucket.open(f"runs_{stamp}.json", len(BIG)).read() == BIG
    (row,) = list_snapshots(bucket.location).snapshots
    assert (row.state, "3000000 bytes" in row.problem) == (SnapshotState.DAMAGED, True)
    (problem,) = verify([stamp], bucket.location).issues
    assert "is not read: it has more than" in problem.message
    assert stamp in copy([], bucket.location, str(tmp_path / "there"), missing=True).left_out


def test_a_summary_without_end_is_not_downloaded(bucket: Storage) -> None:
    good, bad = snapshot(bucket, 0), snapshot(bucket, 1)
    replaced(bucket, f"backup_summary_{bad}.json", b" " * (17 << 20), {})
    rows = {row.timestamp: row for row in list_snapshots(bucket.location).snapshots}
    assert (rows[bad].state, rows[good].state) == (SnapshotState.DAMAGED, SnapshotState.COMPLETE)
    assert "has more than 16,777,216 bytes" in rows[bad].problem


def test_objects_with_odd_names_are_none_of_ours(gcs_ground: Ground) -> None:
    stamp = snapshot(gcs_ground.open(), 0)
    odd = [f"../runs_{stamp}.json", f"{stamp}/../runs_{stamp}.json", f"runs_{stamp}.json\n", f"./runs_{stamp}.json"]
    odd += [f"20200101_000000/runs_{stamp}.json", f"/runs_{stamp}.json", f"runs_{stamp}.json/", "\x1b[2J", "ä" * 300]
    gcs_ground.put(dict.fromkeys(odd, b"odd"))
    storage = gcs_ground.open()
    (row,) = list_snapshots(storage.location).snapshots
    assert row.state is SnapshotState.COMPLETE
    assert verify([stamp], storage.location).issues == ()
    before = gcs_ground.names()
    prune(storage.location, Rules(last=1))
    assert gcs_ground.names() == before
    assert len(names(storage)) >= 5
