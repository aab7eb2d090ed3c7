"""What others take for the same work. Their packages live in an environment of their own, made on first use."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.benchmarks.measure import ROOT, measure, mlmeta, once, report
from tests.benchmarks.routes import Bench

ENVIRONMENT = ROOT / ".bench"


@cache
def _peer() -> Path:
    """Where mlflow-export-import's commands are; the MLflow version is ours."""
    import mlflow

    tools = ENVIRONMENT / "bin"
    if not (tools / "export-all").exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        packages = ("mlflow-export-import", f"mlflow=={mlflow.__version__}", "setuptools<81", "tabulate")
        subprocess.run([str(tools / "python"), "-m", "pip", "install", "--quiet", *packages], check=True)
    return tools


def export_import(bench: Bench) -> None:
    """mlflow-export-import: a whole server out, and its runs into an empty one, without artifacts."""
    tools, out = _peer(), bench.folder / "exported"
    store = f"sqlite:///{bench.folder / 'peer.db'}"
    artifacts = bench.folder / "artifacts"
    for experiment in range(SIZE_OF[bench.size]):
        (artifacts / str(experiment)).mkdir(parents=True, exist_ok=True)
    once(bench.restore(store, "--no-verify", "--rewrite-artifact-prefix", f"gs://bucket/artifacts={artifacts}"))
    with bench.running(store) as running:

        def command(*words: str) -> list[str]:
            return ["env", f"MLFLOW_TRACKING_URI={running.uri}", str(tools / words[0]), *words[1:]]

        ours, peer = measure(
            bench.fresh(bench.backup(running.uri)),
            bench.fresh(command("export-all", "--output-dir", str(out)), out),
            times=1 if bench.size == "S" else 0,
        )
        report(f"{bench.size}: backup from a server", ours, "mlflow-export-import, export-all", peer, 1 / 20)
    (bench.folder / "target.db").unlink(missing_ok=True)
    target = f"sqlite:///{bench.folder / 'target.db'}"
    with bench.running(target, "--default-artifact-root", str(artifacts)) as running:  # it looks for models there
        experiments = str(out / "experiments")  # its import of models wants their files
        (theirs,) = measure(lambda: command("import-experiments", "--input-dir", experiments), times=0)
    (bench.folder / "target.db").unlink()
    with bench.running(target) as running:
        (ours,) = measure(lambda: bench.restore(running.uri, "--no-verify"), times=0)
    report(f"{bench.size}: restore through the API", ours, "mlflow-export-import, import-experiments", theirs, 1 / 5)


SIZE_OF = {"S": 3, "M": 4, "L": 22}
"""Experiments of each size."""


def migrate_filestore(bench: Bench) -> None:
    """MLflow's own way from ./mlruns into SQLite, beside backup and restore."""
    folder = bench.folder / "mlruns"
    _fill_folder(bench, folder)
    out, copy = bench.folder / "out", bench.folder / "copy.db"

    def ours() -> list[str]:
        shutil.rmtree(out, ignore_errors=True)
        copy.unlink(missing_ok=True)
        first = mlmeta("backup", "--tracking-uri", str(folder), "--storage", str(out), "--quiet")
        second = mlmeta(
            "restore", "--timestamp", "latest", "--storage", str(out), "--tracking-uri", f"sqlite:///{copy}", "--quiet"
        )
        return ["sh", "-c", f"{' '.join(first)} && {' '.join(second)}"]

    def theirs() -> list[str]:
        copy.unlink(missing_ok=True)
        words = ("migrate-filestore", "--source", str(folder), "--target", f"sqlite:///{copy}")
        return [sys.executable, "-m", "mlflow", *words]

    one, other = measure(ours, theirs, times=min(bench.times, 3))
    report(f"{bench.size}: ./mlruns into SQLite, proven", one, "mlflow migrate-filestore", other)


def _fill_folder(bench: Bench, folder: Path) -> None:
    """The store as MLflow's file store keeps it, written through it."""
    script = (
        "import sqlite3, sys, os\n"
        "os.environ['MLFLOW_ALLOW_FILE_STORE'] = 'true'\n"
        "from mlflow import MlflowClient\n"
        "from mlflow.entities import Metric, Param, RunTag\n"
        "db, client = sqlite3.connect(sys.argv[1]), MlflowClient(sys.argv[2])\n"
        "places = {e: client.create_experiment(n) for e, n in"
        " db.execute('SELECT experiment_id, name FROM experiments WHERE experiment_id > 0').fetchall()}\n"
        "for run, place, start, end in db.execute('SELECT run_uuid, experiment_id, start_time, end_time FROM runs'):\n"
        "    new = client.create_run(places[place], start).info.run_id\n"
        "    params = [Param(*row) for row in db.execute('SELECT key, value FROM params WHERE run_uuid = ?', (run,))]\n"
        "    points = [Metric(*row) for row in"
        " db.execute('SELECT key, value, timestamp, step FROM metrics WHERE run_uuid = ?', (run,))]\n"
        "    client.log_batch(new, points, params)\n"
        "    client.set_terminated(new, end_time=end)\n"
    )
    once([sys.executable, "-c", script, str(bench.database), str(folder)])


PEERS = {"export-import": export_import, "migrate-filestore": migrate_filestore}
