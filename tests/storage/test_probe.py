"""Whether a storage can be used is found out by using it, and nothing of that is left or in the way."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mlmeta import backup, copy, list_snapshots, prune, verify
from mlmeta.errors import StorageDeniedError, StorageMissingError, TerminatedError
from mlmeta.snapshot.retention import Rules
from mlmeta.storage import open_storage
from mlmeta.storage.gcs import GcsStorage
from mlmeta.storage.local import LocalStorage
from mlmeta.storage.probe import Finding, Use, examine
from tests.storage.conftest import Ground
from tests.storage.faulty import hasty
from tests.support import fault_proxy as fault
from tests.support.databases import Databases
from tests.support.fault_proxy import Exchange, Fault, Plan

NAME = "mlmeta-doctor-0123456789abcdef.json"
ALL = [Finding(use) for use in Use]


def test_all_is_well_and_nothing_is_left(ground: Ground) -> None:
    ground.put({"notes.txt": b"x"})
    before = ground.names()
    assert examine(ground.open(), time.time()) == ALL
    assert examine(ground.open(), time.time(), writing=False) == [Finding(Use.LIST)]
    assert ground.names() == before


def test_one_that_was_left_is_in_nobodys_way_and_goes(ground: Ground, databases: Databases, tmp_path: Path) -> None:
    """Neither a list, nor a check of all, nor retention, nor a copy takes it for something of a snapshot's."""
    saved = backup(databases.uri("filled"), [ground.location])
    ground.put({NAME: b"{}"})
    other = str(tmp_path / "other")
    assert [one.timestamp for one in list_snapshots(ground.location).snapshots] == [saved.timestamp]
    assert list_snapshots(ground.location).warnings == ()
    assert not verify(storage=ground.location, every=True).issues
    assert prune(ground.location, Rules(last=1)).leftovers == ()
    copy(saved.timestamp, source=ground.location, target=other)
    assert not (Path(other) / NAME).exists()
    assert NAME in ground.names()
    assert examine(ground.open(), time.time()) == ALL, "another one may be under way"
    assert NAME in ground.names()
    assert examine(ground.open(), time.time() + 700) == ALL
    assert NAME not in ground.names()


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    (found,) = examine(open_storage(str(tmp_path / "new")), time.time())
    assert isinstance(found.error, StorageMissingError)
    assert not (tmp_path / "new").exists()


class Terminated(LocalStorage):
    """One in which a signal arrives as soon as something is to be read."""

    def open(self, *_: object) -> None:  # type: ignore[override]
        raise TerminatedError


def test_a_signal_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TerminatedError):
        examine(Terminated(tmp_path), time.time())
    assert list(tmp_path.iterdir()) == []


class Overwriting(LocalStorage):
    """One that takes whatever comes."""

    def stage(self, *, private: bool = False) -> object:  # type: ignore[override]
        staged = super().stage(private=private)
        staged._link = staged._path.replace  # type: ignore[method-assign,assignment]
        return staged


def test_one_that_overwrites_is_found_out(tmp_path: Path) -> None:
    found = {one.use: str(one.error or "") for one in examine(Overwriting(tmp_path), time.time())}
    assert "lets a file be overwritten" in found[Use.CREATE_ONLY]
    assert "does not hold what was written" in found[Use.READ]
    assert not found[Use.WRITE] + found[Use.DELETE]
    assert list(tmp_path.iterdir()) == []


def unconditional(exchange: Exchange) -> None:
    """The server is not told to create only."""
    path = re.sub(r"ifGenerationMatch=0&?", "", exchange.request.path)
    exchange.request = replace(exchange.request, path=path)
    fault.none(exchange)


def test_a_bucket_that_overwrites_is_found_out(faults: Plan, gcs_ground: Ground) -> None:
    faults.fault_for = lambda request: unconditional if request.method == "POST" else fault.none
    found = {one.use: one.error for one in examine(hasty_at(faults, gcs_ground), time.time())}
    assert "lets a file be overwritten" in str(found[Use.CREATE_ONLY])
    assert gcs_ground.names() == set()


def hasty_at(faults: Plan, ground: Ground) -> GcsStorage:
    """A storage behind the proxy: the emulator's fixture has set its own address since."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", faults.uri)
        storage = hasty(ground.location)
        assert storage.bucket.name  # makes the client
    return storage


def _denied(method: str) -> Fault:
    return lambda exchange: (fault.status(403) if exchange.request.method == method else fault.none)(exchange)


def test_without_the_permission_to_delete_one_a_day_is_left(faults: Plan, gcs_ground: Ground) -> None:
    """Backups need no such permission, so it is no failure; and who asks every minute does not fill the bucket."""
    faults.fault_for = lambda _: _denied("DELETE")
    now = time.time()
    storage = hasty_at(faults, gcs_ground)
    first = examine(storage, now)
    (left,) = gcs_ground.names()
    assert [one.use for one in first if one.error] == [Use.DELETE]
    assert isinstance(first[-1].error, StorageDeniedError)
    assert first[-1].probe == left
    for later in (now + 700, now + 80_000):
        again = examine(storage, later)
        assert [(one.use, one.probe) for one in again if one.error or one.probe] == [
            (Use.WRITE, left),
            (Use.DELETE, left),
        ]
        assert gcs_ground.names() == {left}
    examine(storage, now + 90_000)
    assert len(gcs_ground.names()) == 2, "the next day"
    faults.fault_for = lambda request: fault.none if left in request.path else _denied("DELETE")
    kept = examine(storage, now + 800)[-1].probe
    assert gcs_ground.names() == {kept}, "the old one goes as soon as its retention is over"
    assert kept != left
    faults.heal()
    assert examine(storage, now + 90_000) == ALL
    assert gcs_ground.names() == set()


@pytest.mark.parametrize(("method", "uses"), [("GET", [Use.LIST]), ("POST", [Use.LIST, Use.WRITE])])
def test_what_is_refused_ends_it(faults: Plan, gcs_ground: Ground, method: str, uses: list[Use]) -> None:
    faults.fault_for = lambda _: _denied(method)
    found = examine(hasty_at(faults, gcs_ground), time.time())
    assert [one.use for one in found] == uses
    assert isinstance(found[-1].error, StorageDeniedError)
    assert gcs_ground.names() == set()


def test_whatever_breaks_on_the_way(faults: Plan, gcs_ground: Ground) -> None:
    """The client gets over it, and nothing is left where a reply is lost."""
    storage = hasty_at(faults, gcs_ground)
    examine(storage, time.time())
    for number in range(1, len(faults.requests) + 1):
        faults.break_at(number, fault.drop_after)
        assert examine(storage, time.time()) == ALL
        assert gcs_ground.names() == set()
