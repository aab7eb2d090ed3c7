"""A restore that was stopped anywhere goes on from there, without doubles."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlmeta import restore
from mlmeta.errors import MlmetaError
from mlmeta.schema import LatestMetric, Record
from tests.builders import snapshots as made
from tests.support.cli import Cli, Running
from tests.support.databases import Databases, change, load
from tests.support.examples import some
from tests.support.plain import plain
from tests.support.proxy import LOST, Fault, Request, proxy
from tests.support.restoring import unfinish
from tests.support.server import Server


def _small() -> Iterator[Record]:
    """A little of everything that takes several writes: nested, deleted, with gaps, stages, aliases."""
    yield made.experiment("1", "one", tags={"team": "blue"})
    yield made.experiment("2", "two", lifecycle_stage="deleted")
    metrics = {"loss": LatestMetric(value=0.5, step=1, timestamp=2)}
    yield made.run("a" * 32, metrics=metrics, params={"lr": "1"})
    tags = {"mlflow.runName": "run-b", "mlflow.user": "ada", "mlflow.parentRunId": "a" * 32}
    yield made.run("b" * 32, tags=tags, lifecycle_stage="deleted")
    yield made.run("c" * 32, "2", status="FAILED")
    versions = (made.version(2, run_id="a" * 32, current_stage="Production"), made.version(4, description="last"))
    yield made.model(*versions, aliases={"champion": 4}, tags={"owner": "ada"})


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    made.write(folder, _small())
    return folder


@pytest.fixture(scope="module")
def whole(_running: Server, databases: Databases, small: Path) -> tuple[int, object]:
    """How many writes a restore of it takes, and what is there afterwards."""
    load(databases.path("empty"), _running.database)
    with proxy(_running.uri) as counting:
        assert restore(counting.uri, "latest", str(small), jobs=1).exit_code == 0
        return len(counting.writes), plain(_running.backend)


@pytest.mark.parametrize("loses_replies", [False, True], ids=["before the write", "after the write"])
def test_stopped_at_every_write(
    server: Server, databases: Databases, small: Path, whole: tuple[int, object], loses_replies: bool
) -> None:
    """The server is gone from the n-th write on.

    That one arrived, without its reply; or, which is the state after the write before it, did not arrive.
    """
    writes, wanted = whole
    for last in some(range(1, writes + 1), writes // (6 if loses_replies else 12)):
        load(databases.path("empty"), server.database)
        with proxy(server.uri) as dying:
            dying.fault = _gone_from(last, dying.requests, loses_replies=loses_replies)
            with pytest.raises(MlmetaError):
                restore(dying.uri, "latest", str(small), jobs=1)
        result = restore(server.uri, "latest", str(small), verify=last % 4 == 0)
        assert result.exit_code == 0, (last, result.issues)
        assert plain(server.backend) == wanted, last
    assert writes > 15


def _gone_from(last: int, requests: list[Request], *, loses_replies: bool) -> Fault:
    gone = False

    def fault(request: Request) -> int | None:
        nonlocal gone
        if gone:
            return 503
        gone = sum(r.writes for r in requests) >= last
        return (LOST if loses_replies else 503) if gone else None

    return fault


@pytest.mark.parametrize("moment", some([3, 9, 16, 23, 30, 36], 3))
def test_killed_and_run_again(server: Server, databases: Databases, snapshots: Path, cli: Cli, moment: int) -> None:
    """SIGKILL in the middle of many requests at once; what was under way may have arrived or not."""
    running: list[Running] = []

    def kill(request: Request) -> None:
        if request.writes and sum(r.writes for r in killing.requests) == moment:
            running[0].send(signal.SIGKILL)

    with proxy(server.uri) as killing:
        killing.fault = kill
        running.append(cli.start("restore", "--timestamp", "latest", "--tracking-uri", killing.uri, "--yes"))
        assert running[0].wait().code == -signal.SIGKILL
    result = restore(server.uri, "latest", str(snapshots))
    assert result.exit_code == 0, result.issues
    assert plain(server.backend) == plain(databases.uri("filled"))
    again = restore(server.uri, "latest", str(snapshots), verify=False)
    assert not any(again.created.values())


def test_a_half_filled_run_is_filled(restored: Server, databases: Databases, snapshots: Path) -> None:
    half = unfinish(MlflowClient(restored.uri), "child-1")
    change(restored.database, "DELETE FROM metrics WHERE run_uuid = ? AND step > 10", half)
    change(restored.database, "DELETE FROM params WHERE run_uuid = ?", half)
    result = restore(restored.uri, "latest", str(snapshots))
    assert result.exit_code == 0
    assert result.created["runs"] == 1
    assert plain(restored.backend) == plain(databases.uri("filled"))
