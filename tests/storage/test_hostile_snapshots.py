"""Snapshots that somebody prepared, under right checksums: nothing outside is touched, memory is bounded, each is named
as damaged by every command that reads it, and the others stay usable.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlmeta import verify
from mlmeta.snapshot.reader import open_snapshot
from mlmeta.storage import open_storage
from tests.support import attacked, hostile
from tests.support.attacked import COMMANDS, Found
from tests.support.databases import Databases
from tests.support.examples import some
from tests.support.hostile import BAD, BOMBS, CONTENT, ODD, SECRET, SUMMARIES, Change, Snapshot

SECONDS = 40
"""For one command on one snapshot, beside other tests; alone it is a tenth of that."""

ON_ONE_WORKER = pytest.mark.xdist_group("hostile snapshots")
"""Where the commands are run once for all of them."""

Attack = Callable[[dict[str, Change]], dict[str, tuple[Snapshot, Found]]]


@pytest.fixture(scope="module")
def attack(snapshot_folder: Path, databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Attack:
    """Has all commands read each of some snapshots, once."""
    done: dict[tuple[str, ...], dict[str, tuple[Snapshot, Found]]] = {}

    def of(changes: dict[str, Change]) -> dict[str, tuple[Snapshot, Found]]:
        if (names := tuple(changes)) not in done:
            made = {
                name: hostile.build(snapshot_folder, tmp_path_factory.mktemp("ground"), change)
                for name, change in changes.items()
            }
            found = attacked.run([one.folder.parent for one in made.values()], databases.uri("filled"))
            done[names] = dict(zip(made, zip(made.values(), found, strict=True), strict=True))
        return done[names]

    return of


def untouched(snapshot: Snapshot, found: Found) -> None:
    """Nothing crashed, or took its time, or left the storage."""
    assert found, "the process ended before its end"
    assert {name: found[name]["crash"] for name in COMMANDS if "crash" in found[name]} == {}
    assert {name for name in COMMANDS if found[f"{name} seconds"] > SECONDS} == set()
    assert found["touched"] == []
    assert snapshot.secret.read_bytes() == SECRET
    assert not (snapshot.folder.parent / "restored.db").exists()


def the_others_are_usable(found: Found) -> None:
    assert found["list"]["good"] == "complete"
    assert [found[name]["good"] for name in ("verify", "missing", "backup")] == [0, 0, 0]
    assert found["backup"]["exit"] == 0


def codes(found: Found, *names: str) -> dict[str, int]:
    return {name: found[name]["exit"] for name in names}


@ON_ONE_WORKER
@pytest.mark.parametrize("name", SUMMARIES)
def test_a_summary_that_is_not_to_be_believed(attack: Attack, name: str) -> None:
    snapshot, found = attack(SUMMARIES)[name]
    untouched(snapshot, found)
    the_others_are_usable(found)
    assert found["list"]["state"] == "damaged"
    assert f"backup_summary_{BAD}.json" in found["list"]["problem"]
    reading = ("show", "models", "verify", "quick", "restore", "browse", "copy", "diff", "page")
    assert codes(found, *reading, "missing", "prune") == {**dict.fromkeys(reading, 4), "missing": 3, "prune": 0}
    assert BAD in found["missing"]["message"]
    assert found["backup"]["base"] == hostile.GOOD
    assert hostile.tree(snapshot.folder.parent / "pruned").items() <= hostile.tree(snapshot.folder).items()
    assert list((snapshot.folder.parent / "missing").glob(f"*{BAD}*")) == []
    assert not (snapshot.folder.parent / "copy").exists()


@ON_ONE_WORKER
@pytest.mark.parametrize("name", ODD)
def test_a_file_that_is_none(attack: Attack, name: str) -> None:
    snapshot, found = attack(ODD)[name]
    untouched(snapshot, found)
    the_others_are_usable(found)
    assert (found["list"]["state"], f"runs_{BAD}.json" in found["list"]["problem"]) == ("damaged", True)
    reading = ("show", "verify", "quick", "restore", "browse", "copy", "diff", "page")
    assert codes(found, *reading, "missing", "prune") == {**dict.fromkeys(reading, 4), "missing": 3, "prune": 0}
    assert found["backup"]["base"] == hostile.GOOD
    assert list((snapshot.folder.parent / "copy").glob("backup_summary_*")) == []


@ON_ONE_WORKER
@pytest.mark.parametrize("name", CONTENT)
def test_records_that_are_none(attack: Attack, name: str) -> None:
    snapshot, found = attack(CONTENT)[name]
    untouched(snapshot, found)
    the_others_are_usable(found)
    assert codes(found, "verify", "restore", "prune") == {"verify": 4, "restore": 4, "prune": 0}
    assert found["verify"]["message"].count(" is damaged: ") <= 1, "only what is wrong is named"


@pytest.mark.slow
@pytest.mark.parametrize("name", some(BOMBS, 7))
def test_bombs(attack: Attack, name: str) -> None:
    snapshot, found = attack({name: BOMBS[name]})[name]
    untouched(snapshot, found)
    the_others_are_usable(found)
    assert codes(found, "verify", "restore", "prune") == {"verify": 4, "restore": 4, "prune": 0}


def test_a_link_beside_a_sound_snapshot(snapshot_folder: Path, tmp_path: Path) -> None:
    """What the summary names is sound: the link is named, and not followed."""
    snapshot = hostile.build(snapshot_folder, tmp_path, hostile.link_beside_a_file)
    (problem,) = verify([BAD], str(snapshot.folder)).issues
    assert problem.message == f"runs_{BAD}.json.gz is not named in the snapshot's summary"
    assert open_snapshot(open_storage(str(snapshot.folder)), BAD).timestamp == BAD
