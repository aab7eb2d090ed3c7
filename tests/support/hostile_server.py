"""A server that answers as MLflow's does, but for what a test has it do."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.serving import listening

Answer = Callable[["Asked"], None]


class Asked(BaseHTTPRequestHandler):
    """A request, and the ways to answer it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    plan: Plan
    content: dict[str, Any]

    def log_message(self, *_: Any) -> None:
        pass

    def reply(self, content: Any, status: int = 200, **headers: str) -> None:
        """A whole reply; what is no bytes becomes JSON."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.begin(status, content_length=str(len(body)), **{"content_type": "application/json", **headers})
        self.wfile.write(body)

    def begin(self, status: int = 200, **headers: str) -> None:
        """A reply's status and headers."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.content = json.loads(body) if body.startswith(b"{") else {}
        path = self.path.partition("?")[0]
        with self.plan.lock:
            self.plan.asked.append((path, dict(self.headers.items())))
        for end, answer in {**USUAL, **self.plan.answers}.items():
            if path.endswith(end):
                answer(self)
                return
        self.reply({"error_code": "ENDPOINT_NOT_FOUND", "message": "there is no such endpoint"}, 404)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()


@dataclass
class Plan:
    """What a server does.

    Args:
        answers: by the end of a path.
        asked: paths and headers of all requests.
        uri: where it is.
    """

    answers: dict[str, Answer]
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    uri: str = ""

    def count(self, end: str) -> int:
        """How many requests there were for paths with this end."""
        return sum(path.endswith(end) for path, _ in self.asked)


def experiment(number: int, **fields: Any) -> dict[str, Any]:
    """An experiment, as MLflow's API shows it."""
    name = {"experiment_id": str(number), "name": f"experiment {number}"}
    return {**name, "artifact_location": "s3://b", "lifecycle_stage": "active", **fields}


def run(number: int, experiment_id: str = "1", metrics: Any = (), **fields: Any) -> dict[str, Any]:
    """A run, as MLflow's API shows it."""
    info = {
        "run_id": f"{number:032x}",
        "experiment_id": experiment_id,
        "status": "FINISHED",
        "start_time": 1000 + number,
    }
    shown = {**info, "end_time": 5000, "lifecycle_stage": "active", "artifact_uri": "s3://b/a", **fields}
    return {"info": shown, "data": {"metrics": list(metrics), "params": [{"key": "lr", "value": "1"}]}}


def _runs(asked: Asked) -> None:
    identifier = asked.content["experiment_ids"][0]
    first = 10 * int(identifier)
    metric = {"key": "loss", "value": 0.5, "step": 1, "timestamp": 1}
    asked.reply({"runs": [run(first + n, identifier, [metric]) for n in range(3)]})


def _run(asked: Asked) -> None:
    (run_id,) = parse_qs(urlsplit(asked.path).query)["run_id"]
    number = int(run_id, 16)
    asked.reply({"run": run(number, str(number // 10))})


def _history(asked: Asked) -> None:
    points = [{"key": "loss", "value": 1 - step / 2, "step": step, "timestamp": 1} for step in range(2)]
    asked.reply({"metrics": points})


USUAL: dict[str, Answer] = {
    "/version": lambda asked: asked.reply(b"3.17.2"),
    "/experiments/search": lambda asked: asked.reply({"experiments": [experiment(1), experiment(2)]}),
    "/runs/search": _runs,
    "/runs/get": _run,
    "/metrics/get-history": _history,
    "/registered-models/search": lambda asked: asked.reply({}),
    "/model-versions/search": lambda asked: asked.reply({}),
    "/logged-models/search": lambda asked: asked.reply({}),
    "/traces/search": lambda asked: asked.reply({}),
}


@contextmanager
def hostile_server(answers: dict[str, Answer] | None = None) -> Iterator[Plan]:
    """A running one."""
    running = Plan(answers or {})

    class Handler(Asked):
        plan = running

    with listening(Handler) as address:
        running.uri = f"http://{address}"
        yield running
