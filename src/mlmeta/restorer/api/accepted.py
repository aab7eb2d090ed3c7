"""What MLflow takes as a name, key or value: its own rules, asked before a request, so that one tag costs no model."""

from __future__ import annotations

from collections.abc import Callable

from mlmeta.restorer.api.state import State


def accepted(kind: str, identifier: str, tags: dict[str, str], state: State) -> dict[str, str]:
    """The tags of a record that MLflow takes. The others are noted as refused.

    Args:
        kind: of the record: ``experiment``, ``registered model``, ``model version`` or ``logged model``.
        identifier: of that record.
        tags: of it.
        state: takes the refusals.
    """
    from mlflow.exceptions import MlflowException

    check, taken = _check(kind), {}
    for key, value in tags.items():
        try:
            check(key, value)
        except MlflowException as error:
            state.refuse(kind, identifier, f"tag {key!r}: {_first_line(error)}", f"tags[{key}]")
        else:
            taken[key] = value
    return taken


def experiment_obstacle(name: str) -> str:
    """Why MLflow has no experiment of that name; empty: it can."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_experiment_name

    try:
        _validate_experiment_name(name)
    except MlflowException as error:
        return _first_line(error)
    return ""


def _check(kind: str) -> Callable[[str, str], object]:
    from mlflow.utils import validation

    checks: dict[str, Callable[[str, str], object]] = {
        "experiment": validation._validate_experiment_tag,
        "registered model": validation._validate_registered_model_tag,
        "model version": validation._validate_model_version_tag,
        "logged model": validation._validate_tag,
    }
    return checks[kind]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
