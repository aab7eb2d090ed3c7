"""What MLflow takes as a name, key or dataset: its own rules, asked before a request, so that one tag costs no model.

A plan asks them, too, and so foresees what a server refuses.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from mlmeta.schema import EXPERIMENTS, LOGGED_MODELS, MODEL_VERSIONS, MODELS
from mlmeta.stores.api.context import RestoreContext


def accepted(kind: str, identifier: str, tags: dict[str, str], context: RestoreContext) -> dict[str, str]:
    """The tags of a record that MLflow takes. The others are noted as refused.

    Args:
        kind: of the record, in a word: an experiment, registered model, model version or logged model.
        identifier: of that record.
        tags: of it.
        context: takes the refusals.
    """
    taken = {}
    for key, value in tags.items():
        if reason := _obstacle(_TAG_RULES[kind], key, value):
            context.refuse(kind, identifier, f"tag {key!r}: {reason}", f"tags[{key}]")
        else:
            taken[key] = value
    return taken


_TAG_RULES = {
    EXPERIMENTS.one: "_validate_experiment_tag",
    MODELS.one: "_validate_registered_model_tag",
    MODEL_VERSIONS.one: "_validate_model_version_tag",
    LOGGED_MODELS.one: "_validate_tag",
}
"""MLflow's rules for tags, by kind of record."""


def experiment_obstacle(name: str) -> str:
    """Why MLflow has no experiment of that name; empty: it can."""
    return _obstacle("_validate_experiment_name", name)


def alias_obstacle(alias: str) -> str:
    """Why MLflow takes no such alias; empty: it does."""
    return _obstacle("_validate_model_alias_name", alias) or _obstacle("_validate_model_alias_name_reserved", alias)


def logged_model_obstacle(name: str) -> str:
    """Why MLflow takes no logged model of that name; empty: it does."""
    return _obstacle("_validate_logged_model_name", name)


@lru_cache(maxsize=10_000)  # the same few keys, again and again
def key_obstacle(kind: str, key: str) -> str:
    """Why MLflow takes no metric, param or tag of that key; empty: it does."""
    if kind == "metric":
        return _obstacle("_validate_metric", key, 0.0, 0, 0)
    return _obstacle("_validate_param" if kind == "param" else "_validate_tag", key, "")


def dataset_obstacle(entity: Any) -> str:
    """Why MLflow takes no such `mlflow.entities.DatasetInput`; empty: it does."""
    return _obstacle("_validate_dataset_inputs", [entity])


def _obstacle(rule: str, *arguments: Any) -> str:
    """Why one of MLflow's rules is broken; empty: it is not. What a version has no rule for, the server answers.

    Args:
        rule: a function of `mlflow.utils.validation`; they are MLflow's own, and come and go.
        arguments: of that function.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.utils import validation

    check = getattr(validation, rule, None)
    try:
        if check is not None:
            check(*arguments)
    except MlflowException as error:
        return (str(error).splitlines() or [type(error).__name__])[0]
    return ""
