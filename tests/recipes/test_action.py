"""action.yml and the workflows that use it: their scripts are run for real, by bash, as GitHub's runner does."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml

import mlmeta
from tests.recipes.actions import ROOT, use
from tests.support.databases import Databases
from tests.support.serving import listening

WORKFLOWS = sorted((ROOT / "recipes" / "github").glob("*.yml"))
BUCKET = "gs://your-bucket/mlflow"
HOSTILE = "a | b\n::error::no\r</td><script>alert(1)</script> `x` [y](http://z) %0A::add-mask::1 \x1b[2J @all"


def steps_of(name: str, storage: str) -> list[dict[str, Any]]:
    """The steps of a workflow that use the action, with another storage in place of the bucket."""
    text = (ROOT / "recipes" / "github" / name).read_text()
    assert BUCKET in text
    (job,) = yaml.safe_load(text.replace(BUCKET, storage))["jobs"].values()
    return [step for step in job["steps"] if step["uses"] == "YOUR-ORG/mlmeta@COMMIT"]


def test_the_workflows_save_and_prove(tmp_path: Path, databases: Databases) -> None:
    storage = tmp_path / "backups"
    (hourly,) = steps_of("backup.yml", str(storage))
    env = dict.fromkeys(hourly["env"], "") | {"MLFLOW_TRACKING_URI": databases.uri("filled")}
    done = use(tmp_path, hourly["with"], env)
    assert done.code == 0, done.log
    (saved,) = mlmeta.list_snapshots(str(storage)).snapshots
    assert done.outputs["timestamp"] == saved.timestamp
    assert (done.outputs["exit-code"], done.outputs["complete"]) == ("0", "true")
    result = json.loads(Path(done.outputs["result"]).read_text())
    assert f"| runs | {result['data']['stats']['runs']} |" in done.summary
    assert "complete (exit code 0)" in done.summary

    drill, age = steps_of("drill.yml", str(storage))
    proved = use(tmp_path, drill["with"], {})
    assert proved.code == 0, proved.log
    assert json.loads(Path(proved.outputs["result"]).read_text())["data"]["snapshots"][0]["drill"]
    assert "records&#44; restored on trial" in proved.summary
    young = use(tmp_path, age["with"], {})
    assert (young.code, young.outputs["complete"]) == (0, "true"), young.log
    assert saved.timestamp in young.summary.replace("&#95;", "_")


def test_what_is_incomplete_fails_or_warns(tmp_path: Path, databases: Databases) -> None:
    storage = tmp_path / "backups"
    mlmeta.backup(databases.uri("filled"), str(storage), label="p")
    given = {"tracking-uri": databases.uri("empty"), "storage": storage, "options": "\n  --label=p\n\n"}
    env = {"MLFLOW_TRACKING_URI": "http://not-this-one"}
    (tmp_path / "mlmeta.toml").write_text('ping = "http://planted"\nno-such-key = 1\n')
    failed = use(tmp_path, given, env)
    assert (failed.code, failed.outputs["exit-code"], failed.outputs["complete"]) == (3, "3", "false"), failed.log
    assert re.fullmatch(r"\d{8}_\d{6}", failed.outputs["timestamp"]), "there is one all the same"
    assert "::error title=mlmeta backup::exit code 3 (incomplete): it has" in failed.log
    assert "- shrunken" in failed.summary
    begun, ended = re.findall(r"^::(?:stop-commands::)?([0-9a-f]{32})(?:::)?$", failed.log, re.MULTILINE)
    assert begun == ended
    warned = use(tmp_path, {**given, "allow-incomplete": "true"}, env)
    assert (warned.code, warned.outputs["exit-code"], warned.outputs["complete"]) == (0, "3", "false")
    assert "::warning title=mlmeta backup::exit code 3" in warned.log


def test_a_failure_is_one(tmp_path: Path) -> None:
    nowhere = use(tmp_path, {"tracking-uri": f"sqlite:///{tmp_path}/none.db"}, {})
    assert (nowhere.code, nowhere.outputs["timestamp"]) == (2, "")
    assert "::error title=mlmeta::storage is needed" in nowhere.log
    given = {"tracking-uri": f"sqlite:///{tmp_path}/none.db", "storage": tmp_path / "backups", "allow-incomplete": True}
    failed = use(tmp_path, given, {})
    assert (failed.code, failed.outputs["exit-code"], failed.outputs["complete"]) == (1, "1", "false")
    assert "no database" in failed.log
    assert "failed (exit code 1)" in failed.summary


def test_a_cancelled_workflow_ends_at_once(tmp_path: Path) -> None:
    class Silent(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (tmp_path / "asked").touch()
            self.rfile.read()

        do_GET = do_POST

    with listening(Silent) as address:
        given = {"tracking-uri": f"http://{address}", "storage": tmp_path / "backups", "options": "--verbose"}
        ended = use(tmp_path, given, {}, stop_at="::stop-commands::")
    assert ended.code in {130, 143}, ended.log
    assert ended.outputs["complete"] == "false"
    assert not list(tmp_path.glob("backups/*"))


def test_names_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("step", ROOT / "recipes" / "github" / "step.py")
    assert spec is not None
    assert spec.loader is not None
    step = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(step)
    data = {"stats": {HOSTILE: 1}, "timestamp": HOSTILE, "storages": [HOSTILE]}
    document = {"data": data, "errors": [{"code": HOSTILE, "message": HOSTILE}] * 60, "warnings": [HOSTILE]}
    lines = list(step.summary("backup", document, 3))
    assert all("\n" not in line and "\r" not in line and "\x1b" not in line for line in lines)
    assert not re.search(r"[<>`\[\]@]", "".join(lines))
    assert lines.count("- and 10 more") == 1
    step.annotate("error", "backup", document, 3)
    (said,) = capsys.readouterr().out.splitlines()
    assert said.startswith("::error title=mlmeta backup::exit code 3 (incomplete): a | b ::error::no")
    assert "%0A" not in said.replace("%25", "")
    assert next(iter(step.outputs(document, 3, Path("r")))) == "timestamp="
    assert list(step.summary("backup", {}, 137)) == ["### mlmeta backup: failed (exit code 137)", ""]


def test_expressions_stay_out_of_scripts() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert not [step["name"] for step in action["runs"]["steps"] if "${{" in step["run"]]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the action and the workflows of the recipes, where placeholders have values."""
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    for workflow in WORKFLOWS:
        text = workflow.read_text().replace("YOUR-ORG/mlmeta@COMMIT", f"your-org/mlmeta@{'0123456789' * 4}")
        (folder / workflow.name).write_text(text)
    shutil.copy(ROOT / "action.yml", tmp_path)
    return tmp_path


def test_they_are_what_github_expects(repository: Path) -> None:
    tool = Path(sys.executable).with_name("check-jsonschema")
    workflows = map(str, repository.glob(".github/workflows/*"))
    for schema, files in (("actions", ["action.yml"]), ("workflows", list(workflows))):
        command = [tool, "--builtin-schema", f"vendor.github-{schema}", *files]
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_zizmor_finds_nothing(repository: Path) -> None:
    command = [Path(sys.executable).with_name("zizmor"), "--offline", "--persona=auditor", "--no-progress", "."]
    env = {"PATH": os.environ["PATH"], "HOME": str(repository)}
    done = subprocess.run(command, cwd=repository, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count("completed") == 1 + len(WORKFLOWS)
