"""Other versions of Pydantic write large numbers in another form: that is no difference."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import mlmeta
from mlmeta.schema import LatestMetric, Summary
from tests.builders.snapshots import experiment, history, run, snapshot_of

FORM = re.compile(rb"(?<=\d)e(\+?)(?=\d)")


def in_the_other_form(content: bytes) -> bytes:
    """``1e18`` as ``1e+18``, and the other way round."""
    return FORM.sub(lambda found: b"e" if found[1] else b"e+", content)


def rewrite(folder: Path, timestamp: str) -> None:
    """Write a snapshot as another version of Pydantic would have."""
    place = folder / f"backup_summary_{timestamp}.json"
    summary = Summary.model_validate_json(place.read_bytes())
    entries = {}
    for kind, entry in summary.files.items():
        content = in_the_other_form((folder / entry.name).read_bytes())
        (folder / entry.name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        told = {"bytes": len(content), "sha256": digest, "content_sha256": digest}
        entries[kind] = entry.model_copy(update=told)
    place.write_bytes(summary.model_copy(update={"files": entries}).to_bytes())


def test_large_numbers_are_the_same_in_either_form(tmp_path: Path) -> None:
    points = [(0, 1, 1e18), (1, 1, -2.5e300), (2, 1, 5e-324)]
    last, only = LatestMetric(value=5e-324, step=2, timestamp=1), LatestMetric(value=1e16, step=0, timestamp=1)
    records = [experiment(), run(metrics={"loss": last, "one": only}), history("loss", *points)]
    before, after = (snapshot_of(records, tmp_path).timestamp for _ in range(2))
    rewrite(tmp_path, before)
    for kind in ("runs", "metrics"):
        other, own = ((tmp_path / f"{kind}_{timestamp}.json").read_bytes() for timestamp in (before, after))
        assert other != own == in_the_other_form(other)
    assert [*mlmeta.open_snapshot(tmp_path, before).history("a", "loss").points()] == points
    assert mlmeta.diff(before, after, tmp_path).comparison.is_equal
    proven = mlmeta.verify([before, after], tmp_path, with_drill=True).require_complete()
    assert [one.drill.is_equal for one in proven.snapshots if one.drill] == [True, True]
