"""Traces of databases: saved, restored with their ids, proven, and as MLflow itself would have written them."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base
from mlflow.store.tracking.utils import trace_analytics

import mlmeta
from mlmeta.errors import ConflictError, ExitCode, RestoreError
from mlmeta.schema import TRACES, Selection, Skipped, SpanLine, Trace
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.sql import spans
from mlmeta.stores.sql.exporter import SqlSource
from mlmeta.stores.sql.restorer import SqlTarget
from mlmeta.stores.sql.schema import begin_store_at
from mlmeta.stores.sql.trace_tables import COST_COLUMNS, SESSION, TOKEN_COLUMNS, aggregate, analytics, told
from mlmeta.stores.target import RestoreOptions
from tests.builders import snapshots
from tests.builders.snapshots import experiment, snapshot_of, trace
from tests.builders.traced import fill_with_traces, old_rows
from tests.sql.helpers import ALL, QUIET, assert_proven, backup, digests, dump, proof_of, records_of
from tests.sql.test_crash import restore_killed_at
from tests.support.examples import examples

KINDS = ("sqlite", "postgresql", "mysql")
TABLES = ("trace_info", "trace_tags", "trace_request_metadata", "assessments", "spans")


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with traces. Not to be changed."""
    path = tmp_path_factory.mktemp("traced") / "mlflow.db"
    fill_with_traces(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="module")
def snapshot(traced: Path, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return backup(f"sqlite:///{traced}", tmp_path_factory.mktemp("snapshot"))


@pytest.fixture
def store(traced: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(traced, tmp_path / "store.db"))


def change(path: Path, *statements: str | tuple[str, tuple[Any, ...]]) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(*([statement] if isinstance(statement, str) else statement))


def rows(uri: str) -> dict[str, list[dict[str, Any]]]:
    """All rows of the tables of traces; but for what counts how often a trace was written."""
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    found = {}
    with engine.connect() as connection:
        for name in TABLES:
            all_of = [dict(row) for row in connection.execute(sa.text(f"SELECT * FROM {name}")).mappings()]
            for row in all_of:
                row.pop("db_payload_generation", None)
                row.update({key: bool(row[key]) for key in ("valid", "is_numeric_value") if key in row})
                if name == "assessments":
                    row["value"] = json.loads(row["value"])  # 3.0 is 3 over the API
            found[name] = sorted(all_of, key=lambda row: json.dumps(row, default=str))
    return found


def target_of(kind: str, tmp_path: Path, emptied: Callable[[str], str]) -> str:
    return f"sqlite:///{tmp_path / 'target.db'}" if kind == "sqlite" else emptied(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_they_come_back_as_mlflow_wrote_them(
    kind: str, traced: Path, snapshot: Snapshot, tmp_path: Path, emptied: Callable[[str], str]
) -> None:
    uri = target_of(kind, tmp_path, emptied)
    report = SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert (report.created["traces"], report.created["assessments"]) == (2, 6)
    assert digests(backup(uri, tmp_path / "again")) == digests(snapshot)
    assert rows(uri) == rows(f"sqlite:///{traced}")
    assert_proven(uri, snapshot)
    again = SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert (again.present["traces"], again.created) == (2, {})
    assert rows(uri) == rows(f"sqlite:///{traced}")


def test_mlflow_shows_them_as_before(traced: Path, snapshot: Snapshot, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'target.db'}"
    SqlTarget(uri).restore(snapshot, ALL, QUIET)
    before, after = MlflowClient(f"sqlite:///{traced}"), MlflowClient(uri)
    (one,) = [e.experiment_id for e in before.search_experiments() if e.name == "traced"]
    ids = [found.info.trace_id for found in before.search_traces(locations=[one], include_spans=False)]
    assert len(ids) == 2
    for trace_id in ids:
        assert after.get_trace(trace_id).to_dict() == before.get_trace(trace_id).to_dict()
    found = after.search_traces(locations=[one], filter_string="metadata.`mlflow.trace.session` = 's-1'")
    assert [trace.info.token_usage["total_tokens"] for trace in found] == [7]


@pytest.mark.parametrize("statement", [3, 6, 9, 12])
def test_a_restore_that_is_killed_leaves_nothing(
    snapshot: Snapshot, blank: Path, tmp_path: Path, statement: int
) -> None:
    path = Path(shutil.copy(blank, tmp_path / "target.db"))
    before = dump(path)
    assert restore_killed_at(f"sqlite:///{path}", snapshot, statement) == -signal.SIGKILL
    assert dump(path) == before


def test_beside_other_traces(traced: Path, snapshot: Snapshot, store: Path, tmp_path: Path) -> None:
    other = Trace(trace_id="tr-other", experiment_id="1", timestamp=5, state="OK")
    uri = f"sqlite:///{store}"
    change(store, "DELETE FROM spans WHERE name = 'fails'", "DELETE FROM trace_info WHERE status = 'ERROR'")
    change(
        store, *(f"DELETE FROM {name} WHERE {key} NOT IN (SELECT request_id FROM trace_info)" for name, key in OWNED)
    )
    insert = "INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, status) VALUES (?, ?, ?, ?)"
    change(store, (insert, (other.trace_id, 1, 5, "OK")))
    report = SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert (report.created["traces"], report.present["traces"]) == (1, 1)
    assert_proven(uri, snapshot)
    assert other in records_of(uri)


OWNED = (("trace_tags", "request_id"), ("trace_request_metadata", "request_id"), ("assessments", "trace_id"))


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE trace_info SET client_request_id = 'another'", ""),
        ("UPDATE trace_info SET experiment_id = 0", "experiment_id is '0' instead of '1'"),
        ("UPDATE spans SET content = replace(content, 'fertig', 'anders')", "attributes[mlflow.spanOutputs]"),
        ("DELETE FROM spans WHERE name = 'llm'", "'llm'] is nothing instead of"),
    ],
)
def test_one_that_is_there_with_other_content_is_a_conflict(
    snapshot: Snapshot, store: Path, statement: str, reason: str
) -> None:
    change(store, statement)
    before = dump(store)
    if not reason:  # the snapshot does not know it
        SqlTarget(f"sqlite:///{store}").restore(snapshot, ALL, QUIET)
    else:
        with pytest.raises(ConflictError) as caught:
            SqlTarget(f"sqlite:///{store}").restore(snapshot, ALL, QUIET)
        assert reason in str(caught.value)
    assert dump(store) == before


