"""A network that breaks at every request of a backup and of a read: a whole snapshot, or a clear error and none.

Proxies break the connection between the real client and a real emulator. What is checked is read without them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from mlmeta.errors import (
    MlmetaError,
    StorageDeniedError,
    StorageError,
    StorageMissingError,
)
from mlmeta.snapshot.catalog import State
from mlmeta.snapshot.reader import open_snapshot
from mlmeta.snapshot.verify import Problem, verify_snapshot
from mlmeta.storage.gcs import GcsStorage
from tests.support import fault_proxy as fault
from tests.support.fault_proxy import RETRIED, Fault, Plan
from tests.support.gcs import Emulator
from tests.support.stored import (
    RECORDS,
    STAMP,
    assert_whole,
    digest,
    listed,
    publish,
    read,
    staged,
    write_snapshot,
)

FILES = {f"{kind}_{STAMP}.json" for kind in ("experiments", "runs", "metrics", "models", "backup_summary")}
PASSING = {
    "drop before": fault.drop_before,
    "drop after": fault.drop_after,
    "503 after": fault.unavailable_after,
    "cut": fault.cut,
    "silence": fault.silence,
}
BIG = random.Random(1).randbytes((8 << 20) + 5)
"""Just too big for one request."""
SESSION = random.Random(2).randbytes(100_000)
"""Too big for one request, where `sessions` makes it so."""


def hasty(location: str, patience: float = 3, wait: float = 0.4) -> GcsStorage:
    """A storage that tries again as often as others, only faster."""
    storage = GcsStorage(location, patience=patience, timeout=(1, wait))
    storage.calls["retry"] = storage.calls["retry"].with_delay(initial=0.01, maximum=0.05)
    return storage


@pytest.fixture
def direct(emulator: Emulator, faults: Plan) -> Callable[[str], GcsStorage]:
    """Opens a storage that no fault can reach."""

    def opened(location: str) -> GcsStorage:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STORAGE_EMULATOR_HOST", emulator.uri)
            storage = GcsStorage(location)
            assert storage.bucket.name  # makes the client
        return storage

    return opened


@pytest.fixture
def new(emulator: Emulator) -> Callable[[], str]:
    """The location of a new, empty storage."""
    return lambda: f"gs://{emulator.new_bucket()}/p/"


Direct = Callable[[str], GcsStorage]
New = Callable[[], str]


def every(faults: Plan, act: Callable[[], object]) -> list[int]:
    """The numbers of all requests that an action takes when nothing breaks."""
    faults.heal()
    act()
    assert len(faults.requests) > 3
    return list(range(1, len(faults.requests) + 1))


def failure(act: Callable[[], object]) -> MlmetaError | None:
    """How an action fails, if it does."""
    try:
        act()
    except MlmetaError as error:
        return error
    return None


class TestBackup:
    @pytest.mark.parametrize("name", PASSING)
    def test_what_passes_costs_nothing(self, faults: Plan, new: New, direct: Direct, name: str) -> None:
        for number in every(faults, lambda: write_snapshot(hasty(new()))):
            location = new()
            faults.break_at(number, PASSING[name])
            done = write_snapshot(hasty(location))
            assert done.summary.backup_timestamp == STAMP
            assert {file.name for file in direct(location).files()} == FILES, f"request {number}"
            assert_whole(direct(location))

    @pytest.mark.parametrize("code", RETRIED)
    def test_a_busy_server_is_asked_again(self, faults: Plan, new: New, direct: Direct, code: int) -> None:
        for number in every(faults, lambda: write_snapshot(hasty(new()))):
            location = new()
            faults.break_at(number, fault.status(code), times=2)
            write_snapshot(hasty(location))
            assert {file.name for file in direct(location).files()} == FILES, f"request {number}"
            assert_whole(direct(location))

    @pytest.mark.parametrize("code", [400, 401, 403, 404, 412])
    def test_a_refusal_is_not_asked_again(self, faults: Plan, new: New, direct: Direct, code: int) -> None:
        for number in every(faults, lambda: write_snapshot(hasty(new()))):
            location = new()
            faults.break_at(number, fault.status(code))
            error = failure(lambda location=location: write_snapshot(hasty(location)))
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
        numbers = every(faults, lambda: write_snapshot(hasty(new())))
        for number in numbers:
            location = new()
            faults.break_at(number, breaks, then=fault.drop_before)
            with pytest.raises(StorageError, match="can't be reached"):
                write_snapshot(hasty(location, patience=0.1))
            states = [info.state for info in listed(direct(location))]
            if number == numbers[-1] and breaks is fault.drop_after:  # nobody can know that the summary arrived
                assert states == [State.COMPLETE]
                assert_whole(direct(location))
            else:
                assert State.COMPLETE not in states, f"request {number}"

    def test_a_server_that_never_answers_ends_in_time(self, faults: Plan, new: New, direct: Direct) -> None:
        for number in every(faults, lambda: write_snapshot(hasty(new()))):
            location = new()
            faults.break_at(number, fault.silence, then=fault.silence)
            begin = time.monotonic()
            with pytest.raises(StorageError, match="can't be reached"):
                write_snapshot(hasty(location, patience=0.2, wait=0.1))
            assert time.monotonic() - begin < 3, f"request {number}"
            assert State.COMPLETE not in [info.state for info in listed(direct(location))]

    def test_altered_on_the_way_up(self, faults: Plan, new: New, direct: Direct) -> None:
        numbers = every(faults, lambda: write_snapshot(hasty(new())))
        uploads = [number for number in numbers if faults.requests[number - 1].method == "POST"]
        assert len(uploads) == len(FILES)
        for number in uploads:
            location = new()
            faults.break_at(number, fault.flipped_request)
            with pytest.raises(StorageError, match="CRC32C differs"):
                write_snapshot(hasty(location))
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
            write_snapshot(hasty(location, patience=0.2))
        assert read(direct(location), name) == b"theirs"


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


class TestReading:
    @pytest.fixture
    def location(self, new: New, direct: Direct) -> str:
        """A storage with a snapshot."""
        location = new()
        write_snapshot(direct(location))
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


@pytest.mark.parametrize(
    ("code", "expected"),
    [(401, StorageDeniedError), (403, StorageDeniedError), (404, StorageMissingError), (400, StorageError)],
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
        write_snapshot(hasty(location))
    faults.heal()
    found = listed(hasty(location))
    assert [info.state for info in found] == [State.COMPLETE] * 5
    assert found[0].stats["experiments"] == sum(type(r).__name__ == "Experiment" for r in RECORDS)
    assert len(faults.requests) == 1
