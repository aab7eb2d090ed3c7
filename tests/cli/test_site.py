"""The site of the pages is built without a warning, and asks no other host for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FETCHED = re.compile(r"<(?:script|img|iframe|link(?![^>]*rel=\"?canonical))\b[^>]*(?:src|href)=\"?(?:https?:)?//[^>]*>")
SECONDS = 120


def test_the_site(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="MkDocs is not installed (`make docs`)")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", ROOT / ".mkdocs.yml", "-d", tmp_path],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.html")}
    assert len(pages) > 20
    assert not [(page, found) for page, text in pages.items() for found in FETCHED.findall(text)]
    assert not [page for page, text in pages.items() if 'class="mermaid"' in text], "drawn by a script from a CDN"
    home = pages[Path("index.html")]
    assert 'src="assets/iframe-worker.js"' in home, "without it there is no search in files"
    assert "how-to/gc.html" in (tmp_path / "search" / "search_index.js").read_text()
