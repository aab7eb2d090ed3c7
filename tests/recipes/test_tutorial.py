"""The tutorial, command by command, with what the page says that each one shows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from mlflow import MlflowClient

from tests.builders.tracking import tracking
from tests.support.cli import Cli
from tests.support.databases import Databases
from tests.support.server import Server

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "first-backup.md"
URI = "http://127.0.0.1:5000"
NOT_MLMETA = {"mkdir", "cd", "rm", "export", "python", "mlflow"}


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of the page, with the lines that it shows."""
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for one in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = one.partition("\n")
            yield command, shown.splitlines()


def alike(lines: list[str]) -> list[str]:
    """Without what differs from one time to the next."""
    text = "\n".join(" ".join(line.split()) for line in lines)
    text = re.sub(r"\d{8}_\d{6}", "TIMESTAMP", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text)
    text = re.sub(r"\d+(\.\d+)? (s|kB)\b", r"N \2", text)
    return [line for line in text.splitlines() if line and not line.startswith("──")]


def ids(text: str) -> dict[str, str]:
    """The ids of runs in the page's table, by the runs' names."""
    return {name: run_id for run_id, name in re.findall(r"^(\w{32})  (lr \S+)", text, re.MULTILINE)}


def train(text: str, uri: str) -> None:
    script = re.search(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert script
    with tracking(uri):
        exec(compile(script[1].replace(URI, uri), PAGE, "exec"), {})


def test_the_tutorial(server: Server, databases: Databases, cli: Cli) -> None:
    text = PAGE.read_text()
    train(text, server.uri)
    client = MlflowClient(server.uri)
    (churn,) = client.search_experiments(filter_string="name = 'churn'")
    own = {run.info.run_name: run.info.run_id for run in client.search_runs([churn.experiment_id])}
    assert own.keys() == ids(text).keys()
    there = {URI: server.uri, **{page[:6]: own[name][:6] for name, page in ids(text).items()}}
    back = {server.uri: URI, **{own[name]: page for name, page in ids(text).items()}}
    done: list[str] = []
    for command, shown in commands(text):
        words = [there.get(word, word) for word in shlex.split(command)]
        if words[0] == "mlmeta":
            finished = cli(*words[1:], env={"MLFLOW_TRACKING_URI": server.uri if "export" in done else None})
            said = finished.out
            for mine, page in back.items():
                said = said.replace(mine, page)
            assert alike(said.splitlines()) == alike(shown), finished
        elif command.startswith("mlflow server") and "rm" in done:  # with the database that was restored
            databases.keep("tutorial", cli.folder / "mlflow.db")
            databases.load("tutorial", server.database)
        elif command.startswith("mlflow runs delete"):
            client.delete_run(own["lr 0.01"])
        done.append(words[0])
    assert set(done) == {*NOT_MLMETA, "mlmeta"}
    assert client.get_run(own["lr 0.01"]).info.lifecycle_stage == "active"
