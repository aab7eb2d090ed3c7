"""Recipes for what starts mlmeta by itself: what is valid is checked by tools, and their command lines are run."""

from __future__ import annotations

import fcntl
import re
import shlex
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

import mlmeta
from tests.recipes.environments import ROOT
from tests.support.cli import Cli
from tests.support.databases import Databases

RECIPES = ROOT / "recipes"
BIN = Path(sys.executable).parent
BUCKET = "gs://your-bucket/mlflow"
SYSTEMD = shutil.which("systemd-analyze")
MANIFESTS = sorted((RECIPES / "kubernetes").glob("*.yaml"))


def checked(*command: object) -> str:
    """What a tool says that finds nothing wrong."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def newest(storage: Path) -> str:
    return mlmeta.list_snapshots(str(storage)).snapshots[0].timestamp


class Cron:
    """The file for cron, of a machine where everything is in one folder."""

    def __init__(self, folder: Path) -> None:
        text = (RECIPES / "cron" / "mlmeta").read_text()
        for path, here in {"/etc/mlmeta": folder, "/var/lib/mlmeta": folder, "/opt/mlmeta/bin": BIN}.items():
            assert path in text
            text = text.replace(path, str(here))
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        self.folder = folder
        self.variables = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z]+=", line))
        self.jobs = [line.split(maxsplit=6) for line in lines if not re.match(r"[A-Z]+=", line)]

    def run(self, number: int) -> tuple[int, str]:
        """Run a job as cron does; its exit code, and what would be mailed."""
        command = self.jobs[number][6]
        assert "%" not in command, "cron takes that for a newline"
        env = {**self.variables, "HOME": str(self.folder), "LOGNAME": self.jobs[number][5]}
        shell = [self.variables["SHELL"], "-c", command]
        done = subprocess.run(shell, env=env, cwd=self.folder, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


def test_cron_mails_what_is_wrong_and_nothing_else(tmp_path: Path, databases: Databases) -> None:
    cron = Cron(tmp_path)
    assert [" ".join(job[:6]) for job in cron.jobs] == ["17 * * * * mlmeta", "43 4 * * 1 mlmeta"]
    storage, env = tmp_path / "backups", tmp_path / "backup.env"
    common = f"PYTHONPATH='{ROOT / 'src'}'\nMLMETA_STORAGE='{storage}'\nMLMETA_LABEL=prod\nMLMETA_NO_CONFIG=1\n"
    env.write_text(f"{common}MLFLOW_TRACKING_URI='{databases.uri('filled')}'\n")
    assert cron.run(0) == (0, "")
    assert cron.run(1) == (0, "")
    saved = newest(storage)
    with (tmp_path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert cron.run(0) == (1, ""), "another one runs, and tells of itself"
    assert newest(storage) == saved
    env.write_text(f"{common}MLFLOW_TRACKING_URI='{databases.uri('empty')}'\n")
    code, mail = cron.run(0)
    assert code == 3
    assert "has" in mail
    assert newest(storage) > saved, "it is incomplete, and there"


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units of systemd, with the program that is here."""
    for name in ("mlmeta-backup.service", "mlmeta-backup.timer"):
        text = (RECIPES / "systemd" / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/mlmeta/bin/", f"{BIN}/"))
    return tmp_path


@pytest.mark.skipif(SYSTEMD is None, reason="no systemd-analyze")
def test_systemd_takes_the_units(units: Path) -> None:
    service, timer = units / "mlmeta-backup.service", units / "mlmeta-backup.timer"
    assert checked(SYSTEMD, "verify", "--man=no", service, timer) == ""
    assert "OK" in checked(SYSTEMD, "security", "--offline=true", "--no-pager", "--threshold=20", service)
    (calendar,) = re.findall(r"^OnCalendar=(.*)", timer.read_text(), re.MULTILINE)
    checked(SYSTEMD, "calendar", calendar)


def test_the_unit_saves(units: Path, cli: Cli, databases: Databases) -> None:
    text = (units / "mlmeta-backup.service").read_text()
    ((program, arguments),) = re.findall(r"^ExecStart=(\S+) (.*)", text, re.MULTILINE)
    assert Path(program) == BIN / "mlmeta"
    cli(*shlex.split(arguments), env={"MLFLOW_TRACKING_URI": databases.uri("empty")}).ok()
    assert newest(cli.folder / "backups"), "in the folder that WorkingDirectory= names"


def containers() -> dict[str, dict[str, Any]]:
    """The only container of each workload, by the workload's name; with `pod`, its pod's spec."""
    found = {}
    for manifest in MANIFESTS:
        for one in yaml.safe_load_all(manifest.read_text()):
            spec = one.get("spec", {})
            spec = spec["jobTemplate"]["spec"] if one["kind"] == "CronJob" else spec
            if "template" in spec:
                pod = spec["template"]["spec"]
                (container,) = pod["containers"]
                found[one["metadata"]["name"]] = {**container, "pod": pod}
    return found


def test_kubernetes_takes_the_manifests() -> None:
    assert "warn" not in checked(BIN / "kubernetes-validate", "--strict", "-k", "1.31", *MANIFESTS).lower()
    for name, container in containers().items():
        assert container["securityContext"]["readOnlyRootFilesystem"], name
        assert container["pod"]["securityContext"]["runAsNonRoot"], name
        secret = [one for one in container["env"] if re.search("PASSWORD|USERNAME|PING|TRACKING_URI", one["name"])]
        assert all("secretKeyRef" in one["valueFrom"] for one in secret), name


def test_the_cron_jobs_save_and_prove(cli: Cli, databases: Databases) -> None:
    env: dict[str, str | None] = {"MLFLOW_TRACKING_URI": databases.uri("empty")}
    for name in ("mlmeta-backup", "mlmeta-drill"):
        container = containers()[name]
        assert f"--storage={BUCKET}" in container["args"]
        arguments = [one.replace(BUCKET, "backups") for one in container["args"]]
        cli(*arguments, "--json", env=env).ok()
    assert newest(cli.folder / "backups")


def test_the_guarded_server_has_time_and_room(cli: Cli) -> None:
    server = containers()["mlflow"]
    arguments = server["args"]
    config = cli("config", "--json", *arguments).ok().data
    settings = {one["option"]: one["value"] for one in config["settings"]}
    assert settings["storage"] == [BUCKET] or settings["storage"] == BUCKET
    grace = timedelta(seconds=float(settings["grace"].removesuffix("s")))
    assert timedelta(seconds=server["pod"]["terminationGracePeriodSeconds"]) > grace
    ports = {one["name"]: one["containerPort"] for one in server["ports"]}
    assert f"--listen=:{ports['guard']}" in arguments, "kubelet asks at the address of the pod"
    assert f"--port={ports['http']}" in arguments
    (database,) = (one for one in arguments if one.startswith("--backend-store-uri=sqlite:///"))
    folder = str(Path(database.partition("sqlite:///")[2]).parent)
    assert folder in {one["mountPath"] for one in server["volumeMounts"]}


def test_the_dockerfile_is_as_it_should_be(tmp_path: Path) -> None:
    dockerfile = RECIPES / "docker" / "Dockerfile"
    assert checked(BIN / "hadolint", dockerfile) == ""
    text = dockerfile.read_text()
    ignored, *kept = [line for line in Path(f"{dockerfile}.dockerignore").read_text().splitlines() if line]
    assert ignored == "*"
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    sources = {word for line in copied for word in line.split()}
    assert sources == {line.removeprefix("!") for line in kept if line.startswith("!")}
    assert all((ROOT / source).exists() for source in sources)
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
