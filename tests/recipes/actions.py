"""A composite action, run as GitHub's runner does: its scripts by bash, with the environment that the runner gives."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
BASH = ("bash", "--noprofile", "--norc", "-e", "-o", "pipefail")
"""What `shell: bash` stands for."""
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


@dataclass
class Step:
    """What came of a step that used the action."""

    code: int = 0
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    log: str = ""


def use(
    folder: Path,
    given: Mapping[str, Any],
    env: Mapping[str, str],
    *,
    install: bool = False,
    stop_at: str = "",
) -> Step:
    """Use action.yml in a step.

    Args:
        folder: of the job.
        given: what the step says under `with`.
        env: the environment of the step, beside what every job has.
        install: whether the first of its steps is run; if not, mlmeta is there as if it had been.
        stop_at: a text of the log at which the workflow is cancelled; empty: never.
    """
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    unknown = set(given) - set(action["inputs"])
    assert not unknown, f"the action has no inputs {unknown}"
    inputs = {name: str(given.get(name, one.get("default", ""))) for name, one in action["inputs"].items()}
    temporary = folder / "runner"
    temporary.mkdir(exist_ok=True)
    files = {name: temporary / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for file in files.values():
        file.write_text("")
    job = {
        "CI": "true",
        "GITHUB_ACTION_PATH": str(ROOT),
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "RUNNER_TEMP": str(temporary),
        **{name: str(file) for name, file in files.items()},
        **env,
    }
    step, steps = Step(), action["runs"]["steps"]
    if not install:
        (temporary / "mlmeta").unlink(missing_ok=True)
        (temporary / "mlmeta").symlink_to(sys.prefix)
        job["PYTHONPATH"] = str(ROOT / "src")
        steps = steps[1:]
    for one in steps:
        assert one["shell"] == "bash"
        own = {name: _filled(value, "inputs", inputs) for name, value in one["env"].items()}
        script = temporary / "script.sh"
        script.write_text(one["run"])
        step.code, said = _run([*BASH, str(script)], folder, {**job, **own}, stop_at)
        step.log += said
        if step.code:
            break
    written = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
    known = defaultdict(str, written)
    step.outputs = {name: _filled(one["value"], "steps.run.outputs", known) for name, one in action["outputs"].items()}
    step.summary = files["GITHUB_STEP_SUMMARY"].read_text()
    return step


def _filled(text: str, context: str, values: Mapping[str, str]) -> str:
    """A text of action.yml, where values stand in place of expressions."""
    return EXPRESSION.sub(lambda found: values[found[1].removeprefix(f"{context}.")], text)


def _run(command: list[str], folder: Path, env: dict[str, str], stop_at: str) -> tuple[int, str]:
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    assert process.stdout is not None
    said = ""
    with process:
        for line in process.stdout:
            said += line
            if stop_at and stop_at in line:
                process.send_signal(signal.SIGINT)
    return process.returncode, said
