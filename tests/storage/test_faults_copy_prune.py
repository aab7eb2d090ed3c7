"""A network that breaks at every request while snapshots are copied or removed: whole, or not there."""

from __future__ import annotations

import pytest

from mlmeta.errors import StorageError
from mlmeta.snapshot import copying
from mlmeta.snapshot.catalog import SnapshotState, file_sets
from mlmeta.snapshot.reader import open_snapshot
from mlmeta.snapshot.retention import remove
from mlmeta.storage import LocalStorage, Storage
from tests.builders.snapshots import commit
from tests.storage.conftest import Ground
from tests.storage.faulty import PASSING, Direct, New, every, hasty
from tests.support import fault_proxy as fault
from tests.support.fault_proxy import Fault, Plan
from tests.support.stored import assert_whole, listed, names

DYING = {"drops": fault.drop_before, "drops after": fault.drop_after, "denies": fault.status(403)}


def copy(origin: Storage, target: Storage) -> int:
    """Copy the newest snapshot."""
    return copying.copy(open_snapshot(origin), file_sets(origin)[0], target)


def drop(storage: Storage) -> None:
    """Remove the newest snapshot."""
    remove(storage, file_sets(storage)[0])


@pytest.fixture
def origin(local_ground: Ground) -> Storage:
    """A folder with a snapshot."""
    commit(local_ground.open())
    return local_ground.open()


class TestCopy:
    @pytest.mark.parametrize("name", PASSING)
    def test_what_passes_costs_nothing(
        self, faults: Plan, new: New, direct: Direct, origin: Storage, name: str
    ) -> None:
        for number in every(faults, lambda: copy(origin, hasty(new()))):
            location = new()
            faults.break_at(number, PASSING[name])
            copy(origin, hasty(location))
            assert_whole(direct(location))
            assert names(direct(location)) == names(origin), f"request {number}"

    @pytest.mark.parametrize("name", DYING)
    def test_a_target_that_dies_and_comes_back(
        self, faults: Plan, new: New, direct: Direct, origin: Storage, name: str
    ) -> None:
        breaks: Fault = DYING[name]
        for number in every(faults, lambda: copy(origin, hasty(new()))):
            location = new()
            faults.break_at(number, breaks, then=fault.drop_before)
            with pytest.raises(StorageError) as caught:
                copy(origin, hasty(location, patience=0.1))
            assert caught.value.hint
            if SnapshotState.COMPLETE in [
                info.state for info in listed(direct(location))
            ]:  # it died after the last file
                assert_whole(direct(location))
            faults.heal()
            copy(origin, hasty(location))
            assert_whole(direct(location))
            assert names(direct(location)) == names(origin), f"request {number}"

    def test_a_source_that_breaks(
        self, faults: Plan, new: New, direct: Direct, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        location = new()
        commit(direct(location))
        folder = tmp_path_factory.mktemp("copies")
        for number in every(faults, lambda: copy(hasty(location), LocalStorage(folder / "0"))):
            for name, breaks in {**PASSING, "flipped": fault.flipped_reply}.items():
                target = LocalStorage(folder / f"{number} {name}")
                faults.break_at(number, breaks)
                try:
                    copy(hasty(location), target)
                except StorageError:
                    assert name == "flipped"
                    assert not target.folder.exists() or SnapshotState.COMPLETE not in [i.state for i in listed(target)]
                else:
                    assert_whole(target)


class TestRemoving:
    @pytest.mark.parametrize("name", PASSING)
    def test_what_passes_costs_nothing(self, faults: Plan, new: New, direct: Direct, name: str) -> None:
        numbers = [1, 2, 3, 4, 5, 6]  # the list, and five files
        for number in numbers:
            location = new()
            commit(direct(location))
            faults.break_at(number, PASSING[name])
            drop(hasty(location))
            assert names(direct(location)) == [], f"request {number}"
            assert len(faults.requests) >= len(numbers)

    @pytest.mark.parametrize("name", DYING)
    def test_half_removed_is_no_snapshot(self, faults: Plan, new: New, direct: Direct, name: str) -> None:
        breaks: Fault = DYING[name]
        for number in range(2, 7):
            location = new()
            commit(direct(location))
            faults.break_at(number, breaks, then=fault.drop_before)
            with pytest.raises(StorageError):
                drop(hasty(location, patience=0.1))
            states = [info.state for info in listed(direct(location))]
            untouched = number == 2 and name != "drops after"
            gone = number == 6 and name == "drops after"
            assert states == ([SnapshotState.COMPLETE] if untouched else [] if gone else [SnapshotState.INCOMPLETE])
            faults.heal()
            if not gone:
                drop(hasty(location))
            assert names(direct(location)) == []
