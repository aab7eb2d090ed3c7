"""The bare minimum that any tool must do on each route, with no processing: what mlmeta is measured against.

`python -m tests.benchmarks.floors ROUTE SOURCE [TARGET]`
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_JOBS = 8
_SELECTS = (
    "SELECT * FROM runs ORDER BY experiment_id, start_time, run_uuid",
    "SELECT * FROM params ORDER BY run_uuid, key",
    "SELECT * FROM tags ORDER BY run_uuid, key",
    "SELECT * FROM latest_metrics ORDER BY run_uuid, key",
)
_TRACES = (
    "SELECT * FROM trace_info ORDER BY experiment_id, timestamp_ms, request_id",
    "SELECT * FROM trace_tags ORDER BY request_id, key",
    "SELECT * FROM trace_request_metadata ORDER BY request_id, key",
    "SELECT * FROM assessments ORDER BY trace_id, created_timestamp",
)
_SPANS = "SELECT trace_id, span_id, content FROM spans ORDER BY trace_id, start_time_unix_nano, span_id"
_HISTORIES = "SELECT run_uuid, key, step, timestamp, value FROM metrics ORDER BY run_uuid, key, step, timestamp, value"


_own = threading.local()
_API = "/api/2.0/mlflow"
_BULK_POINTS = 24_000


def _session() -> Any:
    """A kept-alive connection for each thread."""
    import requests

    if not hasattr(_own, "session"):
        _own.session = requests.Session()
    return _own.session


def _pages(uri: str) -> Iterator[list[dict[str, Any]]]:
    experiments = _session().post(f"{uri}{_API}/experiments/search", json={"max_results": 1000, "view_type": "ALL"})
    for experiment in experiments.json()["experiments"]:
        token = None
        while True:
            body = {
                "experiment_ids": [experiment["experiment_id"]],
                "max_results": 1000,
                "run_view_type": "ALL",
                "page_token": token,
            }
            page = _session().post(f"{uri}{_API}/runs/search", json=body).json()
            yield page.get("runs", [])
            token = page.get("next_page_token")
            if not token:
                break


def search(uri: str) -> None:
    """Page `search_runs` alone; replies are thrown away."""
    for _ in _pages(uri):
        pass


def client_search(uri: str) -> None:
    """The same through `MlflowClient`, which mlmeta is bound to."""
    from mlflow import MlflowClient
    from mlflow.entities import ViewType

    client = MlflowClient(uri)
    for experiment in client.search_experiments(ViewType.ALL):
        token = None
        while True:
            page = client.search_runs([experiment.experiment_id], "", ViewType.ALL, 1000, page_token=token)
            token = page.token
            if not token:
                break


def server(uri: str) -> None:
    """Page `search_runs`, and ask the bulk history endpoint in threads; replies are thrown away."""
    with ThreadPoolExecutor(_JOBS) as pool:
        asked = [pool.submit(_history, uri, *request) for runs in _pages(uri) for request in _requests(runs)]
        for future in asked:
            future.result()


def _requests(runs: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """As many runs a request as the endpoint takes without cutting its reply."""
    keys = sorted({m["key"] for run in runs for m in run["data"].get("metrics", [])})
    longest = max((int(m["step"]) + 1 for run in runs for m in run["data"].get("metrics", [])), default=1)
    some = max(1, min(100, _BULK_POINTS // longest))
    ids = [run["info"]["run_id"] for run in runs]
    return [(key, ids[start : start + some]) for key in keys for start in range(0, len(ids), some)]


def _history(uri: str, key: str, run_ids: list[str]) -> None:
    params = {"run_id": run_ids, "metric_key": key}
    reply = _session().get(f"{uri}/ajax-api/2.0/mlflow/metrics/get-history-bulk", params=params, timeout=300)
    reply.raise_for_status()


def traces(uri: str) -> None:
    """Page the search for traces, and ask for the spans of each in threads; replies are thrown away."""
    with ThreadPoolExecutor(_JOBS) as pool:
        for future in [pool.submit(_spans, uri, trace_id) for trace_id in _trace_ids(uri)]:
            future.result()


def _trace_ids(uri: str) -> Iterator[str]:
    experiments = _session().post(f"{uri}{_API}/experiments/search", json={"max_results": 1000, "view_type": "ALL"})
    for experiment in experiments.json()["experiments"]:
        where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment["experiment_id"]}}
        body = {"locations": [where], "max_results": 500, "order_by": ["timestamp_ms ASC"]}
        while True:
            page = _session().post(f"{uri}/api/3.0/mlflow/traces/search", json=body).json()
            yield from (trace["trace_id"] for trace in page.get("traces", ()))
            body["page_token"] = page.get("next_page_token")
            if not body["page_token"]:
                break


def _spans(uri: str, trace_id: str) -> None:
    address = f"{uri}/ajax-api/2.0/mlflow/get-trace-artifact"
    _session().get(address, params={"request_id": trace_id}, timeout=300).raise_for_status()


def api_write(uri: str, source: str, jobs: str = "6") -> None:
    """Bare `create_run` and `log_batch` in threads: experiments, runs with params, tags and all points, end times."""
    db = sqlite3.connect(urlsplit(source).path[1:])
    places = {}
    for experiment_id, name in db.execute("SELECT experiment_id, name FROM experiments WHERE experiment_id > 0"):
        reply = _session().post(f"{uri}{_API}/experiments/create", json={"name": name})
        places[experiment_id] = reply.json()["experiment_id"]
    runs = db.execute("SELECT run_uuid, experiment_id, name, start_time, end_time, status FROM runs").fetchall()
    with ThreadPoolExecutor(int(jobs)) as pool:
        waiting = []
        for run in runs:
            content = [
                _items(db, "params", "key, value", run[0], ("key", "value")),
                _items(db, "tags", "key, value", run[0], ("key", "value")),
                _items(db, "metrics", "key, value, timestamp, step", run[0], ("key", "value", "timestamp", "step")),
            ]
            waiting.append(pool.submit(_write_run, uri, places[run[1]], run, content))
            if len(waiting) > 100:
                waiting.pop(0).result()
        for future in waiting:
            future.result()


def _items(db: sqlite3.Connection, table: str, columns: str, run: str, names: tuple[str, ...]) -> list[dict[str, Any]]:
    rows = db.execute(f"SELECT {columns} FROM {table} WHERE run_uuid = ?", (run,))
    return [dict(zip(names, row, strict=True)) for row in rows]


def _write_run(uri: str, experiment: str, run: Any, content: list[list[dict[str, Any]]]) -> None:
    _, _, name, start, end, status = run
    session, (params, tags, metrics) = _session(), content
    body = {"experiment_id": experiment, "run_name": name, "start_time": start, "tags": tags}
    run_id = session.post(f"{uri}{_API}/runs/create", json=body).json()["run"]["info"]["run_id"]
    for start in range(0, len(metrics), 1000):
        batch = {"run_id": run_id, "metrics": metrics[start : start + 1000], "params": [] if start else params}
        if not start and len(metrics) + len(params) > 1000:
            session.post(f"{uri}{_API}/runs/log-batch", json={"run_id": run_id, "params": params}).raise_for_status()
            batch["params"] = []
        session.post(f"{uri}{_API}/runs/log-batch", json=batch).raise_for_status()
    body = {"run_id": run_id, "status": status, "end_time": end}
    session.post(f"{uri}{_API}/runs/update", json=body).raise_for_status()


def sqlite_read(uri: str, target: str, look_at: Callable[[str], object] | None = None) -> None:
    """A `sqlite3` cursor over the ordered tables to JSON lines, histories grouped into columns.

    Args:
        uri: of the database.
        target: the file that is written.
        look_at: is given the content of each span; None: nobody looks at it.
    """
    with sqlite3.connect(urlsplit(uri).path[1:]) as connection, Path(target).open("w") as out:
        for select in (*_SELECTS, *_TRACES):
            out.writelines(json.dumps(row) + "\n" for row in connection.execute(select))
        spans: Iterable[Any] = connection.execute(_SPANS)
        if look_at is not None:
            spans = (row for row in spans if look_at(row[2]) is not None)
        out.writelines(
            f'{{"trace_id":"{trace_id}","span_id":"{span_id}","content":{content}}},\n'
            for trace_id, span_id, content in spans
        )
        rows = connection.execute(_HISTORIES)
        for (run, key), points in itertools.groupby(rows, key=lambda row: row[:2]):
            _, _, step, timestamp, value = zip(*points, strict=True)
            out.write(json.dumps({"run_id": run, "key": key, "step": step, "timestamp": timestamp, "value": value}))
            out.write("\n")


def sqlite_read_safely(uri: str, target: str) -> None:
    """The same with what a backup promises beside it, and nothing in between.

    A copy as of one moment, a check of it for damage, and of contents for JSON; SHA-256, the disk, and all read again.
    """
    copy = Path(f"{target}.db")
    shutil.copyfile(urlsplit(uri).path[1:], copy)
    with ThreadPoolExecutor(1) as pool:
        checking = pool.submit(_is_sound, copy)
        sqlite_read(f"sqlite:///{copy}", target, _json_check())
        _hash(target)
        with Path(target).open("rb") as file:
            os.fsync(file.fileno())
        _hash(target)
        if not checking.result():
            raise ValueError(f"{uri} is damaged")
    copy.unlink()


def _is_sound(path: Path) -> bool:
    with sqlite3.connect(path) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)])


def _json_check() -> Callable[[str | bytes], object]:
    """What raises where a text is no JSON object, and makes nothing of it."""
    from pydantic_core import SchemaValidator, core_schema

    return SchemaValidator(core_schema.typed_dict_schema({})).validate_json


def _hash(path: str) -> None:
    with Path(path).open("rb") as file:
        hashlib.file_digest(file, "sha256")


def sqlite_write_safely(uri: str, target: str, snapshot: str) -> None:
    """`sqlite_write` after reading the snapshot twice: to verify all of it before anything is written, and for that."""
    check = _json_check()
    for path in sorted(Path(snapshot).glob("*s_*.json")):
        _hash(str(path))
        with path.open("rb") as file:
            for line in file:
                if line.startswith(b"{"):
                    check(line.rstrip(b",\n"))
        with path.open("rb") as file:
            for _ in file:
                pass
        _hash(str(path))
    sqlite_write(uri, target)


def sqlite_write(uri: str, target: str) -> None:
    """Bare `executemany` of the same rows into the same schema, in one transaction, with nothing to wait for."""
    path = Path(target)
    path.unlink(missing_ok=True)
    source = sqlite3.connect(urlsplit(uri).path[1:])
    schema = source.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
    with sqlite3.connect(path, isolation_level=None) as copy:
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("PRAGMA synchronous = OFF")
        copy.execute("PRAGMA cache_size = -32768")
        for (statement,) in schema.fetchall():
            copy.execute(statement)
        copy.execute("BEGIN")
        for name in _tables(source):
            if source.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone():
                columns = _columns(source, name)
                rows = source.execute(f"SELECT {', '.join(columns)} FROM {name}")
                marks = ",".join("?" * len(columns))
                copy.executemany(f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({marks})", rows)
        copy.execute("COMMIT")


def _tables(connection: sqlite3.Connection) -> list[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    return [name for (name,) in connection.execute(query)]


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    """Those that are not computed."""
    return [f'"{row[1]}"' for row in connection.execute(f"PRAGMA table_xinfo({table})") if not row[6]]


_COPIED = ("experiments", "experiment_tags", "runs", "params", "tags", "latest_metrics", "metrics")


def postgres_read(uri: str, target: str) -> None:
    """`COPY … TO STDOUT` of the tables that make up a snapshot, into a file."""
    import psycopg

    with psycopg.connect(uri) as connection, Path(target).open("wb") as out:
        for table in _COPIED:
            with connection.cursor().copy(f"COPY {table} TO STDOUT") as rows:
                out.writelines(rows)


def postgres_write(uri: str, source: str) -> None:
    """`COPY … FROM STDIN` of the same rows into the same schema, which is there already, in one transaction."""
    import psycopg

    with psycopg.connect(source) as reading, psycopg.connect(uri) as writing:
        for table in _COPIED:
            with (
                reading.cursor().copy(f"COPY {table} TO STDOUT") as rows,
                writing.cursor().copy(f"COPY {table} FROM STDIN") as copy,
            ):
                for block in rows:
                    copy.write(block)


FLOORS: dict[str, Callable[..., None]] = {
    "search": search,
    "client-search": client_search,
    "server": server,
    "traces": traces,
    "api-write": api_write,
    "sqlite-read": sqlite_read,
    "sqlite-read-safely": sqlite_read_safely,
    "sqlite-write": sqlite_write,
    "sqlite-write-safely": sqlite_write_safely,
    "postgres-read": postgres_read,
    "postgres-write": postgres_write,
}

if __name__ == "__main__":
    FLOORS[sys.argv[1]](*sys.argv[2:])
