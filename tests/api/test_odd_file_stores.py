"""A file store with something odd in it: that is named, and everything else is saved, verifies and restores."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from mlmeta import backup, diff, open_snapshot, verify
from mlmeta.commands.backup import BackupResult
from mlmeta.schema import EXPERIMENTS, METRICS, MODELS, RUNS
from mlmeta.stores.api import entities as convert
from tests.support.cli import Cli

SECRET = "root:x:0:0"


class Store:
    """A `./mlruns` with two experiments, three runs in the first, two models."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        client = MlflowClient(str(folder))
        self.experiment = client.create_experiment("churn", artifact_location="gs://bucket/churn")
        client.set_experiment_tag(self.experiment, "team", "a")
        self.other = client.create_experiment("other")
        self.runs = [self._run(client, number) for number in range(3)]
        client.delete_run(self.runs[2])
        for name in ("churn", "plain"):
            client.create_registered_model(name, tags={"a": "b"})
            client.create_model_version(name, "gs://bucket/model", run_id=self.runs[0], await_creation_for=0)

    def _run(self, client: MlflowClient, number: int) -> str:
        run = client.create_run(self.experiment, start_time=1000 + number, run_name=f"run {number}").info.run_id
        points = [Metric("loss", 1 / (step + 1), 5 + step, step) for step in range(5)]
        client.log_batch(
            run,
            [*points, Metric("val/acc .1-_", float("nan"), 1, -3), Metric("one", 1.5, 7, 2)],
            [Param("lr", "0.1"), Param("text/long", "ä\r\n\u2028 ")],
            [RunTag("note", ""), RunTag("a/b", "c")],
        )
        dataset = Dataset("data", "abc", "local", "{}", schema="{}")
        client.log_inputs(run, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
        client.set_terminated(run, end_time=2000)
        return run

    @property
    def first(self) -> Path:
        """The folder of the first run."""
        return self.folder / self.experiment / self.runs[0]


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Store:
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    return Store(tmp_path_factory.mktemp("files") / "mlruns")


@pytest.fixture
def store(sound: Store, tmp_path: Path) -> Store:
    """One of the test's own."""
    copied = object.__new__(Store)
    copied.__dict__.update(sound.__dict__, folder=tmp_path / "mlruns")
    shutil.copytree(sound.folder, copied.folder)
    return copied


def _saved(store: Store, folder: Path, *, with_drill: bool = False) -> tuple[BackupResult, Any]:
    place = str(folder / "backups")
    result = backup(str(store.folder), [place], with_drill=with_drill)
    assert verify(storage=place).exit_code == 0
    if with_drill:
        assert result.drill is not None
        assert result.drill.is_equal
    return result, open_snapshot(place)


def test_a_sound_one_is_read_as_mlflow_reads_it(sound: Store, tmp_path: Path) -> None:
    result, snapshot = _saved(sound, tmp_path, with_drill=True)
    assert result.exit_code == 0, result.issues
    client = MlflowClient(str(sound.folder))
    found = client.search_runs([sound.experiment], run_view_type=3, order_by=["attributes.start_time ASC"])
    assert [run.to_line() for run in snapshot.records(RUNS)] == [convert.run(run).to_line() for run in found]
    expected = {e.experiment_id: convert.experiment(e) for e in client.search_experiments(3)}
    assert {record.experiment_id: record for record in snapshot.records(EXPERIMENTS)} == expected
    assert [len(line.step) for line in snapshot.records(METRICS)] == [5, 5, 5]
    (model, _) = snapshot.records(MODELS)
    assert (model.name, [version.run_id for version in model.versions]) == ("churn", [sound.runs[0]])


def _append(path: str, content: bytes) -> Callable[[Store], None]:
    return lambda store: (store.first / path).open("ab").write(content) and None  # type: ignore[func-returns-value]


def _link(path: str) -> Callable[[Store], None]:
    def change(store: Store) -> None:
        (store.folder / "../secret").write_text(SECRET)
        (store.first / path).unlink(missing_ok=True)
        (store.first / path).symlink_to(store.folder.parent / "secret")

    return change


def _pipe(path: str) -> Callable[[Store], None]:
    def change(store: Store) -> None:
        (store.first / path).unlink(missing_ok=True)
        os.mkfifo(store.first / path)

    return change


def _folder_link(path: str) -> Callable[[Store], None]:
    def change(store: Store) -> None:
        outside = store.folder.parent / "outside"
        outside.mkdir()
        (outside / "loss").write_text("1 1.0 1\n")
        shutil.rmtree(store.first / path, ignore_errors=True)
        (store.first / path).symlink_to(outside)

    return change


PARTS: dict[str, tuple[Callable[[Store], None], str, str]] = {
    "a half-written line": (_append("metrics/loss", b"17000"), "metric history", "/loss"),
    "NULs": (_append("metrics/loss", b"\0" * 40), "metric history", "/loss"),
    "a step 50.0": (_append("metrics/loss", b"7 1.0 50.0\n"), "metric history", "/loss"),
    "a step of 5,000 digits": (_append("metrics/loss", b"7 1.0 " + b"9" * 5000), "metric history", "/loss"),
    "an empty metric": (
        lambda store: (store.first / "metrics/loss").write_text("") and None,
        "metric history",
        "/loss",
    ),  # type: ignore[func-returns-value]
    "a stray file": (
        lambda store: (store.first / "metrics/.DS_Store").write_bytes(b"\xff") and None,
        "metric history",
        "/.DS_Store",
    ),  # type: ignore[func-returns-value]
    "a metric that is a link": (_link("metrics/loss"), "metric history", "/loss"),
    "a param that is a link": (_link("params/lr"), "run param", "/lr"),
    "a tag that is a link": (_link("tags/note"), "run tag", "/note"),
    "a metric that is a pipe": (_pipe("metrics/loss"), "metric history", "/loss"),
    "a tag that is a pipe": (_pipe("tags/pipe"), "run tag", "/pipe"),
    "metrics that are a link": (_folder_link("metrics"), "metric history", "/."),
    "metrics below that are a link": (_folder_link("metrics/val"), "metric history", "/val"),
    "a tag that is not UTF-8": (_append("tags/note", b"\xff"), "run tag", "/note"),
}


@pytest.mark.parametrize("what", PARTS)
def test_a_part_of_a_run_that_is_odd_costs_that_part(store: Store, tmp_path: Path, what: str) -> None:
    change, kind, end = PARTS[what]
    change(store)
    result, snapshot = _saved(store, tmp_path)
    assert result.exit_code == 3
    (skipped,) = result.skipped
    assert (skipped.kind, skipped.id) == (kind, store.runs[0] + end)
    assert skipped.reason
    runs = list(snapshot.records(RUNS))
    assert [run.run_id for run in runs] == store.runs
    assert runs[1].params["lr"] == "0.1"
    assert SECRET not in "".join(path.read_text() for path in (tmp_path / "backups").iterdir())


def _meta(content: str | None) -> Callable[[Store], None]:
    def change(store: Store) -> None:
        path = store.first / "meta.yaml"
        if content is None:
            path.unlink()
        else:
            path.write_text(content or "")

    return change


def _copied(store: Store) -> None:
    shutil.copytree(store.first, store.first.parent / ("f" * 32))
    shutil.rmtree(store.first)


def _run_link(store: Store) -> None:
    store.first.rename(store.folder.parent / "moved")
    store.first.symlink_to(store.folder.parent / "moved")


RUNS_LOST: dict[str, Callable[[Store], None]] = {
    "an empty meta.yaml": _meta(""),
    "a cut meta.yaml": _meta("artifact_uri: 'gs://buck"),
    "no meta.yaml": _meta(None),
    "a meta.yaml that is a list": _meta("[1, 2]"),
    "a deep meta.yaml": _meta("[" * 100_000),
    "a meta.yaml that is a link": _link("meta.yaml"),
    "a meta.yaml that is a pipe": _pipe("meta.yaml"),
    "a copied folder": _copied,
    "a folder that is a link": _run_link,
}


@pytest.mark.parametrize("what", RUNS_LOST)
def test_a_run_that_is_odd_costs_that_run(store: Store, tmp_path: Path, what: str) -> None:
    RUNS_LOST[what](store)
    result, snapshot = _saved(store, tmp_path)
    assert result.exit_code == 3
    (skipped,) = result.skipped
    assert skipped.kind == "run"
    assert skipped.id in {store.runs[0], "f" * 32}
    assert [run.run_id for run in snapshot.records(RUNS)] == store.runs[1:]
    assert len(list(snapshot.records(MODELS))) == 2


def test_a_run_of_old_that_has_only_a_run_uuid(store: Store, tmp_path: Path) -> None:
    path = store.first / "meta.yaml"
    meta = yaml.safe_load(path.read_text())
    del meta["run_id"]
    path.write_text(yaml.safe_dump({**meta, "run_uuid": store.runs[0], "experiment_id": store.experiment}))
    result, snapshot = _saved(store, tmp_path)
    assert result.exit_code == 0, result.issues
    assert [run.run_id for run in snapshot.records(RUNS)] == store.runs


@pytest.mark.parametrize("where", ["", "experiment"])
@pytest.mark.parametrize("name", [".ipynb_checkpoints", "@eaDir", "lost+found"])
def test_a_stray_folder(store: Store, tmp_path: Path, name: str, where: str) -> None:
    folder = store.folder / (store.experiment if where else "") / name
    folder.mkdir()
    (folder / "file").write_text("x")
    result, snapshot = _saved(store, tmp_path)
    assert result.exit_code == 3
    assert [(skipped.kind, skipped.id) for skipped in result.skipped] == [("folder", name)]
    assert len(list(snapshot.records(RUNS))) == 3


@pytest.mark.parametrize("content", [None, "", "name: 'chu", "experiment_id: '7'\nname: x\n"])
def test_an_experiment_that_is_odd_costs_that_experiment(store: Store, tmp_path: Path, content: str | None) -> None:
    before = tmp_path / "before"
    backup(str(store.folder), [str(before)])
    path = store.folder / store.other / "meta.yaml"
    path.unlink()
    if content is not None:
        path.write_text(content)
    result, snapshot = _saved(store, tmp_path)
    assert result.exit_code == 3
    (skipped,) = result.skipped
    assert (skipped.kind, skipped.id) == ("experiment", store.other)
    assert len(list(snapshot.records(RUNS))) == 3
    changed = diff(storage=str(before), tracking_uri=str(store.folder))
    assert [(one.kind, one.id) for one in changed.unread] == [("experiment", store.other)]


@pytest.mark.parametrize("what", ["no meta.yaml", "a cut meta.yaml", "a link", "a version's pipe"])
def test_a_model_that_is_odd_costs_that_model(store: Store, tmp_path: Path, what: str) -> None:
    folder = store.folder / "models" / "churn"
    if what == "no meta.yaml":
        (folder / "meta.yaml").unlink()
    elif what == "a cut meta.yaml":
        (folder / "meta.yaml").write_text("name: 'chu")
    elif what == "a link":
        (folder / "tags" / "a").unlink()
        (folder / "tags" / "a").symlink_to("/etc/passwd")
    else:
        (folder / "version-1" / "meta.yaml").unlink()
        os.mkfifo(folder / "version-1" / "meta.yaml")
    result, snapshot = _saved(store, tmp_path)
    assert result.exit_code == 3
    assert [(skipped.kind, skipped.id) for skipped in result.skipped] == [("registered model", "churn")]
    assert [model.name for model in snapshot.records(MODELS)] == ["plain"]


def test_a_root_that_is_a_link_is_what_the_user_named(store: Store, cli: Cli) -> None:
    (cli.folder / "linked").symlink_to(store.folder)
    cli("backup", "--tracking-uri", "./linked").ok()


def test_many_odd_things_at_once_restore(store: Store, tmp_path: Path) -> None:
    for what in ("NULs", "a param that is a link", "a tag that is a pipe"):
        PARTS[what][0](store)
    (store.folder / "models" / "plain" / "meta.yaml").write_text("")
    (store.folder / "lost+found").mkdir()
    (store.first.parent / store.runs[1] / "meta.yaml").unlink()
    result, snapshot = _saved(store, tmp_path, with_drill=True)
    assert result.exit_code == 3
    assert len(result.skipped) == 6
    assert [run.run_id for run in snapshot.records(RUNS)] == [store.runs[0], store.runs[2]]
