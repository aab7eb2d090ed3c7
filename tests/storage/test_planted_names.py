"""Snapshots whose names alone would do harm: somebody planted them who may create, and neither change nor delete."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from mlmeta.commands.previous import newest
from mlmeta.commands.prune import prune
from mlmeta.schema import Selection, Summary
from mlmeta.snapshot.layout import SUMMARY, file_name
from mlmeta.snapshot.reader import open_snapshot
from mlmeta.snapshot.retention import Rules, kept, parse_within
from mlmeta.storage import Storage
from tests.builders import legacy
from tests.builders.snapshots import commit
from tests.storage.conftest import Ground
from tests.support.stored import listed, publish, read

NOW = datetime.now(timezone.utc).replace(microsecond=0)
NO_DATES = ["99999999_999999", "20261301_000000", "00000000_000000"]


def snapshot(storage: Storage, hours: int) -> str:
    return commit(storage, at=NOW - timedelta(hours=hours)).summary.backup_timestamp


def planted(storage: Storage, model: str, stamp: str) -> None:
    """A snapshot with another timestamp, sound otherwise: its summary's copy in a listing says so, too."""
    summary = Summary.model_validate_json(read(storage, file_name(SUMMARY, model)))
    entries = {kind: entry.model_copy(update={"name": file_name(kind, stamp)}) for kind, entry in summary.files.items()}
    for kind, entry in summary.files.items():
        publish(storage, file_name(kind, stamp), read(storage, entry.name))
    made_up = summary.model_copy(update={"backup_timestamp": stamp, "files": entries})
    publish(storage, file_name(SUMMARY, stamp), made_up.to_bytes(), {"summary": made_up.model_dump_json()})


@pytest.mark.parametrize("stamp", NO_DATES)
def test_a_timestamp_that_is_no_date_stands_for_nothing(storage: Storage, stamp: str) -> None:
    older, good = snapshot(storage, 2), snapshot(storage, 1)
    planted(storage, good, stamp)
    rows = {info.timestamp: (info.state.value, info.problem) for info in listed(storage)}
    assert rows[stamp] == ("damaged", f"{file_name(SUMMARY, stamp)} is damaged: its timestamp is not a date")
    assert open_snapshot(storage, "latest").timestamp == good
    assert open_snapshot(storage, "latest~1").timestamp == older
    found = newest(storage, "http://a", Selection())
    assert found is not None
    assert found.backup_timestamp == good
    decisions = {one.timestamp: (one.keep, one.reason) for one in prune(storage.location, Rules(last=1)).snapshots}
    assert decisions[stamp] == (True, "damaged: left alone")
    assert (decisions[good], decisions[older]) == ((True, "last 1"), (False, "no rule keeps it"))


@pytest.mark.parametrize("stamp", [*NO_DATES, "20990101_000000"])
@pytest.mark.parametrize("text", [b"?", b'{"schema_version": "9.0"}', b'{"stats": {}, "backup_timestamp": "%s"}'])
def test_what_can_not_be_read_and_is_dated_ahead_is_not_latest(storage: Storage, stamp: str, text: bytes) -> None:
    """A container that starts with `restore --timestamp latest` starts."""
    good = snapshot(storage, 1)
    publish(storage, file_name(SUMMARY, stamp), text.replace(b"%s", stamp.encode()))
    for selector in ("latest", "9998-01-01"):
        assert open_snapshot(storage, selector).timestamp == good


def test_a_file_does_not_stand_in_for_one_that_came_before_it(gcs_ground: Ground, tmp_path: Path) -> None:
    """An older snapshot has a folder: one of the same time beside it would hide it, and go with its files."""
    place = legacy.write(tmp_path, nested=True)
    old = {f"{legacy.TIMESTAMP}/{path.name}": path.read_bytes() for path in place.iterdir()}
    gcs_ground.put(old)
    storage = gcs_ground.open()
    before = open_snapshot(storage, legacy.TIMESTAMP).summary
    time.sleep(0.01)
    good = snapshot(storage, 1)
    planted(storage, good, legacy.TIMESTAMP)
    assert open_snapshot(storage, legacy.TIMESTAMP).summary == before
    prune(gcs_ground.location, Rules(last=1))
    assert set(old) <= gcs_ground.names()


@pytest.mark.parametrize(
    ("stamp", "text"), [("00010101_000000", "30d"), ("20260101_000000", "900000d"), ("20260101_000000", "999999999d")]
)
def test_within_longer_than_there_are_dates(stamp: str, text: str) -> None:
    assert list(kept([stamp], Rules(within=parse_within(text)))) == [stamp]
