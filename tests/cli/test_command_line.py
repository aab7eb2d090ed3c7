"""Words of a command line: which snapshot, which of them, and what a document says of a mistake."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from mlmeta.storage import LocalStorage
from tests.builders import snapshots as made
from tests.support.cli import Cli
from tests.support.databases import Databases


@pytest.fixture
def stamps(cli: Cli) -> list[str]:
    """Timestamps of three small snapshots in `backups`, the oldest first."""
    storage = LocalStorage(cli.folder / "backups")
    moments = [made.NOW + timedelta(days=day) for day in range(3)]
    return [made.commit(storage, at=moment).summary.backup_timestamp for moment in moments]


def test_restore_takes_its_snapshot_as_the_others_do(
    cli: Cli, stamps: list[str], databases: Databases, tmp_path: Path
) -> None:
    target = databases.copy("empty", tmp_path / "target.db")

    def planned(*words: str, **env: str) -> str:
        where = ("--tracking-uri", target, "--dry-run", "--json")
        return str(cli("restore", *words, *where, env={**env}).ok().data["timestamp"])

    assert planned() == planned("latest") == stamps[2]
    assert planned("latest~1") == planned("--timestamp", "latest~1") == stamps[1]
    assert planned(stamps[0], "--timestamp", stamps[0]) == stamps[0]
    assert planned(MLMETA_TIMESTAMP=stamps[0]) == stamps[0]
    assert planned("latest", MLMETA_TIMESTAMP=stamps[0]) == stamps[2]
    (tmp_path / "mlmeta.toml").write_text(f'[restore]\ntimestamp = "{stamps[0]}"\n')
    assert planned("latest~1", MLMETA_NO_CONFIG="") == stamps[1]
    done = cli("restore", "latest", "--timestamp", stamps[0], "--tracking-uri", target, "--json").ended(2)
    (error,) = done.document["errors"]
    assert error["message"] == f"two snapshots are named: latest, and {stamps[0]} by --timestamp"
