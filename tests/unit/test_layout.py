"""Names of files."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmeta.snapshot.layout import file_name, group, moment_of, next_timestamp, timestamp_of
from mlmeta.storage import StoredFile

T = "20250815_232928"


def _group(*names: str) -> dict[str, dict[str, str]]:
    found = group(StoredFile(name, 1, 0.0) for name in names)
    return {files.timestamp: {kind: stored.name for kind, stored in files.files.items()} for files in found}


def test_files_of_one_timestamp_are_one_snapshot_newest_first() -> None:
    names = [file_name(kind, t) for t in ("20240101_000000", T) for kind in ("runs", "backup_summary")]
    found = _group(*names)
    assert list(found) == [T, "20240101_000000"]
    assert found[T] == {"runs": f"runs_{T}.json", "backup_summary": f"backup_summary_{T}.json"}


def test_the_older_layout_is_read_and_flat_names_win() -> None:
    assert _group(f"{T}/runs_{T}.json") == {T: {"runs": f"{T}/runs_{T}.json"}}
    for names in ([f"{T}/runs_{T}.json", f"runs_{T}.json"], [f"runs_{T}.json", f"{T}/runs_{T}.json"]):
        assert _group(*names) == {T: {"runs": f"runs_{T}.json"}}


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "runs.json",
        f"runs_{T}.json.bak",
        f"runs_{T}.csv",
        f"Runs_{T}.json",
        f"runs_{T}.json\n",
        f"20240101_000000/runs_{T}.json",
        f"old/runs_{T}.json",
        f"a/{T}/runs_{T}.json",
        f"runs_{T}0.json",
        f"_{T}.json",
    ],
)
def test_foreign_files_are_left_out(name: str) -> None:
    assert _group(name) == {}


def test_digits_that_are_no_date_still_make_a_set() -> None:
    assert list(_group("runs_99999999_999999.json")) == ["99999999_999999"]
    assert moment_of("99999999_999999") is None


@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(timezone.utc)))  # noqa: DTZ001
def test_timestamps_grow_by_seconds(moment: datetime) -> None:
    timestamp = timestamp_of(moment)
    found = moment_of(timestamp)
    assert found == moment.replace(microsecond=0)
    following = moment_of(next_timestamp(timestamp))
    assert following is not None
    assert (following - moment.replace(microsecond=0)).total_seconds() == 1
    assert next_timestamp(timestamp) > timestamp
