"""The file for Prometheus: its format, what stays in it, and that nobody sees half of it."""

from __future__ import annotations

import os
import re
import time
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmeta.errors import UsageError
from mlmeta.metrics import (
    EXIT_CODE,
    LAST_RUN,
    LAST_SUCCESS,
    METRICS,
    SNAPSHOT_RECORDS,
    Sample,
    read_file,
    samples_in,
    text_of,
    update_file,
    updated,
)

JOB = {"command": "backup", "source": "http://mlflow:5000", "storage": "backups"}

_TEXT = r'"(?:[^"\\\n]|\\[\\"n])*"'
SAMPLE = re.compile(rf"(\w+)(?:\{{[a-z_]+={_TEXT}(?:,[a-z_]+={_TEXT})*\}})? -?[0-9]+(?:\.[0-9]+)?(?:e[+-][0-9]+)?")
"""https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format, as far as it is needed here."""


def strictly(text: str) -> list[Sample]:
    """What a text says that is in the format to the letter, with each metric once."""
    assert text.endswith("\n") or not text
    name, seen = "", set()
    lines = text.split("\n")[:-1]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("# HELP "):
            name = line.split(" ")[2]
            assert name not in seen, "each metric stands once"
            seen.add(name)
            assert following == f"# TYPE {name} gauge"
        elif not line.startswith("# TYPE "):
            match = SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] == name
    found = samples_in(text)
    assert len({(sample.metric, sample.labels) for sample in found}) == len(found)
    return found


def names() -> st.SearchStrategy[str]:
    return st.text(max_size=20) | st.sampled_from(['a"b', "a\\", 'a\nb{x="y"} 1', "\udcff", "\x1b[31m", "} 1 ,"])


@given(source=names(), kind=names(), value=st.floats(allow_nan=False, allow_infinity=False))
def test_whatever_a_source_is_called(source: str, kind: str, value: float) -> None:
    """Other parsers take it, we read back what we wrote, and a second run replaces the first."""
    job = {**JOB, "source": source}
    first = updated([], job, [Sample(SNAPSHOT_RECORDS, value, (("kind", kind),)), Sample(EXIT_CODE, 1)])
    found = strictly(text_of(first))
    assert [sample.value for sample in found] == [1, value]
    again = updated(found, job, [Sample(EXIT_CODE, 0)])
    assert [(s.metric, s.value) for s in strictly(text_of(again))] == [(EXIT_CODE, 0), (SNAPSHOT_RECORDS, value)]


@given(source=names())
def test_prometheus_reads_it(source: str) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    text = text_of(updated([], {**JOB, "source": source}, [Sample(metric, 1.5) for metric in METRICS.values()]))
    families = list(parser.text_string_to_metric_families(text))
    assert [family.name for family in families] == list(METRICS)
    assert {sample.value for family in families for sample in family.samples} == {1.5}


def test_names_are_as_prometheus_wants_them() -> None:
    """A prefix, and the unit at the end where there is one."""
    assert all(re.fullmatch(r"mlmeta_[a-z_]+", name) for name in METRICS)
    for name, metric in METRICS.items():
        assert ("timestamp" in name) == name.endswith("_timestamp_seconds")
        assert metric.help.endswith(".")


def test_what_a_run_leaves_and_what_it_replaces(tmp_path: Path) -> None:
    path = tmp_path / "mlmeta.prom"
    other = {"command": "verify", "storage": "backups"}
    runs = [Sample(SNAPSHOT_RECORDS, 8, (("kind", "runs"),)), Sample(SNAPSHOT_RECORDS, 3, (("kind", "models"),))]
    update_file(path, other, [Sample(LAST_RUN, 7)])
    update_file(path, JOB, [Sample(LAST_RUN, 10), Sample(LAST_SUCCESS, 10), *runs])
    update_file(path, JOB, [Sample(LAST_RUN, 20), Sample(EXIT_CODE, 1)])
    found = {(s.metric.name, s.job[0], dict(s.labels).get("kind")): s.value for s in strictly(path.read_text())}
    assert found == {
        ("mlmeta_last_run_timestamp_seconds", "verify", None): 7,
        ("mlmeta_last_run_timestamp_seconds", "backup", None): 20,
        ("mlmeta_last_success_timestamp_seconds", "backup", None): 10,
        ("mlmeta_last_exit_code", "backup", None): 1,
        ("mlmeta_snapshot_records", "backup", "runs"): 8,
        ("mlmeta_snapshot_records", "backup", "models"): 3,
    }
    update_file(path, JOB, runs[:1])
    assert [s.value for s in read_file(path) if s.metric is SNAPSHOT_RECORDS] == [8], "a kind that is gone is gone"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in tmp_path.iterdir()] == ["mlmeta.prom"]


FOREIGN = {
    "another program's": "# HELP up x\nup 1\n",
    "not text": "\udcff\udcfe",
    "far too long": "mlmeta_x 1\n" * (1 << 19),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_is_not_ours_stays(tmp_path: Path, what: str) -> None:
    path = tmp_path / "apt.prom"
    content = FOREIGN[what].encode(errors="surrogateescape")
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"apt\.prom is not a file of mlmeta's metrics alone"):
        update_file(path, JOB, [Sample(LAST_RUN, 1)])
    assert path.read_bytes() == content
    assert [one.name for one in tmp_path.iterdir()] == ["apt.prom"]


def test_odd_places_and_odd_lines(tmp_path: Path) -> None:
    """Lines of another version's are left out; a pipe is not waited for; a link is replaced, not followed."""
    path = tmp_path / "mlmeta.prom"
    path.write_text('mlmeta_new{a="b"} 1\nmlmeta_last_exit_code{command=} 1\nmlmeta_last_exit_code 1e999\n')
    assert read_file(path) == []
    os.mkfifo(tmp_path / "pipe.prom")
    with pytest.raises((UsageError, OSError)):
        update_file(tmp_path / "pipe.prom", JOB, [Sample(LAST_RUN, 1)])
    with pytest.raises(OSError, match="nowhere"):
        update_file(tmp_path / "nowhere" / "mlmeta.prom", JOB, [Sample(LAST_RUN, 1)])
    (tmp_path / "linked.prom").symlink_to(path)
    update_file(tmp_path / "linked.prom", JOB, [Sample(LAST_RUN, 1)])
    assert not (tmp_path / "linked.prom").is_symlink()
    assert "mlmeta_new" in path.read_text()


def test_what_a_killed_command_left_goes(tmp_path: Path) -> None:
    old, young = tmp_path / ".mlmeta.prom.0123abcd.tmp", tmp_path / ".mlmeta.prom.4567abcd.tmp"
    for path in (old, young):
        path.write_text("half")
    os.utime(old, (time.time() - 7200,) * 2)
    update_file(tmp_path / "mlmeta.prom", JOB, [Sample(LAST_RUN, 1)])
    assert sorted(one.name for one in tmp_path.iterdir()) == [young.name, "mlmeta.prom"]


def _write(path: Path, command: str) -> None:
    for number in range(10):
        update_file(path, {"command": command}, [Sample(LAST_RUN, number)])


def test_several_at_once(tmp_path: Path) -> None:
    """None of them loses what another one has written, and a reader never sees half of it."""
    path, context = tmp_path / "mlmeta.prom", get_context("fork")
    writers = [context.Process(target=_write, args=(path, f"c{number}")) for number in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        strictly(path.read_text() if path.exists() else "")
    assert {sample.job[0]: sample.value for sample in read_file(path)} == {f"c{number}": 9 for number in range(4)}
