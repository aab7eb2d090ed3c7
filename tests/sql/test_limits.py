"""What a target can't hold is known before it is refused: named by plan and restore, and got past by leaving it out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlmeta.commands.restore import restore
from mlmeta.errors import ExitCode, RestoreError
from mlmeta.schema import (
    Dataset,
    DatasetInput,
    LatestMetric,
    LoggedModelMetric,
)
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.sql.database import parse
from mlmeta.stores.sql.restorer import SqlTarget
from mlmeta.stores.sql.schema import ensure_schema
from mlmeta.stores.target import RestoreOptions
from tests.builders.snapshots import experiment, history, logged_model, model, run, snapshot_of, version
from tests.sql.helpers import ALL, QUIET, backup, digests, records_of

GOOD, ODD = "a" * 32, "b" * 32
LONG = "é" * 9_000
LONG_KEY = "k" * 300
POINT = LatestMetric(value=1.0, step=1, timestamp=1)
WORDS = ("tags", "params")

Name = tuple[str, str, str]
"""Kind, id and field of something that is left out."""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A snapshot with something in each place that SQLite holds and others don't."""
    inputs = [
        DatasetInput(dataset=Dataset(name="fine", digest="1", source_type="s", source="x")),
        DatasetInput(dataset=Dataset(name="odd", digest="2" * 40, source_type="s", source="x")),
        DatasetInput(dataset=Dataset(name="tagged", digest="3", source_type="s", source="x"), tags={"k": "v" * 501}),
    ]
    point = LoggedModelMetric(key="m", value=1.0, timestamp=1, step=1, run_id=GOOD)
    records = [
        experiment(1, "e", tags={"fine": "x", LONG_KEY: "x"}),
        experiment(2, "n" * 300),
        run(GOOD, tags={"k": "x" * 8000, "é": "é" * 8000}, params={"p": "1"}, metrics={"m": POINT}),
        run(
            ODD,
            tags={"long": LONG, LONG_KEY: "x", "fine": "x"},
            params={"long": LONG, "fine": "x"},
            metrics={LONG_KEY: POINT, "fine": POINT},
            dataset_inputs=inputs,
        ),
        history("fine", run_id=ODD),
        history(LONG_KEY, run_id=ODD),
        run("c" * 32, run_name="n" * 251),
        run("e" * 32, experiment_id="2"),
        logged_model("m-1", params={LONG_KEY: "x"}, tags={LONG_KEY: "x"}, metrics=[point]),
        logged_model("m-2", metrics=[point.model_copy(update={"key": "k" * 501})]),
        logged_model("m-3", model_type="t" * 501),
        model(name="d" * 300),
        model(
            name="m",
            tags={"long": LONG},
            aliases={"best": 1, "a" * 300: 1, "last": 2**31},
            versions=[version(1, tags={LONG_KEY: "x"}), version(2, source="s" * 501), version(2**31)],
        ),
    ]
    return snapshot_of(records, tmp_path_factory.mktemp("odd"))


LEFT_OUT: set[Name] = {
    ("experiment", "e", f"tags[{LONG_KEY}]"),
    ("experiment", "n" * 300, ""),
    ("run", ODD, "tags[long]"),
    ("run", ODD, f"tags[{LONG_KEY}]"),
    ("run", ODD, "params[long]"),
    ("run", ODD, f"metrics[{LONG_KEY}]"),
    ("run", ODD, "dataset_inputs"),
    ("run", "c" * 32, ""),
    ("runs", "of experiment 2", ""),
    ("logged model", "m-1", f"params[{LONG_KEY}]"),
    ("logged model", "m-1", f"tags[{LONG_KEY}]"),
    ("logged model", "m-2", "metrics"),
    ("logged model", "m-3", ""),
    ("registered model", "d" * 300, ""),
    ("registered model", "m", "tags[long]"),
    ("alias", f"m@{'a' * 300}", f"aliases[{'a' * 300}]"),
    ("alias", "m@last", "aliases[last]"),
    ("model version", "m version 1", f"tags[{LONG_KEY}]"),
    ("model version", "m version 2", ""),
    ("model version", f"m version {2**31}", ""),
}
CREATED = {"experiments": 1, "runs": 2, "logged models": 2, "models": 1, "model versions": 1}