def test_what_was_changed_since_stays(snapshot: Snapshot, store: Path) -> None:
    change(
        store,
        "UPDATE trace_tags SET value = 'red' WHERE key = 'team'",
        "DELETE FROM assessments WHERE name = 'listed'",
        "UPDATE assessments SET value = '0.9', last_updated_timestamp = last_updated_timestamp + 1 WHERE value = '0.7'",
    )
    before = dump(store)
    uri = f"sqlite:///{store}"
    report = SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert dump(store) == before
    proof = proof_of(uri, snapshot, report=report)
    assert proof.is_equal, proof.differences
    assert {(one.kind, one.field) for one in proof.changed} >= {("trace", "tags[team]"), ("assessment", "value")}


def test_spans_that_were_archived_keep_their_columns(store: Path, tmp_path: Path) -> None:
    change(
        store,
        "UPDATE spans SET content = ''",
        "UPDATE trace_tags SET value = 'ARCHIVE_REPO' WHERE key = 'mlflow.trace.spansLocation'",
        "UPDATE spans SET total_cost = 0.5 WHERE name = 'llm'",
    )
    source = SqlSource(f"sqlite:///{store}")
    assert all(not isinstance(one, Skipped) for one in source.read(ALL, QUIET))
    where = "not in the tracking store (2 in archives), and not in the snapshot"
    assert source.warnings() == (f"the spans of 2 traces are {where}: like all artifacts, they stay where they are",)
    found = backup(f"sqlite:///{store}", tmp_path / "a")
    uri = f"sqlite:///{tmp_path / 'target.db'}"
    SqlTarget(uri).restore(found, ALL, QUIET)
    assert rows(uri) == rows(f"sqlite:///{store}")
    assert_proven(uri, found)


