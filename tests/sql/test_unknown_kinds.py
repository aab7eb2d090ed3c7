"""A snapshot of a newer mlmeta, with a kind of record that this one does not know: named by whoever reads it."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path

import pytest

import mlmeta
from mlmeta.commands.show import overview
from mlmeta.errors import ExitCode
from mlmeta.schema import KINDS, Kind, Record, kinds
from mlmeta.storage import LocalStorage
from tests.builders.snapshots import RECORDS, commit

WHY = "mlmeta 9.0 saved them, and this version does not know them: use 9.0 or a newer one"


class Gadget(Record):
    gadget_id: str


@pytest.fixture
def backups(tmp_path: Path) -> str:
    known = attrgetter("gadget_id")
    kind = Kind("new_gadgets", Gadget, one="gadget", many="gadgets", key=known, order=known, always=False)
    with pytest.MonkeyPatch.context() as newer:
        newer.setitem(KINDS, kind.name, kind)
        newer.setitem(kinds._BY_RECORD, Gadget, kind)
        records = (*RECORDS, Gadget(gadget_id="g1"), Gadget(gadget_id="g2"))
        commit(LocalStorage(tmp_path / "backups"), records, mlmeta_version="9.0")
    return str(tmp_path / "backups")


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_restore_names_them_and_is_incomplete(backups: str, tmp_path: Path, dry_run: bool) -> None:
    done = mlmeta.restore(f"sqlite:///{tmp_path / 'new.db'}", storage=backups, dry_run=dry_run)
    assert [(issue.code, issue.message) for issue in done.issues] == [("unknown_kind", f"new gadgets *: {WHY}")]
    assert done.exit_code is ExitCode.INCOMPLETE
    assert done.created == ({} if dry_run else {"experiments": 1, "runs": 1, "models": 1, "model versions": 1})


def test_they_are_verified_as_a_file(backups: str) -> None:
    done = mlmeta.verify(storage=backups)
    assert done.exit_code is ExitCode.DONE
    assert done.warnings == (f"20250815_232928: new gadgets: only their file was checked: {WHY}",)
    file = next(Path(backups).glob("new_gadgets_*"))
    file.write_bytes(file.read_bytes().replace(b"g1", b"g3"))
    assert mlmeta.verify(storage=backups).exit_code is ExitCode.DIFFERENT


def test_show_and_diff_name_them(backups: str) -> None:
    assert overview("latest", backups).warnings == (f"new gadgets: {WHY}",)
    done = mlmeta.diff("latest", "latest", backups)
    assert done.warnings == (f"20250815_232928: new gadgets are not compared: {WHY}",)
    assert done.exit_code is ExitCode.DONE
