"""Whoever watches is told: a file for Prometheus, and pings. What fails there is never the command's fault."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from mlmeta import ping
from mlmeta.metrics import read_file
from mlmeta.ping import MOST, body_of, is_address
from tests.support.cli import Cli
from tests.support.databases import Databases
from tests.support.proxy import Request, proxy
from tests.support.serving import listening

SECRET = "5f0e6b0c-secret-uuid"
CLOSED = f"http://127.0.0.1:9/{SECRET}"
LAST = "mlmeta_last_"


class Pings:
    """What has come: paths, each with its body."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answer = 200
        self.url = ""

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.seen]


@contextmanager
def service() -> Iterator[Pings]:
    """Something that pings go to."""
    pings = Pings()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            pings.seen.append((self.path, json.loads(body) if body else None))
            pings.headers.append(dict(self.headers))
            self.send_response(pings.answer)
            self.send_header("Location", f"http://{address}/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:
            pings.seen.append((self.path, "a redirect was followed"))

        def log_message(self, *_: object) -> None:
            pass

    with listening(Handler) as address:
        pings.url = f"http://{address}/{SECRET}"
        yield pings


def told(folder: Path, command: str = "backup") -> dict[str, float]:
    """What the file says of a command's only job."""
    samples = [one for one in read_file(folder / "m.prom") if one.job[0] == command]
    assert len({sample.job for sample in samples}) <= 1
    return {one.metric.name + "".join(v for n, v in one.labels if n == "kind"): one.value for one in samples}


def test_a_backup_its_drill_and_what_goes(cli: Cli, databases: Databases) -> None:
    began = time.time()
    with service() as pings:
        env = {"MLMETA_METRICS_FILE": "m.prom", "MLMETA_PING": f"{pings.url}?create=1", "MLMETA_VERBOSE": "1"}
        source = ("--tracking-uri", databases.uri("filled"))
        done = cli("backup", *source, "--json", env=env).ok()
        assert pings.paths == [f"/{SECRET}/start?create=1", f"/{SECRET}/0?create=1"]
        assert pings.seen[1][1] == done.document
        found = told(cli.folder)
        assert began - 1 < found[f"{LAST}saved_timestamp_seconds"] < found[f"{LAST}success_timestamp_seconds"]
        assert found[f"{LAST}success_timestamp_seconds"] == found[f"{LAST}run_timestamp_seconds"]
        assert 0 < found[f"{LAST}duration_seconds"] < time.time() - began
        assert found[f"{LAST}exit_code"] == found["mlmeta_snapshot_skipped"] == 0
        assert found["mlmeta_snapshot_bytes"] == done.data["size"]
        assert found["mlmeta_snapshot_recordsruns"] == done.data["stats"]["runs"]
        (job,) = {one.job for one in read_file(cli.folder / "m.prom")}
        assert job == ("backup", done.data["source"], "backups")

        again = cli("backup", *source, "--if-changed", "--keep-last", "1", env=env).ok()
        later = told(cli.folder)
        assert later["mlmeta_snapshot_bytes"] == found["mlmeta_snapshot_bytes"], "of the last that was written"
        assert later[f"{LAST}saved_timestamp_seconds"] > found[f"{LAST}success_timestamp_seconds"]
        cli("backup", *source, "--dry-run", env=env).ok()
        assert (told(cli.folder), len(pings.seen)) == (later, 4), "nothing was saved"

        verified = cli("verify", "--drill", env=env).ok()
        assert told(cli.folder, "verify")[f"{LAST}drill_timestamp_seconds"] > began
        cli("backup", *source, env={**env, "MLMETA_LABEL": "prod"}).ok()
        pruned = cli("prune", "--keep-last", "1", "--yes", env=env).ok()
        assert told(cli.folder, "prune")["mlmeta_snapshots"] == 2
        assert told(cli.folder, "prune")["mlmeta_pruned_snapshots"] == 0
        assert [name.rpartition("/")[2] for name in pings.paths[4:]] == ["start?create=1", "0?create=1"] * 3
    assert {one.job[1] for one in read_file(cli.folder / "m.prom")} == {done.data["source"], "prod", ""}
    for one in (done, again, verified, pruned):
        assert "secret" not in one.out + one.err
    assert "secret" not in (cli.folder / "m.prom").read_text()


def test_a_failure_is_told_and_the_last_success_stays(cli: Cli, databases: Databases) -> None:
    source = Path(databases.copy("filled", cli.folder / "s.db").removeprefix("sqlite:///"))
    arguments = ("backup", "--tracking-uri", f"sqlite:///{source}", "--metrics-file", "m.prom", "--ping")
    with service() as pings:
        cli(*arguments, pings.url).ok()
        good = told(cli.folder)
        source.unlink()
        done = cli(*arguments, pings.url, "--json").ended(1)
        assert pings.paths[2:] == [f"/{SECRET}/start", f"/{SECRET}/1"]
        assert pings.seen[3][1] == done.document
        assert done.document["errors"][0]["code"] == "missing_store"
    found = told(cli.folder)
    assert found[f"{LAST}exit_code"] == 1
    assert found[f"{LAST}run_timestamp_seconds"] > good[f"{LAST}run_timestamp_seconds"]
    for name in (f"{LAST}success_timestamp_seconds", f"{LAST}saved_timestamp_seconds", "mlmeta_snapshot_recordsruns"):
        assert found[name] == good[name]


def test_an_interrupted_one_says_so(cli: Cli) -> None:
    asked = threading.Event()

    def hang(_: Request) -> None:
        asked.set()
        time.sleep(5)

    with service() as pings, proxy("http://127.0.0.1:9", hang) as hanging:
        running = cli.start("backup", "--tracking-uri", hanging.uri, "--ping", pings.url, "--metrics-file", "m.prom")
        assert asked.wait(60)
        running.send(signal.SIGTERM)
        running.wait().ended(143)
        assert pings.paths == [f"/{SECRET}/start", f"/{SECRET}/143"]
    assert told(cli.folder)[f"{LAST}exit_code"] == 143


@pytest.mark.parametrize("answer", [500, 302, 404, 0])
def test_a_ping_that_fails_changes_nothing(cli: Cli, snapshots: Path, answer: int) -> None:
    """Refused, redirected, not there: a word on stderr, without the address, and the exit code of the command."""
    with service() as pings:
        pings.answer = answer
        url = pings.url if answer else CLOSED
        done = cli("verify", "--ping", url, "--json", "--verbose").ok()
        assert done.document["exit_code"] == 0
        said = f"it answers {answer}" if answer else "Connection refused"
        assert f"warning: the ping (--ping) did not arrive: {said}" in done.err
        assert "secret" not in done.out + done.err
        assert "elsewhere" not in str(pings.paths)


def _hastily() -> None:
    """Give up sooner than for real."""
    ping.TIMEOUT, ping.PATIENCE = 0.5, 0.7


def test_one_that_never_answers_is_given_up(cli: Cli, snapshots: Path) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            ended.wait(30)

    ended = threading.Event()
    with listening(Handler) as address:
        began = time.monotonic()
        done = cli("verify", env={"MLMETA_PING": f"http://{address}/{SECRET}"}, before=_hastily).ok()
        assert time.monotonic() - began < 15
        ended.set()
    assert "did not arrive: no answer within" in done.err
    assert "secret" not in done.out + done.err


def test_user_and_password_are_sent_as_such(cli: Cli, snapshots: Path) -> None:
    with service() as pings:
        done = cli("verify", "--ping", pings.url.replace("//", "//ada:p%40ss@")).ok()
        assert [one["Authorization"] for one in pings.headers] == ["Basic YWRhOnBAc3M="] * 2
    assert done.err == "" or "ada" not in done.err


def test_what_can_be_no_address_or_file_is_refused_unseen(cli: Cli, snapshots: Path) -> None:
    url = f"ftp://h/{SECRET}"
    for arguments, env in ((("--ping", url), {}), ((), {"MLMETA_PING": url})):
        done = cli("verify", *arguments, "--json", env=env).ended(2)
        assert "http://" in done.document["errors"][0]["message"]
        assert "secret" not in done.out + done.err
    assert is_address("https://hc-ping.com/uuid")
    for no_address in (SECRET, "http:///x", "http://h/x x", "http://h/\n", "file:///x", "http://h:x/", "http://ü/"):
        assert not is_address(no_address), no_address
    assert "must end in .prom" in cli("verify", "--metrics-file", "mlmeta.toml").ended(2).err
    (cli.folder / "mlmeta.toml").write_text(f'ping = "ftp://{SECRET}"\n')
    done = cli("verify", env={"MLMETA_NO_CONFIG": None}).ended(2)
    assert "mlmeta.toml: ping: write an address" in done.err
    assert "secret" not in done.err


def test_the_configuration_is_shown_without_it(cli: Cli) -> None:
    (cli.folder / "mlmeta.toml").write_text(f'metrics-file = "m.prom"\n[backup]\nping = "https://hc/{SECRET}"\n')
    env = {"MLMETA_NO_CONFIG": None}
    for arguments in (("config",), ("config", "backup"), ("config", "--json"), ("config", "verify", "--ping", CLOSED)):
        done = cli(*arguments, env=env).ok()
        assert "ping" in done.out
        assert "***" in done.out
        assert "secret" not in done.out + done.err


def test_a_file_that_can_not_be_written_is_a_warning(cli: Cli, snapshots: Path) -> None:
    (cli.folder / "other.prom").write_text("up 1\n")
    done = cli("verify", "--metrics-file", "other.prom").ok()
    assert "not written: other.prom is not a file of mlmeta's metrics alone" in done.err
    assert (cli.folder / "other.prom").read_text() == "up 1\n"
    done = cli("verify", "--metrics-file", "nowhere/m.prom").ok()
    assert "warning: the metrics (--metrics-file) were not written: the system refused: nowhere" in done.err


def test_a_body_that_is_too_long_names_what_it_leaves_out() -> None:
    issue = {"code": "not_saved", "message": "x" * 5000, "hint": ""}
    document = {"data": {"timestamp": "T", "skipped": ["x" * 100] * 2000}, "warnings": [], "errors": [issue] * 500}
    found = json.loads(body_of(document))
    assert len(body_of(document)) <= MOST
    assert found["data"] == {"timestamp": "T"}
    assert found["left_out"] == ["skipped", "errors"]
    assert len(found["errors"]) == 20
    assert json.loads(body_of({"data": None, "warnings": [], "errors": [issue]}))["errors"] == [issue]