def names(refusals: Any) -> set[Name]:
    return {(r.kind, r.id, r.field) for r in refusals}


@pytest.mark.parametrize("empty", [False, True], ids=["with tables", "without tables"])
@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_what_does_not_fit_is_named_and_left_out(
    kind: str, empty: bool, odd: Snapshot, request: pytest.FixtureRequest
) -> None:
    uri = request.getfixturevalue(kind)()
    if not empty:
        ensure_schema(parse(uri))
    assert names(SqlTarget(uri).plan(odd, ALL, QUIET).conflicts) == LEFT_OUT
    with pytest.raises(RestoreError, match="can't hold everything") as raised:
        SqlTarget(uri).restore(odd, ALL, QUIET)
    assert "--on-conflict skip" in raised.value.hint
    if not empty:
        assert records_of(uri) == []
    plan = SqlTarget(uri, RestoreOptions(on_conflict="skip")).plan(odd, ALL, QUIET)
    assert (names(plan.refused), plan.create) == (LEFT_OUT, CREATED)
    for created in (CREATED, {}):
        result = restore(uri, "latest", odd.storage.location, on_conflict="skip")
        assert {kind: count for kind, count in result.created.items() if count} == created
        assert names(result.refused) == LEFT_OUT
        assert result.exit_code is ExitCode.INCOMPLETE


def test_sqlite_holds_all_of_it(tmp_path: Path) -> None:
    records = [
        experiment(1, "e\0", tags={"t\0": "\0"}),
        run(GOOD, tags={"long": LONG, LONG_KEY: "x"}, params={"p\0": "\0"}, metrics={"m\0": POINT}, run_name="n" * 300),
        model(name="m", versions=[version(2**31, source="s" * 600)]),
    ]
    first = snapshot_of(records, tmp_path / "a")
    SqlTarget(f"sqlite:///{tmp_path}/new.db").restore(first, ALL, QUIET)
    assert digests(backup(f"sqlite:///{tmp_path}/new.db", tmp_path / "b")) == digests(first)


NULS = {
    "experiment": (("experiment", "e\0", ""), experiment(2, "e\0")),
    "tag of an experiment": (("experiment", "f", "tags[k]"), experiment(2, "f", tags={"k": "a\0b"})),
    "key": (("run", ODD, "tags[k\0]"), run(ODD, tags={"k\0": "v"})),
    "value": (("run", ODD, "tags[k]"), run(ODD, tags={"k": "\0"})),
    "param": (("run", ODD, "params[k]"), run(ODD, params={"k": "\0"})),
    "metric": (("run", ODD, "metrics[k\0]"), run(ODD, metrics={"k\0": POINT})),
    "run": (("run", ODD, ""), run(ODD, run_name="\0")),
    "logged model": (("logged model", "m-1", "params[k]"), logged_model("m-1", params={"k": "\0"})),
    "description": (("registered model", "m", ""), model(name="m", description="\0")),
    "version": (("model version", "m version 1", ""), model(name="m", versions=[version(1, description="\0")])),
    "alias": (("alias", "m@a\0", "aliases[a\0]"), model(name="m", versions=[version(1)], aliases={"a\0": 1})),
}


@pytest.fixture(scope="module")
def ready(postgres: Callable[[], str]) -> str:
    """A PostgreSQL database with MLflow's tables, without a row; plans leave it so."""
    uri = postgres()
    ensure_schema(parse(uri))
    return uri


