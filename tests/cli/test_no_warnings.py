"""What anybody does every day gives no warning: one that is always there is read by nobody."""

from __future__ import annotations

from pathlib import Path

from tests.support.cli import Cli
from tests.support.databases import Databases
from tests.support.server import Server

DAYS: tuple[tuple[str, ...], ...] = (
    ("backup", "--tracking-uri", "STORE"),
    ("backup", "--tracking-uri", "STORE"),
    ("backup", "--tracking-uri", "STORE", "--if-changed"),
    ("backup", "--tracking-uri", "STORE", "--incremental"),
    ("backup", "--tracking-uri", "STORE", "--compress", "--dry-run"),
    ("list",),
    ("show",),
    ("show", "--models"),
    ("show", "--experiment", "churn"),
    ("verify",),
    ("verify", "--drill"),
    ("diff", "latest~1", "latest"),
    ("diff", "--tracking-uri", "STORE"),
    ("copy", "latest", "--from", "backups", "--to", "elsewhere"),
    ("copy", "--missing", "--from", "backups", "--to", "elsewhere"),
    ("copy", "--missing", "--from", "backups", "--to", "elsewhere"),
    ("restore", "--timestamp", "latest", "--tracking-uri", "EMPTY", "--dry-run"),
    ("restore", "--timestamp", "latest", "--tracking-uri", "EMPTY"),
    ("restore", "--timestamp", "latest", "--tracking-uri", "EMPTY", "--yes"),
    ("diff", "--tracking-uri", "EMPTY", "--source", "STORE"),
    ("prune", "--keep-last", "2", "--yes"),
    ("prune", "--keep-last", "2", "--yes"),
)


def _go_through(cli: Cli, store: str, empty: str) -> list[str]:
    """Go through the days; what was warned of."""
    found = []
    for words in DAYS:
        named = [{"STORE": store, "EMPTY": empty}.get(word, word) for word in words]
        done = cli(*named, "--json").ok()
        found += [f"{' '.join(words)}: {warning}" for warning in done.document["warnings"]]
        assert done.document["errors"] == []
    return found


def test_from_a_database_into_another(databases: Databases, tmp_path: Path, cli: Cli) -> None:
    assert _go_through(cli, databases.copy("filled", tmp_path / "store.db"), f"sqlite:///{tmp_path}/new.db") == []


def test_from_a_server_into_a_database(filled: Server, tmp_path: Path, cli: Cli) -> None:
    assert _go_through(cli, filled.uri, f"sqlite:///{tmp_path}/new.db") == []


def test_into_an_empty_server(server: Server, snapshots: Path, cli: Cli) -> None:
    """What its plan says comes of a gap in the numbers of a model."""
    words = ("restore", "--timestamp", "latest", "--tracking-uri", server.uri, "--yes", "--json")
    gap = "model 'churn-model': 1 version is created and deleted again, so that the others keep their numbers"
    found = [cli(*words, *more).ok().document["warnings"] for more in (("--dry-run",), (), ())]
    assert found[0] == [gap]
    assert found[1] in ([], [gap])
    assert found[2] == []
