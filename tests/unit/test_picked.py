"""Single runs and models of a snapshot: what a person's words name, and what that needs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mlmeta.errors import UnknownRecordError, UsageError
from mlmeta.schema import EXPERIMENTS, LOGGED_MODELS, MODELS, ROWS, RUNS, TRACES, Row, Selection
from mlmeta.snapshot.reader import Snapshot, open_snapshot
from mlmeta.snapshot.selected import Selected
from mlmeta.storage import LocalStorage
from tests.builders.snapshots import experiment, logged_model, model, run, trace, version, write

A, B, C, D, E = ("a1" + "0" * 30, "a2" + "0" * 30, "b1" + "0" * 30, "c1" + "0" * 30, "d1" + "0" * 30)


def _run(run_id: str, name: str, experiment_id: str = "1", parent: str = "", **more: object) -> Any:
    tags = {"mlflow.parentRunId": parent} if parent else {}
    return run(run_id, experiment_id, run_name=name, tags=tags, **more)


def _link(trace_id: str, run_id: str) -> Row:
    ends = {"source_type": "trace", "source_id": trace_id, "destination_type": "run", "destination_id": run_id}
    return Row.model_validate({"table": "entity_associations", "key": {"association_id": trace_id}, "row": ends})


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A is in B; C is the run of a version, and uses a model that D made; E is somebody else's."""
    folder = tmp_path_factory.mktemp("picked")
    records = [
        *(experiment(1, "churn"), experiment(2, "other"), experiment(3, "prices", workspace="team")),
        *(_run(A, "fold", parent=B), _run(B, "sweep"), _run(D, "trained", "2"), _run(E, "prices", "3")),
        _run(C, "final", model_inputs=[{"model_id": "m-d"}], parent=B),
        logged_model("m-d", "2", source_run_id=D),
        logged_model("m-c", source_run_id=C),
        logged_model("m-nobody"),
        *(trace("tr-made", metadata={"mlflow.sourceRun": A}), trace("tr-linked"), trace("tr-other")),
        *(_link("tr-linked", A), _link("tr-other", E)),
        model(version(1), version(2, run_id=C, source="models:/m-c"), version(4), name="clf", aliases={"x": 2, "y": 4}),
        model(version(1, run_id=E), name="clf", workspace="team"),
        model(version(1), name="a@b"),
    ]
    stamp = write(folder, records, tables={"entity_associations": 2})
    return open_snapshot(LocalStorage(folder), stamp)


def meant(snapshot: Snapshot, **words: Any) -> dict[str, set[str]]:
    """The keys of what a selection means, by kind; kinds of which it means nothing are left out."""
    selected = Selected(snapshot, Selection(**words))
    kinds = (EXPERIMENTS, RUNS, LOGGED_MODELS, TRACES, MODELS, ROWS)
    found = {kind.name: {kind.key(one) for one in selected.records(kind)} for kind in kinds}
    return {name: keys for name, keys in found.items() if keys}


def test_a_run_comes_with_what_it_needs_and_with_what_was_made_in_it(snapshot: Snapshot) -> None:
    assert meant(snapshot, runs="a1") == {
        "experiments": {"1"},
        "runs": {A, B},
        "traces": {"tr-made", "tr-linked"},
        "rows": {"entity_associations tr-linked"},
    }
    upstream = {"experiments": {"1", "2"}, "runs": {B, C, D}, "logged_models": {"m-d", "m-c"}}
    assert meant(snapshot, runs=[f"runs:/{C}"]) == upstream
    assert meant(snapshot, runs=B) == {"experiments": {"1"}, "runs": {B}}
    nested = meant(snapshot, runs=B, children=True)
    assert nested["runs"] == {A, B, C, D}
    assert nested["traces"] == {"tr-made", "tr-linked"}
    assert meant(snapshot, runs="a1", without="traces") == {"experiments": {"1"}, "runs": {A, B}}


def test_a_model_comes_with_its_runs_as_a_whole_or_with_a_version(snapshot: Snapshot) -> None:
    words: dict[str, Any] = {"workspaces": "default"}
    upstream = {"experiments": {"1", "2"}, "runs": {B, C, D}, "logged_models": {"m-d", "m-c"}, "models": {"clf"}}
    assert meant(snapshot, models="clf", **words) == upstream
    assert meant(snapshot, models="models:/clf/2", **words) == upstream
    assert meant(snapshot, models="prompts:/clf/2", **words) == upstream
    assert meant(snapshot, models="clf/1", **words) == {"models": {"clf"}}
    assert meant(snapshot, models="clf", only="models", **words) == {"models": {"clf"}}
    assert meant(snapshot, models="team/clf") == {"experiments": {"3"}, "runs": {E}, "models": {"team/clf"}}
    assert meant(snapshot, models="a@b") == {"models": {"a@b"}}


@pytest.mark.parametrize(
    ("named", "versions", "aliases"),
    [
        (["clf"], [1, 2, 4], {"x": 2, "y": 4}),
        (["clf/1"], [1], {}),
        (["clf/4"], [4], {"y": 4}),
        (["clf@y", "clf/1"], [1, 4], {"y": 4}),
        (["clf/1", "clf"], [1, 2, 4], {"x": 2, "y": 4}),
    ],
)
def test_of_a_model_only_what_is_named(
    snapshot: Snapshot, named: list[str], versions: list[int], aliases: dict[str, int]
) -> None:
    selected = Selected(snapshot, Selection(models=named, workspaces="default"))  # type: ignore[arg-type]
    (found,) = selected.models()
    assert ([one.version for one in found.versions], found.aliases) == (versions, aliases)
    assert selected.whole(found).aliases == {"x": 2, "y": 4}


@pytest.mark.parametrize(
    ("words", "error", "message", "hint"),
    [
        ({"runs": "a"}, UsageError, f"2 runs .* begin with 'a': {A} .fold., {B} .sweep.", "write more"),
        ({"runs": "a19"}, UnknownRecordError, "has no run 'a19'", "--experiment NAME"),
        ({"runs": "b10009"}, UnknownRecordError, "has no run 'b10009'", f"nearest are: {C} .final."),
        ({"runs": "sweep"}, UnknownRecordError, "has no run 'sweep'", f"name of {B} .*give the id"),
        ({"runs": ""}, UsageError, "the id of a run is empty", "beginning"),
        ({"models": "cfl"}, UnknownRecordError, "has no model 'cfl'", "it has: clf"),
        ({"models": "a@b@c"}, UnknownRecordError, "'a@b' .* has no alias 'c'", "it has: none"),
        ({"models": "team/clf/3"}, UnknownRecordError, "'team/clf' .* has no version '3'", "it has: 1"),
        ({"models": "clf"}, UsageError, "several workspaces have a model 'clf': default, team", "--workspace"),
        ({"runs": E, "workspaces": "default"}, UnknownRecordError, "has no run", ""),
    ],
)
def test_what_names_nothing_or_too_much(
    snapshot: Snapshot, words: dict[str, Any], error: type[UsageError], message: str, hint: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        Selected(snapshot, Selection(**words))
    assert type(raised.value) is error
    assert re.search(hint, raised.value.hint), raised.value.hint
