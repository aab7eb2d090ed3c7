"""The step of action.yml that runs mlmeta: its inputs are variables, its outcome goes where Actions looks for it."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

INPUTS = {
    "INPUT_TRACKING_URI": "MLMETA_TRACKING_URI",
    "INPUT_STORAGE": "MLMETA_STORAGE",
    "INPUT_CONFIG": "MLMETA_CONFIG",
}
"""Inputs, and the variables that have what they say if they are given."""
MEANINGS = {
    0: "complete",
    1: "failed",
    2: "wrong usage",
    3: "incomplete",
    4: "different, or too old",
    5: "no such snapshot or storage",
    130: "interrupted",
    143: "terminated",
}
MOST = 50
"""So many lines of a kind go into the summary."""


def main() -> int:
    """Run it.

    Returns:
        The exit code of the step.
    """
    env = environment()
    command = os.environ["COMMAND"].strip()
    if not env.get("MLMETA_STORAGE", "").strip() and "MLMETA_CONFIG" not in env:
        print("::error title=mlmeta::storage is needed: the disk of a runner goes with the job", flush=True)
        return 2
    handle, name = tempfile.mkstemp(".json", f"mlmeta-{command}-", os.environ["RUNNER_TEMP"])
    result = Path(name)
    with os.fdopen(handle, "wb") as out:
        code = run([command, "--json", "--no-progress", *lines(os.environ.get("OPTIONS", ""))], env, out)
    document = read(result)
    write("GITHUB_OUTPUT", outputs(document, code, result))
    write("GITHUB_STEP_SUMMARY", summary(command, document, code))
    accepted = code == 3 and os.environ.get("ALLOW_INCOMPLETE") == "true"
    annotate("warning" if accepted else "error", command, document, code)
    return 0 if accepted else code


def environment() -> dict[str, str]:
    """The environment of mlmeta. A configuration file of the checkout, which anybody may have written, is not used."""
    given = {name: os.environ[key] for key, name in INPUTS.items() if os.environ.get(key, "").strip()}
    env = {**os.environ, **given}
    return env if env.get("MLMETA_CONFIG") else {**env, "MLMETA_NO_CONFIG": "1"}


def lines(text: str) -> list[str]:
    """The lines that say something."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def run(arguments: list[str], env: dict[str, str], out: Any) -> int:
    """Run mlmeta. Nothing that it shows is taken for a command of the workflow; signals are passed on to it."""
    pending: list[int] = []
    process: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _: FrameType | None) -> None:
        if process is None:
            pending.append(number)
        else:
            process.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    token = secrets.token_hex(16)
    print(f"::stop-commands::{token}", flush=True)
    process = subprocess.Popen([sys.executable, "-m", "mlmeta", *arguments], env=env, stdout=out)
    for number in pending:
        process.send_signal(number)
    code = process.wait()
    print(f"::{token}::", flush=True)
    return code if code >= 0 else 128 - code


def read(result: Path) -> dict[str, Any]:
    """What `--json` gave; empty where it gave nothing."""
    try:
        document = json.loads(result.read_text())
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def data_of(document: dict[str, Any]) -> dict[str, Any]:
    """The result itself; empty where there is none."""
    return document.get("data") or {}


def outputs(document: dict[str, Any], code: int, result: Path) -> Iterator[str]:
    """The lines for `GITHUB_OUTPUT`."""
    data = data_of(document)
    timestamp = str(data.get("unchanged_since") or data.get("timestamp") or "")
    yield f"timestamp={timestamp if re.fullmatch('[0-9_]+', timestamp) else ''}"
    yield f"exit-code={code}"
    yield f"complete={str(code == 0).lower()}"
    yield f"result={result}"


def summary(command: str, document: dict[str, Any], code: int) -> Iterator[str]:
    """The lines of the job's summary, in Markdown."""
    data = data_of(document)
    yield f"### mlmeta {plain(command)}: {MEANINGS.get(code, 'failed')} (exit code {code})"
    yield ""
    yield from table("Kind", "Saved", (data.get("stats") or {}).items())
    if name := data.get("timestamp") or data.get("unchanged_since"):
        yield f"Snapshot {plain(name)} in {plain(', '.join(data.get('storages') or ()))}"
        yield ""
    if command == "verify":
        found = data.get("snapshots") or ()
        yield from bullets(f"{one['timestamp']}: {one['records']} records{_drilled(one)}" for one in found)
    yield from bullets(f"{one['code']}: {one['message']}" for one in document.get("errors", ()))
    yield from bullets(f"warning: {one}" for one in document.get("warnings", ()))
    yield from bullets(f"{one['state']}: {one['message']}" for one in data.get("checks") or ())


def _drilled(snapshot: dict[str, Any]) -> str:
    return ", restored on trial" if snapshot.get("drill") else ""


def table(head: str, other: str, rows: Iterable[tuple[str, object]]) -> Iterator[str]:
    """A table of two columns; nothing where it has no rows."""
    found = [f"| {plain(name.replace('_', ' '))} | {plain(value)} |" for name, value in rows]
    if found:
        yield from (f"| {head} | {other} |", "|---|---:|", *found, "")


def bullets(texts: Iterable[str]) -> Iterator[str]:
    """A list, of which the first are shown."""
    found = list(texts)
    yield from (f"- {plain(text)}" for text in found[:MOST])
    if len(found) > MOST:
        yield f"- and {len(found) - MOST} more"
    if found:
        yield ""


def plain(text: object) -> str:
    """Text that somebody else may have chosen, in one line, for Markdown that takes no letter of it for markup."""
    return re.sub(r"[^\w ]", lambda found: f"&#{ord(found[0])};", " ".join(str(text).split()))


def annotate(level: str, command: str, document: dict[str, Any], code: int) -> None:
    """Show on the page of the run what went wrong first."""
    if code:
        first = next((str(one["message"]) for one in document.get("errors", ())), "see the log of this step")
        text = " ".join(f"exit code {code} ({MEANINGS.get(code, 'failed')}): {first}".split())
        print(f"::{level} title=mlmeta {command}::{text.replace('%', '%25')}", flush=True)


def write(name: str, content: Iterable[str]) -> None:
    """Append lines to a file that Actions reads after the step."""
    with Path(os.environ[name]).open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in content)


if __name__ == "__main__":
    sys.exit(main())
