"""Two files of one kind and timestamp: somebody ran `gzip -k` in the folder, or put files there in the older layout."""

from __future__ import annotations

import pytest

from mlmeta import prune, verify
from mlmeta.errors import ExitCode
from mlmeta.snapshot.catalog import SnapshotState
from mlmeta.snapshot.retention import Rules
from tests.builders.snapshots import STAMP, commit
from tests.storage.conftest import Ground
from tests.support.stored import assert_whole, listed, names, read


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("kind", ["experiments", "models"])
def test_they_harm_nothing_and_are_named(ground: Ground, compress: bool, kind: str) -> None:
    commit(ground.open(), compress=compress)
    double = f"{kind}_{STAMP}.json{'' if compress else '.gz'}"
    ground.put({double: b"?", f"{STAMP}/runs_{STAMP}.json": b"?"})
    assert [info.state for info in listed(ground.open())] == [SnapshotState.COMPLETE]
    assert_whole(ground.open())
    messages = [issue.message for issue in verify(storage=ground.location).issues]
    assert messages == [
        f"{name} is not named in the snapshot's summary" for name in (f"{STAMP}/runs_{STAMP}.json", double)
    ]


def test_they_go_with_their_snapshot(ground: Ground) -> None:
    for _ in range(2):
        commit(ground.open())
    ground.put({f"runs_{STAMP}.json.gz": b"?", f"{STAMP}/runs_{STAMP}.json": b"?"})
    prune(ground.location, Rules(last=1))
    assert {name for name in ground.names() if STAMP in name} == set()
    assert_whole(ground.open(), "20250815_232929")


def test_files_that_were_moved_into_a_folder_are_no_snapshot(ground: Ground) -> None:
    commit(ground.open())
    moved = {name: read(ground.open(), name) for name in names(ground.open())}
    for name in moved:
        ground.open().remove(name)
    ground.put({f"{STAMP}/{name}": content for name, content in moved.items()})
    (info,) = listed(ground.open())
    assert info.state is SnapshotState.DAMAGED
    assert verify([STAMP], ground.location).exit_code == ExitCode.DIFFERENT
