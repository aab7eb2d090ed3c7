"""A network that breaks at every request of a read, and what a refusal is called."""

from __future__ import annotations

import time

import pytest
from google.api_core.exceptions import Forbidden

from mlmeta.errors import (
    BucketMissingError,
    StorageDeniedError,
    StorageError,
)
from mlmeta.snapshot.catalog import SnapshotState
from mlmeta.snapshot.reader import open_snapshot
from mlmeta.snapshot.verify import Problem, verify_snapshot
from mlmeta.storage.gcs_errors import gcs_errors
from tests.builders.snapshots import RECORDS, STAMP, commit
from tests.storage.faulty import PASSING, Direct, New, every, failure, hasty
from tests.support import fault_proxy as fault
from tests.support.fault_proxy import RETRIED, Fault, Plan
from tests.support.gcs import Emulator
from tests.support.stored import assert_whole, listed, publish


class TestReading:
    @pytest.fixture
    def location(self, new: New, direct: Direct) -> str:
        """A storage with a snapshot."""
        location = new()
        commit(direct(location))
        return location

    @pytest.mark.parametrize("name", PASSING)
    def test_what_passes_costs_nothing(self, faults: Plan, location: str, name: str) -> None:
        for number in every(faults, lambda: assert_whole(hasty(location))):
            faults.break_at(number, PASSING[name])
            assert_whole(hasty(location))

    @pytest.mark.parametrize("code", RETRIED)
    def test_a_busy_server_is_asked_again(self, faults: Plan, location: str, code: int) -> None:
        for number in every(faults, lambda: assert_whole(hasty(location))):
            faults.break_at(number, fault.status(code), times=2)
            assert_whole(hasty(location))

    @pytest.mark.parametrize(
        "breaks",
        [fault.status(400), fault.status(401), fault.status(403), fault.status(404), fault.flipped_reply],
        ids=["400", "401", "403", "404", "flipped"],
    )
    def test_what_is_not_right_is_never_taken_for_it(self, faults: Plan, location: str, breaks: Fault) -> None:
        found: list[Problem] = []

        def look() -> None:
            found[:] = verify_snapshot(open_snapshot(hasty(location)))

        for number in every(faults, look):
            faults.break_at(number, breaks)
            error = failure(look)
            if error is not None:
                assert error.hint
            elif not found:  # the byte was one that nothing hangs on, such as a time in the list
                assert (number, breaks) == (1, fault.flipped_reply)
                assert_whole(hasty(location))

    @pytest.mark.parametrize("breaks", [fault.drop_before, fault.silence], ids=["drops", "silence"])
    def test_a_server_that_dies(self, faults: Plan, location: str, breaks: Fault) -> None:
        for number in (1, 2):  # the list, and the summary
            faults.break_at(number, breaks, then=breaks)
            begin = time.monotonic()
            with pytest.raises(StorageError, match="can't be reached") as caught:
                open_snapshot(hasty(location, patience=0.2, wait=0.1))
            assert location in str(caught.value)
            assert time.monotonic() - begin < 2

    def test_removing(self, faults: Plan, location: str, direct: Direct) -> None:
        for name in ("drop before", "drop after", "503 after", "silence"):
            faults.break_at(1, PASSING[name])
            hasty(location).remove(f"runs_{STAMP}.json")
            assert f"runs_{STAMP}.json" not in {file.name for file in direct(location).files()}
            publish(direct(location), f"runs_{STAMP}.json", b"")


class TestWithoutChecksums:
    """What the server does not tell is found out by reading."""

    def test_a_snapshot(self, faults: Plan, new: New, direct: Direct) -> None:
        location = new()
        faults.fault_for = lambda _: fault.without_checksums
        commit(hasty(location))
        assert_whole(hasty(location))
        assert_whole(direct(location))

    def test_a_file_that_is_not_what_was_written(self, faults: Plan, new: New, emulator: Emulator) -> None:
        storage = hasty(new())
        faults.fault_for = lambda _: fault.without_checksums
        written = publish(storage, "a.json", b"hello")
        storage.confirm("a.json", written)
        _, _, bucket, prefix, _ = storage.location.split("/")
        emulator.put(bucket, {f"{prefix}/a.json": b"jello"})
        with pytest.raises(StorageError, match="does not hold"):
            storage.confirm("a.json", written)


def test_what_a_backup_costs(faults: Plan, new: New) -> None:
    """Of requests by price class, as docs/how-to/gcs.md counts them."""
    commit(hasty(new()))
    lists = [r for r in faults.requests if r.method == "GET" and "/o?" in r.path]
    creates = [r for r in faults.requests if r.method == "POST"]
    gets = [r for r in faults.requests if r.method == "GET" and "/o/" in r.path]
    assert (len(lists), len(creates), len(gets)) == (1, 5, 5)
    assert len(faults.requests) == 11


@pytest.mark.parametrize(
    ("code", "expected"),
    [(401, StorageDeniedError), (403, StorageDeniedError), (404, BucketMissingError), (400, StorageError)],
)
def test_what_a_refusal_is_called(faults: Plan, new: New, code: int, expected: type[StorageError]) -> None:
    location = new()
    faults.break_at(1, fault.status(code))
    with pytest.raises(StorageError) as caught:
        list(hasty(location).files())
    assert type(caught.value) is expected
    assert location.split("/")[2] in str(caught.value)
    assert caught.value.hint
    assert len(faults.requests) == 1


def test_a_long_list_takes_few_requests(faults: Plan, emulator: Emulator) -> None:
    bucket = emulator.new_bucket()
    emulator.put(bucket, {f"runs_{i:05}.json": b"" for i in range(2500)})
    assert len(list(hasty(f"gs://{bucket}", wait=5).files())) == 2500
    assert len(faults.requests) == 3


def test_the_list_of_snapshots_takes_no_downloads(faults: Plan, new: New) -> None:
    location = new()
    for _ in range(5):
        commit(hasty(location))
    faults.heal()
    found = listed(hasty(location))
    assert [info.state for info in found] == [SnapshotState.COMPLETE] * 5
    assert found[0].stats["experiments"] == sum(type(r).__name__ == "Experiment" for r in RECORDS)
    assert len(faults.requests) == 1


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("mlmeta does not have storage.objects.list access", "storage.objects.list"),
        ("Object 'x' is subject to bucket's retention policy and cannot be deleted until 2030", "the bucket keeps it"),
        ("The billing account for the owning project is disabled in state absent", "billing"),
        ("Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: x", "organization"),
    ],
)
def test_what_google_forbids(said: str, hint: str) -> None:
    with pytest.raises(StorageDeniedError) as caught, gcs_errors("gs://bucket/"):
        raise Forbidden(said)
    assert hint in caught.value.hint
