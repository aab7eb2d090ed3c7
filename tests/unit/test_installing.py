"""What is missing is installed where mlmeta runs, however it got there."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from mlmeta.errors import UsageError
from mlmeta.installing import how_to_install
from mlmeta.stores.sql.errors import missing_driver

PIPX = "pipx_metadata.json"


@pytest.mark.parametrize(
    ("folder", "file", "said"),
    [
        ("share/pipx/venvs/mlmeta", PIPX, "pipx inject mlmeta 'psycopg[binary]'"),
        ("cache/pipx/3f2a91", PIPX, "pipx run --with 'psycopg[binary]' …"),
        ("cache/uv/archive-v0/Zk3x", "pyvenv.cfg", "uvx --with 'psycopg[binary]' …"),
    ],
)
def test_tools_have_ways_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, file: str, said: str
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / file).touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / folder))
    assert how_to_install("psycopg[binary]") == said


def test_pip_is_that_of_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/srv/my tools/bin/python")
    assert shlex.split(how_to_install("pymysql")) == ["/srv/my tools/bin/python", "-m", "pip", "install", "pymysql"]


@pytest.mark.parametrize(
    ("kind", "drivers", "said"),
    [
        ("postgresql", ("psycopg2", "psycopg"), "'psycopg[binary]'"),
        ("postgresql", ("psycopg2",), "psycopg2-binary"),
        ("mysql", ("MySQLdb", "pymysql"), "pymysql"),
        ("mysql", ("nothing",), "write mysql://…, without +nothing"),
    ],
)
def test_the_driver_is_the_one_that_was_asked_for(kind: str, drivers: tuple[str, ...], said: str) -> None:
    error = missing_driver(kind, drivers)
    assert isinstance(error, UsageError)
    assert error.hint.endswith(said)
