"""The recipes for workflow frameworks, run by these: the pipeline's own result counts, and a failed backup is seen.

`make test-recipes` makes the environments; without them, the tests are skipped.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import mlmeta
from tests.builders.tracking import tracking
from tests.recipes.environments import FRAMEWORKS, ROOT, python_of
from tests.support.databases import Databases

RECIPES = ROOT / "recipes"
FILES = {"airflow": "dag", "dagster": "definitions", "kedro": "hooks", "prefect": "flow", "zenml": "pipeline"}
PATIENCE = 600
pytestmark = pytest.mark.timeout(4 * PATIENCE)
LOGGED = re.compile(r"^( *)mlflow\.log_metric\(.*\)$", re.MULTILINE)
DELAY = re.compile(r"((?:retry_delay_seconds|timedelta\(seconds|max_retries=2, delay)=)30")
"""The waiting between tries is not what is tested."""
FAILURE = "the training failed"
NO_PLACE = "Not a directory"
"""What the storage says of which a file is a part."""
ONE_ENDING = {"kedro", "prefect"}
"""Those whose pipeline ends with the error itself; the others show the state of each step, or run."""
KEDRO = {
    "pyproject.toml": '[tool.kedro]\npackage_name = "demo"\nproject_name = "demo"\nkedro_init_version = "VERSION"\n',
    "conf/base/catalog.yml": "",
    "conf/local/catalog.yml": "",
    "src/demo/__init__.py": "",
    "src/demo/settings.py": "from demo.hooks import BackUpMlflow\n\nHOOKS = (BackUpMlflow(),)\n",
    "src/demo/pipeline_registry.py": """
import mlflow
from kedro.pipeline import node, pipeline

def train():
    with mlflow.start_run():
        mlflow.log_metric("loss", 0.5)
    return 1

def register_pipelines():
    return {"__default__": pipeline([node(train, None, "model")])}
""",
}
AIRFLOW = """
import sys
from dag import training
run = training().test()
print("state:", run.state)
sys.exit(run.state != "success")
"""
DAGSTER = """
import sys
import dagster as dg
import definitions as recipe

ended = {"DagsterEventType.RUN_SUCCESS": "success", "DagsterEventType.RUN_FAILURE": "failure"}

def sensed(instance, result):
    "What the sensors ask for after a run: its status decides which of them the daemon would call."
    event = next(e for e in reversed(result.all_events) if str(e.event_type) in ended)
    name = f"mlflow_backup_after_{ended[str(event.event_type)]}"
    (sensor,) = (one for one in recipe.defs.sensors if one.name == name)
    context = dg.build_run_status_sensor_context(name, event, instance, result.dagster_run)
    return sensor(context)

with dg.DagsterInstance.local_temp() as instance:
    run = recipe.training.execute_in_process(instance=instance, raise_on_error=False)
    assert isinstance(sensed(instance, run), dg.RunRequest)
    backup = recipe.mlflow_backup.execute_in_process(instance=instance, raise_on_error=False)
    assert isinstance(sensed(instance, backup), dg.SkipReason)
    print("training:", run.success, "backup:", backup.success)
    sys.exit(not (run.success and backup.success))
"""
NOTEBOOK = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
nbformat.validate(notebook)
NotebookClient(notebook, kernel_name="python3").execute()
for cell in notebook.cells:
    for output in cell.get("outputs", ()):
        print(output.get("data", output))
"""
COMMANDS = {
    "airflow": ("driver.py",),
    "dagster": ("driver.py",),
    "kedro": ("-m", "kedro", "run"),
    "prefect": ("flow.py",),
    "zenml": ("pipeline.py",),
}
BEFORE = {"airflow": ("-m", "airflow", "db", "migrate")}
QUIET = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    "DO_NOT_TRACK": "1",
    "KEDRO_DISABLE_TELEMETRY": "1",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "200",
    "PYTHONPATH": "",
    "ZENML_ANALYTICS_OPT_IN": "false",
}


@dataclass
class Pipeline:
    """What came of a pipeline."""

    code: int
    log: str
    statuses: list[str]
    """Of the runs in the newest snapshot; empty: there is none."""


