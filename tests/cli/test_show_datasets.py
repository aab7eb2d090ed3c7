"""`mlmeta show --datasets` and `--dataset`: evaluation datasets and their records."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmeta.errors import ExitCode
from mlmeta.schema import DatasetRecord, EvaluationDataset
from tests.builders.snapshots import experiment, write
from tests.support.cli import Cli

BEGAN = 1_700_000_000_000
DATASETS = (
    EvaluationDataset(
        dataset_id="d-aaaaaaaaaa",
        name="fragen",
        last_update_time=BEGAN,
        experiment_ids=("1", "9"),
        created_by="ada",
        tags={"team": "grün"},
    ),
    EvaluationDataset(dataset_id="d-bbbbbbbbbb", name="fragen", last_update_time=BEGAN + 1000),
    EvaluationDataset(dataset_id="d-cccccccccc", name="leer", experiment_ids=("1",)),
)
RECORDS = tuple(
    DatasetRecord(
        dataset_id="d-aaaaaaaaaa",
        dataset_record_id=f"dr-{number}",
        inputs={"frage": "wie\nspät?" if number else "x" * 500},
        outputs="vier",
        expectations={"richtig": True} if number else None,
        source_type="HUMAN",
        created_time=BEGAN + number,
    )
    for number in range(3)
)


@pytest.fixture
def shown(cli: Cli) -> Cli:
    write(cli.folder / "backups", [experiment("1", "größe"), *DATASETS, *RECORDS])
    return cli


def test_a_list(shown: Cli) -> None:
    lines = shown("show", "--datasets").ok().out.splitlines()
    assert lines[0].split() == ["DATASET", "NAME", "RECORDS", "EXPERIMENTS", "UPDATED", "(UTC)"]
    rows = [line.split() for line in lines if line.startswith("d-")]
    assert [row[:4] for row in rows] == [
        ["d-bbbbbbbbbb", "fragen", "0", "-"],
        ["d-aaaaaaaaaa", "fragen", "3", "größe,"],
        ["d-cccccccccc", "leer", "0", "größe"],
    ]
    found = shown("show", "--datasets", "--experiment", "größe", "--json").ok().data
    assert [(row["dataset"]["dataset_id"], row["records"]) for row in found["datasets"]] == [
        ("d-aaaaaaaaaa", 3),
        ("d-cccccccccc", 0),
    ]


def test_the_records_of_one(shown: Cli) -> None:
    out = shown("show", "--dataset", "aaaa").ok().out
    assert "größe (1), - (9)" in out
    assert "team" in out
    assert out.count('{"frage": "wie') == 2
    assert "x" * 500 in out
    assert "TAGS" not in out
    assert "2 more: --limit shows them" in shown("show", "--dataset", "aaaa", "--limit", "1").ok().out
    found = shown("show", "--dataset", "d-aaaaaaaaaa", "--json").ok().data
    assert [record["inputs"]["frage"][:3] for record in found["records"]] == ["xxx", "wie", "wie"]
    assert found["experiments"] == {"1": "größe", "9": ""}
    assert "leer" in shown("show", "--dataset", "leer").ok().out


@pytest.mark.parametrize(
    ("name", "message"),
    [("fragen", "2 evaluation datasets are named 'fragen'"), ("none", "no evaluation dataset 'none'")],
)
def test_which_one_is_unclear(shown: Cli, name: str, message: str) -> None:
    done = shown("show", "--dataset", name)
    assert done.code == ExitCode.USAGE
    assert message in done.err


def test_list_counts_them(shown: Cli, tmp_path: Path) -> None:
    assert "DATASETS" in shown("list").ok().out
    write(tmp_path / "without", [experiment("1", "one")])
    assert "DATASETS" not in shown("list", "--storage", str(tmp_path / "without")).ok().out
    assert "No evaluation datasets." in shown("show", "--datasets", "--storage", str(tmp_path / "without")).ok().out
