"""`backup --incremental` from a server: fewer requests, the same bytes."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlmeta import backup
from tests.builders.changes import change_store
from tests.support.cli import Cli
from tests.support.databases import load
from tests.support.examples import some
from tests.support.proxy import Proxy, proxy
from tests.support.reading import data_files, summary
from tests.support.server import Server


@pytest.fixture
def busy(server: Server, bench: Path) -> Server:
    """A server with a hundred ended runs."""
    load(bench, server.database)
    return server


def asked(through: Proxy) -> list[str]:
    """The requests for histories, but for the probe and the sample that prove the bulk endpoint."""
    return [r.path for r in through.requests if "get-history" in r.path]


def test_what_has_ended_is_not_asked_for_again(busy: Server, tmp_path: Path) -> None:
    with proxy(busy.uri) as through:
        full = backup(through.uri, [str(tmp_path)])
        before = len(asked(through))
        through.requests.clear()
        result = backup(through.uri, [str(tmp_path)], incremental=True)
        assert before >= 10
        assert len(asked(through)) <= 1  # whether the bulk endpoint is there
    assert result.incremental_base == full.timestamp
    assert data_files(tmp_path, result.timestamp) == data_files(tmp_path, full.timestamp)
    assert result.stats == full.stats


@pytest.mark.parametrize("seed", some(range(6), 2))
def test_the_same_bytes_as_a_full_backup_after_any_change(busy: Server, tmp_path: Path, seed: int) -> None:
    backup(busy.uri, [str(tmp_path / "a")])
    for turn in range(2):
        change_store(busy.database, 100 * seed + turn, behind_ended_runs=False)
        result = backup(busy.uri, [str(tmp_path / "a")], incremental=True)
        full = backup(busy.uri, [str(tmp_path / f"full{turn}")])
        assert result.incremental_base
        assert data_files(tmp_path / "a", result.timestamp) == data_files(tmp_path / f"full{turn}")
        assert result.stats == full.stats


def test_the_one_blind_spot_and_how_a_full_read_closes_it(server: Server, tmp_path: Path) -> None:
    client = MlflowClient(server.uri)
    run_id = client.create_run("0").info.run_id
    client.log_metric(run_id, "loss", 1.0, timestamp=1, step=10)
    client.log_metric(run_id, "loss", 2.0, timestamp=1, step=20)
    client.set_terminated(run_id)
    time.sleep(1.1)
    backup(server.uri, [str(tmp_path)])
    client.log_metric(run_id, "loss", 1.5, timestamp=1, step=15)  # behind the latest step of an ended run
    blind = backup(server.uri, [str(tmp_path)], incremental=True)
    assert blind.stats["metric_points"] == 2
    assert blind.incremental_base
    closed = backup(server.uri, [str(tmp_path)], incremental=True, full_every=timedelta(0))
    assert closed.stats["metric_points"] == 3
    assert not closed.incremental_base


def test_points_of_a_run_that_goes_on_are_read(server: Server, tmp_path: Path) -> None:
    client = MlflowClient(server.uri)
    run_id = client.create_run("0").info.run_id
    client.log_metric(run_id, "loss", 1.0, timestamp=1, step=10)
    backup(server.uri, [str(tmp_path)])
    client.log_metric(run_id, "loss", 1.5, timestamp=1, step=5)
    assert backup(server.uri, [str(tmp_path)], incremental=True).stats["metric_points"] == 2


def test_the_last_full_read_is_remembered_along_a_chain(busy: Server, tmp_path: Path) -> None:
    backup(busy.uri, [str(tmp_path)])
    first = summary(tmp_path)
    for _ in range(2):
        backup(busy.uri, [str(tmp_path)], incremental=True)
        assert summary(tmp_path)["fully_read"] == first["started"]


def test_a_damaged_base_is_not_built_on(busy: Server, tmp_path: Path) -> None:
    full = backup(busy.uri, [str(tmp_path / "a")])
    wanted = data_files(tmp_path / "a")
    path = tmp_path / "a" / full.files["metrics"].name
    path.write_bytes(path.read_bytes().replace(b"0.1", b"0.2", 1))
    result = backup(busy.uri, [str(tmp_path / "a")], incremental=True)
    assert not result.incremental_base
    assert "all histories were read" in result.warnings[0]
    assert data_files(tmp_path / "a", result.timestamp) == wanted


def test_several_storages_and_another_source(busy: Server, tmp_path: Path) -> None:
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    full = backup(busy.uri, [one])
    both = backup(busy.uri, [two, one], incremental=True)
    assert both.incremental_base == full.timestamp
    assert data_files(tmp_path / "two") == data_files(tmp_path / "one")
    other = backup(f"sqlite:///{busy.database}", [one], incremental=True)
    assert not other.incremental_base


def test_the_command(busy: Server, cli: Cli, tmp_path: Path) -> None:
    words = ("backup", "--tracking-uri", busy.uri, "--storage", str(tmp_path), "--incremental")
    assert cli("backup", "--tracking-uri", busy.uri, "--storage", str(tmp_path)).code == 0
    done = cli(*words, "--full-every", "1h", "--json")
    assert done.code == 0
    assert done.data["incremental_base"]
    assert "came from snapshot" in cli(*words).out
    assert "--full-every: 'soon' is not a duration" in cli(*words, "--full-every", "soon").ended(2).err
