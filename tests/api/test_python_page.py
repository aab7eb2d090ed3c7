"""docs/reference/python.md does what it says: its blocks, one after the other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.builders.tracking import tracking
from tests.support.server import Server

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "python.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SERVER = "http://localhost:5000"


def test_the_page_runs(
    filled: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    text, names = PAGE.read_text(), dict[str, Any](__name__="page")
    with tracking(filled.uri):
        for found in BLOCK.finditer(text):
            line = text.count("\n", 0, found.start(1))
            block = found[1].replace(SERVER, filled.uri)
            exec(compile("\n" * line + block, PAGE, "exec"), names)  # so that an error names the page's line
    said = capsys.readouterr().out
    assert names["saved"].unchanged_since == names["snapshot"].timestamp
    assert list(names["loss"].value) == [1 / (step + 1) for step in range(10)]
    assert len(names["curves"].columns) > 1
    assert [(one.field, one.after) for one in names["found"].comparison.changes] == [("tags[reviewed]", "yes")]
    assert "changed run nightly tags[reviewed] None yes" in said
    assert names["restored"].created["runs"]
    assert not names["looked"].snapshots[0].too_old
    assert "no snapshot 20200101" in said


def test_all_that_the_page_names_is_there() -> None:
    import mlmeta
    from mlmeta.snapshot.by_kind import ByKind

    named = re.findall(r"`(\w+)\(", PAGE.read_text())
    assert "history" in named
    known = {*dir(mlmeta), *dir(ByKind), *dir(mlmeta.Snapshot), *dir(mlmeta.Result), "dir"}
    assert not [name for name in named if name not in known]
