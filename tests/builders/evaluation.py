"""Evaluation datasets, made with MLflow's own client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient

from tests.builders.tracking import tracking

MANY = 1100
BIG = "x" * 3_000_000


@dataclass
class MadeDatasets:
    """The ids of what was made."""

    experiments: dict[str, str]
    datasets: dict[str, str]


def add_datasets(uri: str, many: int = MANY) -> MadeDatasets:
    """Two datasets of one name, one without experiments, one of a deleted experiment, and one with many records.

    Args:
        uri: of the store.
        many: records of that dataset.
    """
    from mlflow.genai.datasets import create_dataset

    client = MlflowClient(uri)
    with tracking(uri):
        ids = {name: client.create_experiment(name) for name in ("qa", "größe 模型", "gone")}
        qa = create_dataset("fragen", experiment_id=[ids["qa"], ids["größe 模型"]], tags={"owner": "ada", "leer": ""})
        qa.merge_records([_record(number) for number in range(many)])
        qa.merge_records([{"inputs": {"question": BIG}}, {"inputs": {"a": {"b": [1, 2.5, None, {"c": "\u2028"}]}}}])
        other = create_dataset("fragen", experiment_id=[ids["größe 模型"]])
        other.merge_records(_sources())
        other.merge_records([{"inputs": {"question": "human"}, "expectations": {"later": True}, "tags": {"more": "1"}}])
        free = create_dataset("free", experiment_id=[], tags={"mlflow.user": "bob"})
        free.merge_records([{"inputs": {"x": 1}, "outputs": {"y": [0.1, -0.0, 1e300]}}])
        empty = create_dataset("empty", experiment_id=[ids["gone"]])
        client.delete_experiment(ids["gone"])
    made = {"qa": qa, "other": other, "free": free, "empty": empty}
    return MadeDatasets(ids, {name: dataset.dataset_id for name, dataset in made.items()})


def _record(number: int) -> dict[str, Any]:
    return {
        "inputs": {"question": f"Frage {number} 😀", "number": number},
        "outputs": f'Antwort {number} \\ " \n',
        "expectations": {"score": number / 3, "facts": ["a", None, True]},
        "tags": {"fold": str(number % 5), "ünï": "模型"},
    }


def _sources() -> list[dict[str, Any]]:
    trace = {"source_type": "TRACE", "source_data": {"trace_id": "tr-0123456789abcdef0123456789abcdef"}}
    return [
        {"inputs": {"question": "traced"}, "outputs": {}, "expectations": {}, "source": trace},
        {"inputs": {"question": "human"}, "source": {"source_type": "HUMAN", "source_data": {"source_id": "ada"}}},
        {
            "inputs": {"question": "document"},
            "outputs": None,
            "source": {"source_type": "DOCUMENT", "source_data": {"uri": "s3://d"}},
        },
    ]


def content(uri: str) -> dict[tuple[str, str], Any]:
    """What MLflow's client shows of all datasets, by name and the inputs of their records; no ids and no times."""
    from mlflow.genai.datasets import search_datasets

    found: dict[tuple[str, str], Any] = {}
    client = MlflowClient(uri)
    with tracking(uri):
        for dataset in search_datasets():
            names = sorted(client.get_experiment(number).name for number in dataset.experiment_ids)
            tags = {key: value for key, value in dataset.tags.items() if not key.startswith("mlmeta.")}
            records = sorted(
                (str(r.inputs), str(r.outputs), str(r.expectations), str(r.tags), str(r.source), str(r.source_id))
                for r in client.get_dataset(dataset.dataset_id).records
            )
            found[dataset.name, str(names)] = (tags, dataset.profile, records)
    return found
