"""Fast to start: heavy packages are imported only where they are used. In new interpreters, as a shell starts them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import Cli

HEAVY = ("mlflow", "google.cloud", "google.api_core", "sqlalchemy", "pandas", "numpy", "requests", "distributed")


def _imported(importtime: str) -> set[str]:
    lines = (line.rpartition("|")[2].strip() for line in importtime.splitlines() if line.startswith("import time:"))
    return {name for line in lines for name in HEAVY if line == name or line.startswith(f"{name}.")}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("list",),
        ("show",),
        ("show", "--models"),
        ("verify",),
        ("diff", "latest", "latest"),
        ("report",),
        ("backup", "-h"),
    ],
)
def test_no_heavy_package_is_imported(snapshots: Path, cli: Cli, arguments: tuple[str, ...]) -> None:
    done = cli.cold(*arguments, python=("-X", "importtime"))
    assert done.code == 0
    assert "import time:" in done.err
    assert _imported(done.err) == set()


@pytest.mark.parametrize("arguments", [("list",), ("config",)])
def test_a_configuration_file_brings_none(snapshots: Path, cli: Cli, arguments: tuple[str, ...]) -> None:
    (cli.folder / "mlmeta.toml").write_text('storage = "backups"\n[profile.prod.restore]\njobs = 4\n')
    done = cli.cold(*arguments, python=("-X", "importtime"), MLMETA_NO_CONFIG="")
    assert done.code == 0
    assert "mlmeta.cli.config_keys" in done.err
    assert _imported(done.err) == set()


def test_a_tab_brings_none(snapshots: Path, cli: Cli) -> None:
    asked = {"_MLMETA_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": "mlmeta show ", "MLMETA_NO_CONFIG": ""}
    done = cli.cold(python=("-X", "importtime"), _TYPER_COMPLETE_FISH_ACTION="get-args", **asked)
    assert (done.code, done.out[:6]) == (0, "latest") or not done.out, "or it took too long"
    assert "mlmeta.snapshot.layout" in done.err
    assert "mlmeta.schema" not in done.err
    assert _imported(done.err) == set()


def test_a_quiet_command_draws_nothing(snapshots: Path, cli: Cli) -> None:
    done = cli.cold("verify", "--quiet", python=("-X", "importtime"))
    assert done.code == 0
    assert "mlmeta.snapshot.verify" in done.err
    assert "rich" not in done.err


def test_the_check_itself_can_fail(cli: Cli) -> None:
    assert _imported("import time: 1 | 2 | mlflow.client\nimport time: 1 | 2 |   google.cloud") == {
        "mlflow",
        "google.cloud",
    }