@dataclass
class Runner:
    """Runs the recipe for a framework."""

    name: str
    python: Path
    folder: Path

    def run(self, store: str, *, fails: bool, storage: Path) -> Pipeline:
        """Run a pipeline whose one step logs a run, in a folder of its own."""
        folder = self.folder / f"{fails}-{storage.name}"
        self._write(folder, fails=fails)
        env = {
            **os.environ,
            **QUIET,
            "HOME": str(folder),
            "PATH": f"{self.python.parent}:{os.environ['PATH']}",
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
            "PREFECT_HOME": str(folder / "prefect"),
            "ZENML_CONFIG_PATH": str(folder / "zenml"),
            "MLFLOW_TRACKING_URI": store,
            "MLMETA_STORAGE": str(storage),
        }
        for arguments in filter(None, (BEFORE.get(self.name), COMMANDS[self.name])):
            log = folder / "log"
            with log.open("w") as out:
                command = [self.python, *arguments]
                done = subprocess.run(
                    command, cwd=folder, env=env, stdout=out, stderr=out, timeout=PATIENCE, check=False
                )
        statuses = [run.status for run in mlmeta.open_snapshot(storage).runs()] if storage.is_dir() else []
        return Pipeline(done.returncode, log.read_text(), statuses)

    def _write(self, folder: Path, *, fails: bool) -> None:
        recipe = FILES[self.name]
        files = {f"{recipe}.py": (RECIPES / self.name / f"{recipe}.py").read_text()}
        if self.name == "kedro":
            version = FRAMEWORKS["kedro"][0].partition("==")[2]
            files = {"src/demo/hooks.py": files["hooks.py"], **KEDRO}
            files["pyproject.toml"] = files["pyproject.toml"].replace("VERSION", version)
        files |= {"driver.py": {"airflow": AIRFLOW, "dagster": DAGSTER}.get(self.name, "")}
        if fails:
            broken = rf'\g<0>\n\1raise ValueError("{FAILURE}")'
            files = {name: LOGGED.sub(broken, text) for name, text in files.items()}
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(DELAY.sub(r"\g<1>0", text))


@pytest.fixture(params=sorted(FILES))
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Runner:
    """The recipe for each framework that has an environment."""
    python = python_of(request.param)
    if python is None:
        pytest.skip(f"no environment of {request.param}: `make test-recipes` makes it")
    return Runner(request.param, python, tmp_path)


def test_the_backup_follows_the_pipeline(runner: Runner, databases: Databases, tmp_path: Path) -> None:
    store = databases.copy("empty", tmp_path / "mlflow.db")
    went_well = runner.run(store, fails=False, storage=tmp_path / "backups")
    assert (went_well.code, went_well.statuses) == (0, ["FINISHED"]), went_well.log
    failed = runner.run(store, fails=True, storage=tmp_path / "backups")
    assert failed.code != 0, failed.log
    assert sorted(failed.statuses) == ["FAILED", "FINISHED"], failed.log
    assert FAILURE in failed.log
    assert len(mlmeta.list_snapshots(str(tmp_path / "backups")).snapshots) == 2, "one for each run of the pipeline"


def test_a_failed_backup_is_seen_and_hides_nothing(runner: Runner, databases: Databases, tmp_path: Path) -> None:
    store = databases.copy("empty", tmp_path / "mlflow.db")
    (tmp_path / "file").touch()
    unsaved = runner.run(store, fails=False, storage=tmp_path / "file" / "backups")
    assert NO_PLACE in unsaved.log
    assert (unsaved.code == 0) == (runner.name == "zenml"), "ZenML gives a hook's failure to its log alone"
    both = runner.run(store, fails=True, storage=tmp_path / "file" / "backups")
    assert both.code != 0
    assert NO_PLACE in both.log
    ending = both.log[both.log.rindex(NO_PLACE) :] if runner.name in ONE_ENDING else both.log
    assert FAILURE in ending


def test_headers_name_what_is_installed() -> None:
    for name, (requirement, *_) in FRAMEWORKS.items():
        text = "".join(path.read_text() for path in (RECIPES / name).iterdir())
        version = requirement.partition("==")[2]
        assert re.search(rf"[Tt]ried with \w+ {re.escape(version)}\b", text), name


def test_the_notebook_runs(databases: Databases, tmp_path: Path) -> None:
    python = python_of("notebook")
    if python is None:
        pytest.skip("no environment of notebook: `make test-recipes` makes it")
    store = databases.copy("empty", tmp_path / "mlflow.db")
    env = {
        **os.environ,
        "HOME": str(tmp_path),
        "MLFLOW_TRACKING_URI": store,
        "MLMETA_STORAGE": str(tmp_path / "backups"),
    }
    (tmp_path / "driver.py").write_text(NOTEBOOK)
    notebook = RECIPES / "notebook" / "backup.ipynb"
    ran = subprocess.check_output([python, "driver.py", notebook], cwd=tmp_path, env=env, text=True, timeout=PATIENCE)
    saved = [run.status for run in mlmeta.open_snapshot(tmp_path / "backups").runs()]
    assert saved == ["FINISHED"]
    assert "BackupResult" in ran
    assert "19    0.050000" in ran


def test_the_notebook_is_as_it_should_be(databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells, without Jupyter."""
    store = databases.copy("empty", tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("MLMETA_STORAGE", str(tmp_path / "backups"))
    notebook = json.loads((RECIPES / "notebook" / "backup.ipynb").read_text())
    names: dict[str, Any] = {}
    with tracking(store):
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                assert not cell["outputs"]
                exec("".join(cell["source"]), names)
    assert names["runs"]["metrics.loss"].tolist() == [0.05]
    assert len(names["loss"].step) == 20


def test_the_index_names_all_recipes() -> None:
    index = (ROOT / "docs" / "how-to" / "recipes.md").read_text()
    helpers = {"step.py", "Dockerfile.dockerignore", "mlmeta-backup.timer"}
    tracked = [path for path in RECIPES.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    missing = [path for path in tracked if path.name not in helpers and f"`{path.relative_to(ROOT)}`" not in index]
    assert not missing
