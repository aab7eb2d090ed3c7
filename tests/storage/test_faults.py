"""A network that breaks at every request of a backup and of a read: a whole snapshot, or a clear error and none.

Proxies break the connection between the real client and a real emulator. What is checked is read without them.
"""

from __future__ import annotations

import random
import time

import pytest

from mlmeta.errors import (
    ObjectExistsError,
    StorageDeniedError,
    StorageError,
)
from mlmeta.snapshot.catalog import SnapshotState
from tests.builders.snapshots import STAMP, commit
from tests.storage.faulty import PASSING, Direct, New, every, failure, hasty
from tests.support import fault_proxy as fault
from tests.support.fault_proxy import RETRIED, Fault, Plan
from tests.support.stored import assert_whole, digest, listed, publish, read, staged

FILES = {f"{kind}_{STAMP}.json" for kind in ("experiments", "runs", "metrics", "models", "backup_summary")}
BIG = random.Random(1).randbytes((8 << 20) + 5)
"""Just too big for one request."""
SESSION = random.Random(2).randbytes(100_000)
"""Too big for one request, where `sessions` makes it so."""


class TestBackup:
    @pytest.mark.parametrize("name", PASSING)
    def test_what_passes_costs_nothing(self, faults: Plan, new: New, direct: Direct, name: str) -> None:
        for number in every(faults, lambda: commit(hasty(new()))):
            location = new()
            faults.break_at(number, PASSING[name])
            done = commit(hasty(location))
            assert done.summary.backup_timestamp == STAMP
            assert {file.name for file in direct(location).files()} == FILES, f"request {number}"
            assert_whole(direct(location))

    @pytest.mark.parametrize("code", RETRIED)
    def test_a_busy_server_is_asked_again(self, faults: Plan, new: New, direct: Direct, code: int) -> None:
        for number in every(faults, lambda: commit(hasty(new()))):
            location = new()
            faults.break_at(number, fault.status(code), times=2)
            commit(hasty(location))
            assert {file.name for file in direct(location).files()} == FILES, f"request {number}"
            assert_whole(direct(location))

    @pytest.mark.parametrize("code", [400, 401, 403, 404, 412])
    def test_a_refusal_is_not_asked_again(self, faults: Plan, new: New, direct: Direct, code: int) -> None:
        for number in every(faults, lambda: commit(hasty(new()))):
            location = new()
            faults.break_at(number, fault.status(code))
            error = failure(lambda location=location: commit(hasty(location)))
            if error is None:
                assert_whole(direct(location))
            else:
                assert isinstance(error, StorageError)
                assert location in str(error) or "no bucket" in str(error)
                assert error.hint
                assert list(direct(location).files()) == [], f"request {number}"
            method_and_path = [(r.method, r.path, r.body) for r in faults.requests[number - 1 : number + 1]]
            assert len(set(method_and_path)) == len(method_and_path), f"request {number} was sent again"

    @pytest.mark.parametrize(
        "breaks", [fault.drop_before, fault.drop_after, fault.status(503)], ids=["before", "after", "503"]
    )
    def test_a_server_that_dies(self, faults: Plan, new: New, direct: Direct, breaks: Fault) -> None:
        numbers = every(faults, lambda: commit(hasty(new())))
        for number in numbers:
            location = new()
            faults.break_at(number, breaks, then=fault.drop_before)
            with pytest.raises(StorageError, match="can't be reached"):
                commit(hasty(location, patience=0.1))
            states = [info.state for info in listed(direct(location))]
            if number == numbers[-1] and breaks is fault.drop_after:  # nobody can know that the summary arrived
                assert states == [SnapshotState.COMPLETE]
                assert_whole(direct(location))
            else:
                assert SnapshotState.COMPLETE not in states, f"request {number}"

    def test_a_server_that_never_answers_ends_in_time(self, faults: Plan, new: New, direct: Direct) -> None:
        for number in every(faults, lambda: commit(hasty(new()))):
            location = new()
            faults.break_at(number, fault.silence, then=fault.silence)
            begin = time.monotonic()
            with pytest.raises(StorageError, match="can't be reached"):
                commit(hasty(location, patience=0.2, wait=0.1))
            assert time.monotonic() - begin < 3, f"request {number}"
            assert SnapshotState.COMPLETE not in [info.state for info in listed(direct(location))]

    def test_altered_on_the_way_up(self, faults: Plan, new: New, direct: Direct) -> None:
        numbers = every(faults, lambda: commit(hasty(new())))
        uploads = [number for number in numbers if faults.requests[number - 1].method == "POST"]
        assert len(uploads) == len(FILES)
        for number in uploads:
            location = new()
            faults.break_at(number, fault.flipped_request)
            with pytest.raises(StorageError, match="CRC32C differs"):
                commit(hasty(location))
            assert list(direct(location).files()) == []

    def test_somebody_elses_files_are_not_taken_back(self, faults: Plan, new: New, direct: Direct) -> None:
        """The name is taken, and whether by us can't be found out, nor can anything be removed but blindly."""
        location = new()
        name = f"experiments_{STAMP}.json"

        def meanwhile(exchange: fault.Exchange) -> None:
            publish(direct(location), name, b"theirs")
            fault.none(exchange)

        def breaks(request: fault.Request) -> Fault:
            if request.method == "POST":
                return meanwhile
            return fault.status(503) if name in request.path and "download" not in request.path else fault.none

        faults.fault_for = breaks
        with pytest.raises(StorageError, match="can't be reached"):
            commit(hasty(location, patience=0.2))
        assert read(direct(location), name) == b"theirs"


