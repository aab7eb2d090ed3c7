"""One record that a server refuses costs only itself: it is named, before and after, and all the rest arrives."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmeta import restore
from mlmeta.commands.restore import RestoreResult
from mlmeta.schema import Dataset, DatasetInput, LatestMetric, LoggedModel, LoggedModelMetric, MetricHistory, Record
from tests.builders import snapshots as made
from tests.support.plain import plain, rows
from tests.support.restoring import restore_as_planned
from tests.support.server import Server

BAD = "a#b"
"""MLflow takes no such key, and once did."""
TAGS = {"mlflow.runName": "run-a", "mlflow.user": "ada"}


NAMES = {
    "team/churn": False,
    "team:churn": False,
    "..": False,
    "": False,
    "back\\": True,
    "it's\\": True,
    "per%cent%20": True,
    "it's": True,
    "both ' and \"": True,
    "#a?b&c=d;e": True,
    "tab\tline\n": True,
    "模型 é": True,
}
"""Names of models, and whether a server takes them."""


def _restore(server: Server, folder: Path, *records: Record) -> RestoreResult:
    done = restore_as_planned(server, folder, *records)
    assert done.unexplained == ()
    return done


def test_names_of_models(server: Server, tmp_path: Path) -> None:
    models = [made.model(made.version(1), made.version(3), name=name, aliases={"a": 3}) for name in NAMES]
    result = _restore(server, tmp_path, made.experiment(), made.run(), *models)
    assert result.exit_code == 3
    assert {(r.kind, r.id) for r in result.refused} == {
        ("registered model", name) for name, is_taken in NAMES.items() if not is_taken
    }
    found = plain(server.backend)
    assert {name: list(model["versions"]) for name, model in found["models"].items()} == {
        name: [1, 3] for name, is_taken in NAMES.items() if is_taken
    }
    assert list(found["runs"]) == ["run-a"]
    before = rows(server.database)
    assert restore(server.uri, "latest", str(tmp_path)).exit_code == 3
    assert rows(server.database) == before


def test_names_and_locations_of_experiments(server: Server, tmp_path: Path) -> None:
    """Without its experiment a run can't be restored; without its artifact location, an experiment can."""
    names = ["x" * 501, "back\\", "it's", "per%cent", "nul\0", "line\n"]
    experiments = [made.experiment(str(number), name) for number, name in enumerate(names, 1)]
    elsewhere = made.experiment("9", "elsewhere", artifact_location="http://elsewhere/artifacts")
    numbers = (1, 2, 3, 4, 5, 6, 9)
    runs = [made.run(f"{n:032}", str(n), run_name=f"run-{n}", tags={"mlflow.runName": f"run-{n}"}) for n in numbers]
    result = _restore(server, tmp_path, *experiments, elsewhere, *runs)
    assert result.exit_code == 3
    assert {(r.kind, r.id[:32], r.field) for r in result.refused} == {
        ("experiment", "x" * 32, ""),
        ("run", f"{1:032}", ""),
        ("experiment", "elsewhere", "artifact_location"),
    }
    found = plain(server.backend)
    assert set(found["experiments"]) == {"Default", "elsewhere", *names[1:]}
    assert len(found["runs"]) == 6


def test_keys_that_are_not_taken(server: Server, tmp_path: Path) -> None:
    point = LatestMetric(value=1.0, step=0, timestamp=1)
    run = made.run(
        metrics={BAD: point, "early": LatestMetric(value=1.0, step=1, timestamp=5), "fine": point},
        params={BAD: "1", "fine": "1", "x" * 251: "1"},
        tags={**TAGS, BAD: "1", "fine": "1"},
    )
    early = MetricHistory(run_id=run.run_id, key="early", step=[0, 1], timestamp=[-1, 5], value=[1.0, 1.0])
    version = made.version(1, tags={BAD: "1", "fine": "1"})
    model = made.model(version, tags={BAD: "1", "fine": "1"}, aliases={"v1": 1, "good": 1})
    result = _restore(server, tmp_path, made.experiment(tags={BAD: "1", "fine": "1"}), run, early, model)
    assert result.exit_code == 3
    fields = {
        ("made", f"tags[{BAD}]"),
        (run.run_id, f"metrics[{BAD}]"),
        (run.run_id, "metrics[early]"),
        (run.run_id, f"params[{BAD}]"),
        (run.run_id, f"params[{'x' * 251}]"),
        (run.run_id, f"tags[{BAD}]"),
        ("made-model", f"tags[{BAD}]"),
        ("made-model version 1", f"tags[{BAD}]"),
        ("made-model@v1", "aliases[v1]"),
    }
    assert {(r.id, r.field) for r in result.refused} == fields
    found = plain(server.backend)
    restored = found["runs"]["run-a"]
    assert (set(restored["metrics"]), set(restored["params"])) == ({"fine", "early"}, {"fine"})
    assert restored["tags"] == {**TAGS, "fine": "1"}
    assert found["experiments"]["made"][2] == {"fine": "1"}
    assert found["models"]["made-model"]["tags"] == {"fine": "1"}
    assert found["models"]["made-model"]["versions"][1]["tags"] == {"fine": "1"}
    assert found["models"]["made-model"]["aliases"] == {"good": 1}


def test_a_dataset_that_is_not_taken(server: Server, tmp_path: Path) -> None:
    def dataset(name: str) -> DatasetInput:
        return DatasetInput(dataset=Dataset(name=name, digest="d", source_type="local", source="{}"), tags={})

    run = made.run(dataset_inputs=(dataset("fine"), dataset("x" * 501)), params={"lr": "1"})
    result = _restore(server, tmp_path, made.experiment(), run)
    assert result.exit_code == 3
    assert [(r.id, r.field) for r in result.refused] == [(run.run_id, "dataset_inputs")]
    restored = plain(server.backend)["runs"]["run-a"]
    assert (restored["params"], len(restored["inputs"])) == ({"lr": "1"}, 1)


@pytest.mark.parametrize(("name", "key", "is_taken"), [("a/b", "fine", False), ("fine", BAD, True)])
def test_logged_models(server: Server, tmp_path: Path, name: str, key: str, is_taken: bool) -> None:
    more: dict[str, object] = {"status": "READY", "tags": {key: "1"}, "params": {"depth": "3"}}
    model = LoggedModel.model_validate(
        {"model_id": "m-1", "experiment_id": "1", "name": name, "creation_timestamp": 1, "last_updated_timestamp": 1}
        | more
    )
    fine = model.model_copy(update={"model_id": "m-2", "name": "other", "tags": {}})
    result = _restore(server, tmp_path, made.experiment(), made.run(), model, fine)
    assert result.exit_code == 3
    assert [(r.kind, r.id) for r in result.refused] == [("logged model", "m-1")]
    assert result.created["logged models"] == 1 + is_taken


def test_a_metric_of_a_logged_model_whose_run_is_missing(server: Server, tmp_path: Path) -> None:
    metrics = [LoggedModelMetric(key="auc", value=0.5, timestamp=1, step=0, run_id=run) for run in ("a" * 32, "f" * 32)]
    values = {"model_id": "m-1", "experiment_id": "1", "name": "clf", "status": "READY", "metrics": metrics}
    model = LoggedModel.model_validate({**values, "creation_timestamp": 1, "last_updated_timestamp": 1})
    result = _restore(server, tmp_path, made.experiment(), made.run(), model)
    assert result.exit_code == 3
    assert [(refusal.id, refusal.field) for refusal in result.refused] == [("m-1", "metrics")]
