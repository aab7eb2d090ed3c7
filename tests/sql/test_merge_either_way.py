"""Whatever two stores have in common: merged into the one or into the other, the runs are the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlmeta.schema import EXPERIMENTS, RUNS, Record, canonical
from mlmeta.snapshot.reader import Snapshot, open_snapshot
from mlmeta.storage import LocalStorage
from mlmeta.stores.sql.restorer import SqlTarget
from mlmeta.stores.target import MERGE, Report, RestoreOptions
from tests.builders.snapshots import T, experiment, history, run, write
from tests.builders.strategies import CROWDED_POINTS
from tests.sql.helpers import ALL, QUIET, backup, dump
from tests.support.examples import examples

WAY = RestoreOptions(on_conflict=MERGE, undelete=True)
KEYS = st.sampled_from(["a", "b", "é"])
WORDS = st.sampled_from(["", "1", "2"])
_POINT = ("step", "timestamp", "value")

_states = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["RUNNING", "FINISHED", "FAILED"]),
        "end_time": st.sampled_from([None, T + 1, T + 2]),
        "lifecycle_stage": st.sampled_from(["active", "active", "deleted"]),
        "run_name": st.sampled_from([None, "one", "other"]),
        "params": st.dictionaries(KEYS, WORDS, max_size=2),
        "tags": st.dictionaries(KEYS, WORDS, max_size=2),
        "points": st.dictionaries(KEYS, st.lists(CROWDED_POINTS, min_size=1, max_size=4), max_size=2),
    }
)
_stores = st.tuples(
    st.permutations(["churn", "fraud", "spam"]),  # by number: 1, 2, 3
    st.dictionaries(st.sampled_from([("c" * 32, "churn"), ("d" * 32, "spam"), ("e" * 32, "fraud")]), _states),
)


def records(names: list[str], runs: dict[tuple[str, str], dict[str, Any]]) -> Iterator[Record]:
    """A store in which an experiment has the number of its place."""
    for number, name in enumerate(names, start=1):
        yield experiment(number, name, creation_time=number * 1000 + ord(name[0]))
    for (run_id, name), state in runs.items():
        fields = {key: value for key, value in state.items() if key != "points"}
        histories = {key: canonical(points) for key, points in state["points"].items()}
        fields["metrics"] = {key: dict(zip(_POINT, points[-1], strict=True)) for key, points in histories.items()}
        yield run(run_id, str(names.index(name) + 1), artifact_uri=f"gs://b/{run_id}", **fields)
        for key, points in histories.items():
            if len(points) > 1:
                yield history(key, *points, run_id=run_id)


def runs_of(database: Path, folder: Path, named: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """All that a store has of its runs, but their experiments' numbers, and what a merge has named."""
    snapshot = backup(f"sqlite:///{database}", folder)
    names = {one.experiment_id: one.name for one in snapshot.records(EXPERIMENTS)}
    found = {}
    for item in snapshot.led(RUNS):
        own = item.record.model_dump()
        own |= {"experiment_id": names[item.record.experiment_id], "deleted_time": None}
        for run_id, field in named:
            name, _, key = field.partition("[")
            if run_id == item.record.run_id:
                own[name] = None if not key else {k: v for k, v in own[name].items() if k != key[:-1]}
        found[item.record.run_id] = (repr(own), [line.line for line in item.lines])
    return found


def merged(database: Path, snapshot: Snapshot) -> Report:
    return SqlTarget(f"sqlite:///{database}", WAY).restore(snapshot, ALL, QUIET)


@examples(20)
@given(_stores, _stores)
def test_the_runs_are_the_same(blank: Path, one: Any, other: Any) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        places = [LocalStorage(folder / side) for side in ("one", "other")]
        sides = [
            open_snapshot(place, write(Path(place.location), records(*store)))
            for place, store in zip(places, (one, other), strict=True)
        ]
        results, named = [], set()
        for side, first, second in ((0, *sides), (1, *reversed(sides))):
            database = Path(shutil.copy(blank, folder / f"{side}.db"))
            merged(database, first)
            report = merged(database, second)
            assert {refusal.code for refusal in report.refused} <= {"kept"}
            named |= {(refusal.id, refusal.field) for refusal in report.refused}
            before = dump(database)
            again = merged(database, second)
            assert dump(database) == before
            assert (again.created, again.merged) == ({}, {})
            results.append(database)
        found = [runs_of(database, folder / f"found{side}", named) for side, database in enumerate(results)]
        assert found[0] == found[1]
        assert found[0].keys() == {run_id for store in (one, other) for run_id, _ in store[1]}
