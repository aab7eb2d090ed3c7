"""Makes SQL dumps of stores with rows in every table that an older MLflow version has.

Run from the root of the project with an environment of that version, such as `make test-compat` makes:

    PYTHONPATH=.:src .cache/environments/3.10/bin/python tests/data/old_mlflow/make_full.py

It writes ``full_<version>.sql`` into this folder.
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import mlflow
from tests.builders.everything import fill_everything

MEANINGFUL = """
UPDATE spans SET dimension_attributes = '{"mlflow.llm.model": "gpt", "mlflow.llm.provider": "openai"}';
UPDATE trace_metrics SET key = 'input_tokens', value = 7 WHERE rowid = 1;
UPDATE span_metrics SET key = 'total_cost', value = 0.5 WHERE rowid = 1;
"""
"""What a later migration moves elsewhere, or refuses where it means nothing."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "full.db"
        fill_everything(f"sqlite:///{path}", workspaces=True)
        connection = sqlite3.connect(path)
        if mlflow.__version__.startswith("3.10."):
            connection.executescript(MEANINGFUL)
        target = Path(__file__).parent / f"full_{mlflow.__version__}.sql"
        target.write_text("\n".join(connection.iterdump()) + "\n")
        connection.close()


main()
