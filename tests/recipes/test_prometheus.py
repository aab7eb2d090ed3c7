"""The alert rules: what they ask for is what mlmeta writes, and each of them fires when it should."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlmeta.metrics import JOB, METRICS
from tests.recipes.environments import FOLDER, ROOT

RULES = sorted((ROOT / "recipes" / "prometheus").glob("*.rules.yml"))
SAVED = 'mlmeta_last_saved_timestamp_seconds{command="backup",source="prod",storage="gs://b"}'
RUN = SAVED.replace("saved", "run")
CODE = 'mlmeta_last_exit_code{command="backup",source="prod",storage="gs://b"}'
DRILL = 'mlmeta_last_drill_timestamp_seconds{command="verify",source="prod",storage="gs://b"}'
RUNS = 'mlmeta_snapshot_records{command="backup",source="prod",storage="gs://b",kind="runs"}'
LAG = 'mlmeta_guard_lag_seconds{command="guard",source="prod",storage="gs://b"}'
RPO = LAG.replace("lag", "rpo")
PASSING = dict.fromkeys((SAVED, RUN, DRILL), "3600+60x20000")
GOOD = PASSING | {CODE: "0x20000", RUNS: "100x20000", LAG: "3x20000", RPO: "60x20000"}
"""A value a minute: what a good day gives."""
CASES = {
    "MlflowBackupTooOld": {SAVED: "60x20000"},
    "MlflowBackupFails": {CODE: "3x20000"},
    "MlflowBackupUnproven": {DRILL: "60x20000"},
    "MlflowBackupShrinks": {RUNS: f"100x{9 * 1440} 40x20000"},
    "MlflowBackupUnknown": {RUN: "_x20000"},
    "MlflowUnsaved": {LAG: "301x20000"},
    "MlflowGuardGone": {LAG: "_x20000"},
}
"""What is otherwise where an alert fires."""


def rules() -> list[dict[str, Any]]:
    return [rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def test_the_names_are_those_that_are_written() -> None:
    for rule in rules():
        metrics = re.findall(r"mlmeta_\w+", rule["expr"])
        assert metrics
        assert set(metrics) <= set(METRICS)
        labels = set(re.findall(r"(\w+)=", rule["expr"])) | set(re.findall(r"\$labels\.(\w+)", str(rule)))
        assert labels <= {*JOB, "kind"}


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool") or str(FOLDER / "promtool")
    if not Path(found).exists():
        pytest.skip("no promtool (Debian: in the package prometheus)")
    return found


def test_each_alert_fires_and_none_on_a_good_day(promtool: str, tmp_path: Path) -> None:
    assert {rule["alert"] for rule in rules()} == set(CASES)
    tests = []
    for name, bad in ({"": {}} | CASES).items():
        series = [{"series": one, "values": values} for one, values in (GOOD | bad).items()]
        tests.append(
            {
                "interval": "1m",
                "name": name or "good",
                "input_series": series,
                "promql_expr_test": [
                    {
                        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": "9d1h30m",
                        "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1}] if name else [],
                    }
                ],
            }
        )
    file = tmp_path / "alerts.yml"
    file.write_text(yaml.safe_dump({"rule_files": list(map(str, RULES)), "evaluation_interval": "10m", "tests": tests}))
    for arguments in (["check", "rules", *map(str, RULES)], ["test", "rules", str(file)]):
        done = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
