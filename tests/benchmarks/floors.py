"""The bare minimum that any tool must do on each route, with no processing: what mlmeta is measured against.

`python -m tests.benchmarks.floors ROUTE SOURCE [TARGET]`
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import requests

_JOBS = 8
_SELECTS = (
    "SELECT * FROM runs ORDER BY experiment_id, start_time, run_uuid",
    "SELECT * FROM params ORDER BY run_uuid, key",
    "SELECT * FROM tags ORDER BY run_uuid, key",
    "SELECT * FROM latest_metrics ORDER BY run_uuid, key",
)
_HISTORIES = "SELECT run_uuid, key, step, timestamp, value FROM metrics ORDER BY run_uuid, key, step, timestamp, value"


def server(uri: str) -> None:
    """Page `search_runs`, and ask the bulk history endpoint in threads; replies are thrown away."""
    session = requests.Session()
    found = session.post(f"{uri}/api/2.0/mlflow/experiments/search", json={"max_results": 1000}).json()
    with ThreadPoolExecutor(_JOBS) as pool:
        for experiment in found["experiments"]:
            token = None
            while True:
                body = {"experiment_ids": [experiment["experiment_id"]], "max_results": 1000, "page_token": token}
                page = session.post(f"{uri}/api/2.0/mlflow/runs/search", json=body).json()
                list(pool.map(lambda request: _history(uri, *request), _requests(page.get("runs", []))))
                token = page.get("next_page_token")
                if not token:
                    break


def _requests(runs: list[dict[str, object]]) -> list[tuple[str, list[str]]]:
    keys = sorted({m["key"] for run in runs for m in run["data"].get("metrics", [])})  # type: ignore[attr-defined,index]
    ids = [run["info"]["run_id"] for run in runs]  # type: ignore[index]
    return [(key, ids[start : start + 100]) for key in keys for start in range(0, len(ids), 100)]


def _history(uri: str, key: str, run_ids: list[str]) -> None:
    params = {"run_id": run_ids, "metric_key": key}
    requests.get(f"{uri}/ajax-api/2.0/mlflow/metrics/get-history-bulk", params=params, timeout=300).content  # noqa: B018


def sqlite_read(uri: str, target: str) -> None:
    """A `sqlite3` cursor over the ordered tables to JSON lines, histories grouped into columns."""
    with sqlite3.connect(urlsplit(uri).path[1:]) as connection, Path(target).open("w") as out:
        for select in _SELECTS:
            out.writelines(json.dumps(row) + "\n" for row in connection.execute(select))
        rows = connection.execute(_HISTORIES)
        for (run, key), points in itertools.groupby(rows, key=lambda row: row[:2]):
            _, _, step, timestamp, value = zip(*points, strict=True)
            out.write(json.dumps({"run_id": run, "key": key, "step": step, "timestamp": timestamp, "value": value}))
            out.write("\n")


def sqlite_write(uri: str, target: str) -> None:
    """Bare `executemany` of the same rows into the same schema, in one transaction."""
    path = Path(target)
    path.unlink(missing_ok=True)
    source = sqlite3.connect(urlsplit(uri).path[1:])
    rows = [(name, source.execute(f"SELECT * FROM {name}").fetchall()) for name in _tables(source)]
    schema = source.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
    with sqlite3.connect(path) as copy:
        for (statement,) in schema.fetchall():
            copy.execute(statement)
        copy.execute("BEGIN")
        for name, found in rows:
            if found:
                copy.executemany(f"INSERT INTO {name} VALUES ({','.join('?' * len(found[0]))})", found)


def _tables(connection: sqlite3.Connection) -> list[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    return [name for (name,) in connection.execute(query)]


if __name__ == "__main__":
    {"server": server, "sqlite-read": sqlite_read, "sqlite-write": sqlite_write}[sys.argv[1]](*sys.argv[2:])
