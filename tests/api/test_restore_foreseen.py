"""What a server won't register is said before: the plan names it, counts it, and ends as the restore does."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlmeta import backup, restore
from tests.builders import snapshots as made
from tests.support.cli import Cli
from tests.support.databases import Databases
from tests.support.plain import plain
from tests.support.server import Server

REFUSED = [
    "mlflow-artifacts:/1/x/artifacts/m",
    "/srv/models/m",
    "./m",
    "file:///srv/m",
    "runs:/{run}/m",
    "models:/m-0123456789abcdef0123456789abcdef",
    "http://elsewhere/m",
    "https://elsewhere/api/2.0/mlflow-artifacts/artifacts/m",
    "gs://bucket/../other",
    "gs://bucket/a/%2e%2e/b",
    "gs://bucket",
    "",
]
TAKEN = [
    "gs://bucket/m",
    "s3://bucket/m/",
    "dbfs:/m",
    "wasbs://c@account.blob.core.windows.net/m",
    "gs://bucket/a b/..c",
    "models:/other/1",
]


def test_sources(server: Server, cli: Cli) -> None:
    """Runs whose artifacts are not known, so that nothing can be re-pointed."""
    run = made.run(artifact_uri=None)
    sources = [source.format(run=run.run_id) for source in (*REFUSED, *TAKEN)]
    versions = [made.version(n, source=source, run_id=run.run_id) for n, source in enumerate(sources, 1)]
    other = made.model(made.version(1, run_id=run.run_id), name="other")
    made.write(cli.folder / "backups", [made.experiment(), run, made.model(*versions), other])
    arguments = ("restore", "--timestamp", "latest", "--tracking-uri", server.uri, "--yes")
    planned, done = cli(*arguments, "--dry-run"), cli(*arguments)
    assert (planned.code, done.code) == (3, 3)
    for outcome in (planned, done):
        said = outcome.out + outcome.err
        assert f"{len(REFUSED)} versions can't be registered through the API: restore into its database" in said
        assert all(f"made-model version {n}" in said for n in range(1, len(REFUSED) + 1))
    numbers = list(plain(server.backend)["models"]["made-model"]["versions"])
    assert numbers == list(range(len(REFUSED) + 1, len(sources) + 1))


@pytest.mark.parametrize("kept", [True, False])
def test_sources_within_their_run(server: Server, databases: Databases, tmp_path: Path, kept: bool) -> None:
    """Where the very run is still there, the server takes its ``mlflow-artifacts:`` and local sources again."""
    client = MlflowClient(server.uri, server.uri)
    client.create_registered_model("made-model")
    for number, root in enumerate((f"file://{server.folder}/artifacts", "mlflow-artifacts:/made"), 1):
        experiment = client.create_experiment(f"made-{number}", root)
        run = client.create_run(experiment, run_name=f"run-{number}").info
        sources = [f"{run.artifact_uri}/m", f"runs:/{run.run_id}/m"]
        for source in sources:
            client.create_model_version("made-model", source, run.run_id, await_creation_for=0)
    backup(server.uri, [str(tmp_path)])
    wanted = plain(server.backend)
    client.delete_registered_model("made-model")
    if not kept:
        databases.load("empty", server.database)
    planned = restore(server.uri, "latest", str(tmp_path), dry_run=True)
    done = restore(server.uri, "latest", str(tmp_path))
    assert planned.exit_code == done.exit_code == (0 if kept else 3)
    assert (plain(server.backend) == wanted) is kept
    assert len(done.refused) == (0 if kept else 4)
