"""Every table and column of MLflow is in a snapshot, or left out with a reason: docs/reference/coverage.md tells it."""

from __future__ import annotations

import re

import mlflow
import pytest

from tests.builders.everything import mlflows_tables
from tests.support import coverage_page


def named() -> set[tuple[str, str]]:
    """The tables and columns that the page names."""
    lines = re.findall(r"^\| `(\w+)` \| (.*?) \|", coverage_page.PAGE.read_text(), re.MULTILINE)
    return {(table, column) for table, columns in lines for column in re.findall(r"`(\w+)`", columns)}


def test_the_page_names_every_table_and_column_of_the_installed_mlflow() -> None:
    there = {(table.name, column.name) for table in mlflows_tables() for column in table.columns}
    assert there - named() == set(), "say what becomes of them, then run `make docs`"


def test_the_page_is_up_to_date() -> None:
    text = coverage_page.PAGE.read_text()
    if f"This is MLflow {mlflow.__version__}." not in text:
        pytest.skip("it was written for another MLflow")
    assert text == coverage_page.page(), "run `make docs`"


def test_a_column_of_which_nothing_is_said_is_an_error() -> None:
    with pytest.raises(coverage_page.UnknownColumnError, match=r"runs\.mood"):
        coverage_page.place("runs", "mood")
    with pytest.raises(coverage_page.UnknownColumnError, match=r"gizmos\.id"):
        coverage_page.place("gizmos", "id")
