"""Logged models as MLflow makes them."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, LoggedModelInput, LoggedModelOutput, Metric


def add_logged_models(uri: str, *, deleted: bool = True) -> dict[str, str]:
    """Three in one experiment, of which one is deleted, and one in another; their ids by name.

    Through a server, the first is registered as well: a store by itself asks MLflow's global one for it.
    """
    client = MlflowClient(uri, uri)
    first = client.create_experiment("first", "gs://bucket/first")
    second = client.create_experiment("second", "gs://bucket/second")
    run = client.create_run(first, start_time=1).info.run_id
    forest = client.create_logged_model(
        first, "forest", run, {"team": "growth"}, {"depth": "3", "empty": ""}, "classifier"
    ).model_id
    dataset = Dataset("train", "abc", "local", "{}")
    client.log_inputs(run, [DatasetInput(dataset, [])])
    points = [
        Metric("auc", 0.5, 10, 1, model_id=forest, run_id=run),
        Metric("auc", 0.75, 20, 2, model_id=forest, run_id=run, dataset_name="train", dataset_digest="abc"),
        Metric("loss", 0.1 + 0.2, 10, 0, model_id=forest, run_id=run),
    ]
    client.log_batch(run, points)
    client.log_outputs(run, [LoggedModelOutput(forest, 2)])
    client.finalize_logged_model(forest, "READY")
    client.set_terminated(run)
    unicode = client.create_logged_model(first, "ünï").model_id
    gone = client.create_logged_model(first, "gone").model_id
    client.finalize_logged_model(gone, "FAILED")
    if deleted:
        client.delete_logged_model(gone)
    user = client.create_run(second, start_time=2).info.run_id
    client.log_inputs(user, models=[LoggedModelInput(forest)])
    other = client.create_logged_model(second, "other", user).model_id
    if uri.startswith("http"):
        client.create_registered_model("registered")
        client.create_model_version("registered", f"models:/{forest}", run, model_id=forest, await_creation_for=0)
    return {"forest": forest, "ünï": unicode, "gone": gone, "other": other}