@pytest.mark.parametrize("place", NULS)
def test_a_nul_character_anywhere_is_named_for_postgresql(place: str, ready: str, tmp_path: Path) -> None:
    name, record = NULS[place]
    (conflict,) = SqlTarget(ready).plan(_snapshot_with(record, tmp_path), ALL, QUIET).conflicts
    assert names([conflict]) == {name}
    assert "has a NUL character, which " in conflict.reason


def _snapshot_with(record: Any, folder: Path) -> Snapshot:
    others = [experiment(1, "e")]
    return snapshot_of([*others, record], folder)


def test_mysql_holds_nul_characters(emptied: Callable[[str], str], tmp_path: Path) -> None:
    records = [experiment(1, "e\0"), run(ODD, tags={"k\0": "\0"}, metrics={"m\0": POINT}), model(name="m\0")]
    first = snapshot_of(records, tmp_path / "a")
    uri = emptied("mysql")
    SqlTarget(uri).restore(first, ALL, QUIET)
    assert digests(backup(uri, tmp_path / "b")) == digests(first)


def test_long_text_in_bytes(emptied: Callable[[str], str], tmp_path: Path) -> None:
    fits, not_quite = {"long": "é" * 32_767}, {"long": "é" * 32_768}
    records = [
        experiment(1, "e"),
        logged_model("m-1", tags=fits),
        logged_model("m-2", tags=not_quite),
    ]
    uri = emptied("mysql")
    snapshot = snapshot_of(records, tmp_path / "a")
    (conflict,) = SqlTarget(uri).plan(snapshot, ALL, QUIET).conflicts
    reason = "its tag 'long' takes 65,536 bytes; logged_model_tags.tag_value holds 65,535"
    assert (conflict.id, conflict.reason) == ("m-2", reason)
    assert restore(uri, "latest", snapshot.storage.location, on_conflict="skip").exit_code is ExitCode.INCOMPLETE


EQUAL = {
    "utf8mb4_general_ci": ["val Loss", "val loss", "cafe", "café", "a", "a ", "🚀", "😀"],
    "utf8mb4_unicode_ci": ["val Loss", "val loss", "cafe", "cafe\u0301", "ss", "ß", "a\u200b", "a"],
    "utf8mb4_bin": ["a", "a ", "b", "b  "],
    "utf8mb4_general_nopad_ci": ["val Loss", "val loss"],
}
UNEQUAL = {
    "utf8mb4_bin": ["val Loss", "val loss", "cafe", "café", "🚀", "😀"],
    "utf8mb4_nopad_bin": ["val Loss", "val loss", "a", "a "],
    "utf8mb4_general_nopad_ci": ["a", "a "],
}


@pytest.mark.parametrize("collation", sorted(EQUAL | UNEQUAL))
def test_keys_that_a_collation_calls_equal(collation: str, mysql: Callable[..., str], tmp_path: Path) -> None:
    equal, unequal = EQUAL.get(collation, []), UNEQUAL.get(collation, [])
    keys = dict.fromkeys([*equal, *[f"other {key}" for key in unequal]], "x")
    records = [
        experiment(1, "e", tags=keys),
        run(ODD, tags=keys, params=keys, metrics=dict.fromkeys(keys, POINT)),
        *(history(key, run_id=ODD) for key in sorted(keys)),
        logged_model("m-1", tags=keys, params=keys),
        model(name="m", tags=keys, versions=[version(1, tags=keys)], aliases=dict.fromkeys(keys, 1)),
    ]
    uri = mysql(collation)
    snapshot = snapshot_of(records, tmp_path / "a")
    plan = SqlTarget(uri).plan(snapshot, ALL, QUIET)
    assert len(plan.conflicts) == len(equal) // 2 * 9
    assert all(f"in the collation {collation}" in conflict.reason for conflict in plan.conflicts)
    result = restore(uri, "latest", snapshot.storage.location, on_conflict="skip")
    assert result.exit_code is (ExitCode.INCOMPLETE if equal else ExitCode.DONE)
    assert names(result.refused) == names(plan.conflicts)
    again = restore(uri, "latest", snapshot.storage.location, on_conflict="skip")
    assert (any(again.created.values()), again.exit_code) == (False, result.exit_code)


