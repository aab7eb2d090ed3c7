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
        ("backup", "-h"),
    ],
)
def test_no_heavy_package_is_imported(snapshots: Path, cli: Cli, arguments: tuple[str, ...]) -> None:
    done = cli.cold(*arguments, python=("-X", "importtime"))
    assert done.code == 0
    assert "import time:" in done.err
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