class TestWithoutThePermissionToDelete:
    """To overwrite takes that permission: what exists may be called forbidden, before the precondition is looked at."""

    def test_a_lost_reply(self, faults: Plan, new: New, direct: Direct) -> None:
        location = new()
        faults.break_at(1, fault.drop_after, then=forbidden_upload)
        publish(hasty(location), "a.json", b"ours")
        assert len(faults.requests) == 3
        assert read(direct(location), "a.json") == b"ours"

    def test_a_taken_name(self, faults: Plan, new: New, direct: Direct) -> None:
        location = new()
        publish(direct(location), "a.json", b"theirs")
        faults.break_at(1, forbidden_upload, then=forbidden_upload)
        with pytest.raises(ObjectExistsError):
            publish(hasty(location), "a.json", b"ours")

    def test_no_permission_to_create(self, faults: Plan, new: New) -> None:
        faults.break_at(1, forbidden_upload, then=forbidden_upload)
        with pytest.raises(StorageDeniedError, match="no permission"):
            publish(hasty(new()), "a.json", b"ours")


def forbidden_upload(exchange: fault.Exchange) -> None:
    """Only reading is allowed."""
    (fault.none if exchange.request.method == "GET" else fault.status(403))(exchange)


class TestLargeFile:
    """More than 8 MiB: a resumable upload, of several requests."""

    @pytest.fixture
    def sessions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Resumable uploads for small files: the emulator does not read 8 MiB that it is going to refuse."""
        monkeypatch.setattr("google.cloud.storage.blob._MAX_MULTIPART_SIZE", 1000)

    @pytest.mark.usefixtures("sessions")
    @pytest.mark.parametrize("name", PASSING)
    def test_what_passes_costs_nothing(self, faults: Plan, new: New, direct: Direct, name: str) -> None:
        for number in (1, 2):
            location = new()
            faults.break_at(number, PASSING[name])
            publish(hasty(location), "a.json", SESSION)
            assert read(direct(location), "a.json") == SESSION, f"request {number}"

    @pytest.mark.usefixtures("sessions")
    @pytest.mark.parametrize("code", RETRIED)
    def test_a_busy_server_is_asked_again(self, faults: Plan, new: New, direct: Direct, code: int) -> None:
        for number in (1, 2):
            location = new()
            faults.break_at(number, fault.status(code), times=2)
            publish(hasty(location), "a.json", SESSION)
            assert read(direct(location), "a.json") == SESSION, f"request {number}"

    @pytest.mark.usefixtures("sessions")
    def test_altered_on_the_way_up(self, faults: Plan, new: New, direct: Direct) -> None:
        storage = hasty(new())
        file = staged(storage, SESSION)
        faults.break_at(2, fault.flipped_request)
        with pytest.raises(StorageError, match="CRC32C differs"):
            file.publish("a.json", digest(SESSION))
        file.withdraw("a.json")
        file.discard()
        assert list(direct(storage.location).files()) == []

    @pytest.mark.usefixtures("sessions")
    def test_a_session_that_is_over(self, faults: Plan, new: New, direct: Direct) -> None:
        location = new()
        faults.break_at(2, fault.status(404))
        with pytest.raises(StorageError) as caught:
            publish(hasty(location), "a.json", SESSION)
        assert caught.value.hint
        assert list(direct(location).files()) == []

    def test_cut_and_altered_where_it_goes_on(self, faults: Plan, new: New, direct: Direct) -> None:
        location = new()
        publish(direct(location), "a.json", BIG)
        faults.break_at(1, fault.cut, then=fault.flipped_reply)
        with pytest.raises(StorageError, match="CRC32C differs"):
            hasty(location).open("a.json")
        assert "range" in faults.requests[1].headers

    def test_cut_again_and_again(self, faults: Plan, new: New, direct: Direct) -> None:
        location = new()
        publish(direct(location), "a.json", BIG)
        faults.break_at(1, fault.cut, times=5)
        assert read(hasty(location), "a.json") == BIG
        assert len(faults.requests) == 6


class TestConditions:
    """What the emulator does not enforce, the real service does: so the requests themselves are looked at."""

    def test_creates_never_overwrite(self, faults: Plan, new: New) -> None:
        commit(hasty(new()))
        publish(hasty(new()), "big.json", BIG)
        creates = [r for r in faults.requests if r.method == "POST" and "/upload/" in r.path]
        assert len(creates) > 5
        assert all("ifGenerationMatch=0" in r.path for r in creates)

    @pytest.mark.parametrize("told", [True, False])
    def test_only_what_we_made_is_taken_back(self, faults: Plan, new: New, direct: Direct, told: bool) -> None:
        """Also where the reply that told the generation was lost: then it is looked up."""
        location = new()
        file = staged(hasty(location, patience=0.3), b"x")
        if not told:
            faults.break_at(1, fault.drop_after, times=1000)
        assert (failure(lambda: file.publish("a.json", digest(b"x"))) is None) == told
        faults.heal()
        (blob,) = direct(location).bucket.list_blobs()
        file.withdraw("a.json")
        (delete,) = [r for r in faults.requests if r.method == "DELETE"]
        assert f"ifGenerationMatch={blob.generation}" in delete.path