ODD = ("no JSON", "[1]", '{"a": 1}', '{"start_time_unix_nano": "x"}', '{"a": NaN}', '{"a": 1, "a": 2}', "null", "ü" * 9)
ODD_SPAN = """
INSERT INTO spans (trace_id, experiment_id, span_id, name, status, start_time_unix_nano, content)
SELECT request_id, 1, ?, 'odd', 'UNSET', ?, ? FROM trace_info LIMIT 1
"""


@pytest.mark.parametrize("kind", KINDS)
def test_spans_that_mlflow_never_wrote_come_back_too(
    kind: str, store: Path, tmp_path: Path, emptied: Callable[[str], str]
) -> None:
    for number, content in enumerate(ODD):
        change(store, (ODD_SPAN, (f"odd-{number}", 10**18 + number, content)))
    found = backup(f"sqlite:///{store}", tmp_path / "a")
    uri = target_of(kind, tmp_path, emptied)
    SqlTarget(uri).restore(found, ALL, QUIET)
    assert rows(uri) == rows(f"sqlite:///{store}")
    assert_proven(uri, found)
    assert mlmeta.verify(storage=str(tmp_path / "a")).exit_code is ExitCode.DONE


def test_odd_rows_are_named_and_cost_no_other(store: Path) -> None:
    change(
        store,
        "UPDATE assessments SET value = 'no JSON' WHERE name = 'says'",
        "UPDATE assessments SET value = 'NaN' WHERE name = 'listed'",
        "UPDATE spans SET content = CAST(x'ff' AS TEXT) WHERE name = 'fails'",
        "UPDATE trace_info SET session_id = x'ff', total_tokens = 'many' WHERE session_id IS NOT NULL",
    )
    source = SqlSource(f"sqlite:///{store}")
    found = list(source.read(ALL, QUIET))
    named = sorted((one.kind, one.reason) for one in found if isinstance(one, Skipped))
    assert named == [
        ("span", "its content is not UTF-8, and it was not saved"),
        ("trace", "its metadata 'mlflow.trace.session' is '\\\\xff' (not UTF-8), and was not saved"),
        ("trace", "its value is 'no JSON', and was not saved"),
    ]
    traces = [one for one in found if isinstance(one, Trace)]
    assert [len(one.assessments) for one in traces] == [5, 1]
    assert len([one for one in found if isinstance(one, SpanLine)]) == 2
    assert any("became a text" in warning for warning in source.warnings())


