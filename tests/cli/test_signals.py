"""SIGINT, SIGTERM and SIGHUP while a server is read or written."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cli import Cli, Running
from tests.support.proxy import Request, proxy
from tests.support.server import Server

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


def _left(cli: Cli) -> list[Path]:
    folder = cli.folder / "backups"
    return list(folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("at", [2, 8, 14])
def test_in_the_middle_of_a_backup(filled: Server, cli: Cli, number: signal.Signals, code: int, at: int) -> None:
    running: list[Running] = []

    def interrupt(request: Request) -> None:
        if request.number == at:
            running[0].send(number)
            time.sleep(0.5)

    with proxy(filled.uri, interrupt) as slow:
        running.append(cli.start("backup", "--tracking-uri", slow.uri, "--json"))
        done = running[0].wait()
    assert done.code == code, done.err
    assert done.document["exit_code"] == code
    assert done.document["errors"][0]["code"] == "interrupted"
    assert "Traceback" not in done.err
    assert _left(cli) == []


def _ends_while_a_server_hangs(cli: Cli, code: int, send: Callable[[Running], None]) -> None:
    asked = threading.Event()

    def hang(_: Request) -> None:
        asked.set()
        time.sleep(25)

    with proxy("http://127.0.0.1:9", hang) as hanging:
        running = cli.start("backup", "--tracking-uri", hanging.uri)
        assert asked.wait(60)
        send(running)
        began = time.monotonic()
        done = running.wait()
    assert done.code == code
    assert "Traceback" not in done.err
    assert time.monotonic() - began < 20
    assert _left(cli) == []


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_while_a_server_hangs(cli: Cli, number: signal.Signals, code: int) -> None:
    _ends_while_a_server_hangs(cli, code, lambda running: running.send(number))


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_in_the_middle_of_a_restore(
    server: Server, snapshots: Path, cli: Cli, number: signal.Signals, code: int
) -> None:
    """It stops, and the next one finishes."""
    running: list[Running] = []

    def interrupt(request: Request) -> None:
        if request.writes and sum(r.writes for r in slow.requests) == 15:
            running[0].send(number)
            time.sleep(0.5)

    arguments = ("restore", "--timestamp", "latest", "--tracking-uri")
    with proxy(server.uri) as slow:
        slow.fault = interrupt
        running.append(cli.start(*arguments, slow.uri))
        assert running[0].wait().code == code
    done = cli(*arguments, server.uri, "--json").ok()
    assert done.data["comparison"]["total"] == 0


@pytest.mark.parametrize("pause", [0.0, 0.002, 0.01])
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_two_signals_in_a_row(cli: Cli, number: signal.Signals, code: int, pause: float) -> None:
    """As GNU `timeout` sends them, while the server does not answer and the first is just being told of."""

    def send(running: Running) -> None:
        running.send(number)
        time.sleep(pause)
        with contextlib.suppress(ProcessLookupError):  # ended already
            running.send(number)

    _ends_while_a_server_hangs(cli, code, send)