def test_datasets_and_metrics_of_models_that_a_collation_calls_equal(mysql: Callable[..., str], tmp_path: Path) -> None:
    def used(name: str, digest: str) -> dict[str, Any]:
        return {
            "dataset_inputs": [DatasetInput(dataset=Dataset(name=name, digest=digest, source_type="s", source="x"))]
        }

    point = LoggedModelMetric(key="Loss", value=1.0, timestamp=1, step=1, run_id=GOOD)
    later = [point.model_copy(update={"key": "loss"}), point.model_copy(update={"key": "loss", "step": 2})]
    records = [
        *[experiment(1, "e"), experiment(2, "f")],
        run(GOOD, start_time=1, **used("Iris", "1")),
        run("c" * 32, start_time=2, **used("iris", "2")),
        run(ODD, start_time=3, **used("iris", "1")),
        run("d" * 32, "2", **used("iris", "1")),
        logged_model("m-1", metrics=[point, *later]),
    ]
    uri = mysql("utf8mb4_general_ci")
    snapshot = snapshot_of(records, tmp_path / "a")
    expected = {("run", ODD, "dataset_inputs"), ("logged model", "m-1", "metrics")}
    assert names(SqlTarget(uri).plan(snapshot, ALL, QUIET).conflicts) == expected
    result = restore(uri, "latest", snapshot.storage.location, on_conflict="skip")
    assert (names(result.refused), result.exit_code) == (expected, ExitCode.INCOMPLETE)


def test_names_that_a_collation_calls_equal(mysql: Callable[..., str], tmp_path: Path) -> None:
    uri = mysql("utf8mb4_general_ci")
    SqlTarget(uri).restore(snapshot_of([experiment(7, "Théirs"), model(name="Théirs")], tmp_path / "there"), ALL, QUIET)
    records = [experiment(1, "ours"), experiment(2, "Ours"), experiment(3, "theirs"), run(GOOD), run(ODD, "2")]
    models = [model(name=name, versions=[version(1)]) for name in ("Ours", "ours", "theirs")]
    snapshot = snapshot_of([*records, *models], tmp_path / "a")
    plan = SqlTarget(uri).plan(snapshot, ALL, QUIET)
    expected = {("experiment", "2"), ("experiment", "3"), ("runs", "of experiment 2"), ("model", "ours")}
    assert {(c.kind, c.id) for c in plan.conflicts} == expected | {("model", "theirs")}
    result = restore(uri, "latest", snapshot.storage.location, on_conflict="skip")
    assert {(r.kind, r.id) for r in result.refused} == expected | {("model", "theirs")}
    assert result.created["runs"] == 1
    assert restore(uri, "latest", snapshot.storage.location, on_conflict="rename").created["experiments"] == 2


@pytest.mark.parametrize(
    ("collation", "good", "bad"), [("utf8mb3_bin", "夢", "🚀"), ("latin1_bin", "é€", "夢"), ("ascii_bin", "e", "é")]
)
def test_characters_that_an_encoding_lacks(
    collation: str, good: str, bad: str, mysql: Callable[..., str], tmp_path: Path
) -> None:
    uri = mysql(collation)
    snapshot = snapshot_of([experiment(1, "e"), run(ODD, tags={"good": good, "bad": bad, bad: "x"})], tmp_path / "a")
    plan = SqlTarget(uri).plan(snapshot, ALL, QUIET)
    assert names(plan.conflicts) == {("run", ODD, "tags[bad]"), ("run", ODD, f"tags[{bad}]")}
    assert restore(uri, "latest", snapshot.storage.location, on_conflict="skip").exit_code is ExitCode.INCOMPLETE