def test_a_part_of_them(snapshot: Snapshot, traced: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{traced}"
    assert not [one for one in records_of(uri, Selection(experiments=("Default",))) if isinstance(one, Trace)]
    without = records_of(uri, Selection(without=("spans",)))
    assert [type(one) for one in without if isinstance(one, Trace | SpanLine)] == [Trace, Trace]
    only = SqlTarget(f"sqlite:///{tmp_path / 'only.db'}").restore(snapshot, Selection(only=("traces",)), QUIET)
    assert (only.created["traces"], only.created.get("runs")) == (2, None)
    bare = f"sqlite:///{tmp_path / 'bare.db'}"
    SqlTarget(bare).restore(snapshot, Selection(without=("spans",)), QUIET)
    assert not [one for one in records_of(bare) if isinstance(one, SpanLine)]


def test_an_experiment_that_is_in_the_way_shuts_traces_out(snapshot: Snapshot, blank: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(blank, tmp_path / "target.db"))
    change(path, "INSERT INTO experiments VALUES (1, 'mine', 'x', 'active', 1, 1, 'default')")
    with pytest.raises(ConflictError, match="2 traces can't be restored without it"):
        SqlTarget(f"sqlite:///{path}").restore(snapshot, ALL, QUIET)
    report = SqlTarget(f"sqlite:///{path}", RestoreOptions(on_conflict="skip")).restore(snapshot, ALL, QUIET)
    assert "traces" not in report.created
    assert proof_of(f"sqlite:///{path}", snapshot, report=report).is_equal


def test_both_locations_of_a_trace_are_rewritten(tmp_path: Path) -> None:
    tags = {
        "mlflow.artifactLocation": "gs://old/1/t",
        "mlflow.trace.archiveLocation": "gs://old/archive",
        "x": "gs://old",
    }
    found = snapshot_of([experiment(artifact_location="gs://old/1"), trace(tags=tags)], tmp_path / "a")
    uri = f"sqlite:///{tmp_path / 'target.db'}"
    report = SqlTarget(uri, RestoreOptions(rewrite=(("gs://old", "s3://new"),))).restore(found, ALL, QUIET)
    (restored,) = [one for one in records_of(uri) if isinstance(one, Trace)]
    moved = {"mlflow.artifactLocation": "s3://new/1/t", "mlflow.trace.archiveLocation": "s3://new/archive"}
    assert restored.tags == {**moved, "x": "gs://old"}
    assert "artifact locations are rewritten in 1 experiment, 1 trace" in report.notes[0]


COUNTED = """
INSERT INTO sql_trace_metric_daily_rollups (experiment_id, rollup_day, metric_name, grouping_set, sample_count)
VALUES (9, '2023-01-01', 'trace_count', 'global', 1)
"""


def test_days_that_were_counted_already_are_counted_again(snapshot: Snapshot, blank: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(blank, tmp_path / "target.db"))
    change(
        path,
        COUNTED,
        "INSERT INTO sql_trace_rollup_rebuild_queue VALUES (1, '2023-11-14', 'span_cost')",
    )
    old = snapshot_of([experiment(), trace(), snapshots.span(start=1_700_000_000_000_000_000)], tmp_path / "a")
    for _ in range(2):
        SqlTarget(f"sqlite:///{path}").restore(old, ALL, QUIET)
    SqlTarget(f"sqlite:///{path}", RestoreOptions(on_conflict="skip")).restore(snapshot, ALL, QUIET)  # of today
    with closing(sqlite3.connect(path)) as db:
        queue = sorted(db.execute("SELECT * FROM sql_trace_rollup_rebuild_queue"))
    assert queue == [(1, "2023-11-14", family) for family in ("assessment", "span_cost", "trace_metric")]


def test_a_diff_names_what_changed(traced: Path, store: Path, tmp_path: Path) -> None:
    mlmeta.backup(f"sqlite:///{traced}", [str(tmp_path / "b")])
    change(
        store,
        "UPDATE spans SET content = replace(content, 'fertig', 'anders')",
        "DELETE FROM spans WHERE name = 'llm'",
        "UPDATE assessments SET rationale = 'because' WHERE rationale = 'so so'",
    )
    found = mlmeta.diff("latest", storage=str(tmp_path / "b"), tracking_uri=f"sqlite:///{store}")
    named = {one.kind: (one.field.partition("]")[2] or one.field, one.words[1]) for one in found.comparison.changes}
    assert named["assessment"] == ("rationale", "'because'")
    assert {one.words[1] for one in found.comparison.changes if one.kind == "trace"} == {"nothing", "'\"anders\"'"}


def test_a_store_of_an_older_schema_says_the_same_as_after_its_upgrade(tmp_path: Path, blank: Path) -> None:
    path = tmp_path / "old.db"
    uri = f"sqlite:///{path}"
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    Base.metadata.create_all(engine)
    config = utils._get_alembic_config(uri)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "1b5f0d9ad7c1")  # 3.10
    change(path, *old_rows())
    before = backup(uri, tmp_path / "before")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    after = backup(uri, tmp_path / "after")
    assert [before.summary.files[kind].sha256 for kind in ("traces", "spans")] == [
        after.summary.files[kind].sha256 for kind in ("traces", "spans")
    ]
    target = f"sqlite:///{shutil.copy(blank, tmp_path / 'target.db')}"
    SqlTarget(target).restore(before, ALL, QUIET)
    ours, theirs = rows(target), rows(uri)
    content = [row.pop("content") for row in (*ours["spans"], *theirs["spans"])]
    assert json.loads(content[0]) == json.loads(content[1])  # the upgrade leaves the escapes of letters
    assert ours == theirs


TEXTS = st.sampled_from(["yes", "No ", "", "x", "1"])
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.lists(st.integers(), max_size=1))
USAGE = st.one_of(
    st.dictionaries(st.sampled_from([*TOKEN_COLUMNS, *COST_COLUMNS, "other"]), VALUES).map(json.dumps),
    st.sampled_from(["", "no JSON", "[1]", "null"]),
)


@pytest.mark.parametrize("revision", ["0584bdc529eb", "bda7b8c39065"])
def test_a_store_before_assessments_and_spans_had_tables(revision: str, tmp_path: Path) -> None:
    """MLflow 2.22 and 3.1 keep spans as artifacts, and have no assessments."""
    path = tmp_path / "old.db"
    begin_store_at(path, revision)
    change(
        path,
        "INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (1, 'old', 'active')",
        "INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, status) VALUES ('tr-1', 1, 5, 'OK')",
        "INSERT INTO trace_tags (request_id, key, value) VALUES ('tr-1', 'mlflow.traceName', 'question')",
    )
    saved = backup(f"sqlite:///{path}", tmp_path / "backups")
    (found,) = saved.records(TRACES)
    assert (found.trace_id, found.tags, found.assessments) == ("tr-1", {"mlflow.traceName": "question"}, ())
    target = f"sqlite:///{tmp_path / 'new.db'}"
    SqlTarget(target).restore(saved, ALL, QUIET)
    assert_proven(target, saved)


@examples(200)
@given(USAGE, USAGE, st.text(max_size=250))
def test_columns_are_made_as_mlflow_makes_them(usage: str, cost: str, session: str) -> None:
    metadata = {SESSION: session, "mlflow.trace.tokenUsage": usage, "mlflow.trace.cost": cost}
    found = dict(zip(("trace_name", "session_id", *TOKEN_COLUMNS, *COST_COLUMNS), _analytics(metadata), strict=True))
    expected = trace_analytics.analytics_columns_from_metadata(metadata)
    names = ("session_id", *TOKEN_COLUMNS, *COST_COLUMNS)
    assert {name: found[name] for name in names} == {name: expected.get(name) for name in names}

    class Row:
        pass

    row = Row()
    row.__dict__.update(found)
    assert told(found) == trace_analytics.compatibility_metadata_from_columns(row)


def _analytics(metadata: dict[str, str]) -> tuple[Any, ...]:
    return analytics(Trace(trace_id="t", experiment_id="0", timestamp=0, state="OK", metadata=metadata))


@examples(200)
@given(VALUES)
def test_assessments_are_counted_as_mlflow_counts_them(value: Any) -> None:
    assert repr(aggregate(value)) == repr(trace_analytics.assessment_aggregate(value))


def test_spans_of_several_traces_are_read_as_memory_allows(
    traced: Path, snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "BYTES_AT_ONCE", 100)
    assert digests(backup(f"sqlite:///{traced}", tmp_path / "a")) == digests(snapshot)


def test_from_and_into_an_mlflow_without_spans_and_assessments(
    snapshot: Snapshot, store: Path, blank: Path, tmp_path: Path
) -> None:
    change(store, "DROP TABLE spans", "DROP TABLE assessments")
    found = [one for one in records_of(f"sqlite:///{store}") if isinstance(one, Trace)]
    assert [one.assessments for one in found] == [(), ()]
    path = Path(shutil.copy(blank, tmp_path / "target.db"))
    change(path, "DROP TABLE spans", "DROP TABLE assessments")
    uri = f"sqlite:///{path}"
    with pytest.raises(RestoreError, match="has no table assessments"):
        SqlTarget(uri).restore(snapshot, ALL, QUIET)
    report = SqlTarget(uri, RestoreOptions(on_conflict="skip")).restore(snapshot, ALL, QUIET)
    assert report.created["traces"] == 2
    assert sorted((one.kind, one.id) for one in report.refused) == [
        ("assessments", "of 2 traces"),
        ("spans", "of 2 traces"),
    ]
    assert proof_of(uri, snapshot, report=report).is_equal
    assert [one for one in records_of(uri) if isinstance(one, Trace)] == found
