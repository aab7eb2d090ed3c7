"""Fills a server with all that its MLflow version can hold, through that version's own client.

Run by the interpreter of that version's environment: `python fill.py SERVER`. It imports nothing but MLflow.
"""

from __future__ import annotations

import sys

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

USAGE = {
    "temperature": 0.5,
    "mlflow.chat.tokenUsage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
    "mlflow.llm.model": "gpt-4o",
    "mlflow.llm.provider": "openai",
    "mlflow.llm.cost": {"input_cost": 0.25, "output_cost": 0.5, "total_cost": 0.75},
}
"""Of a span: newer versions keep sums of it, and have columns for it."""
VERSION = tuple(int(part) for part in mlflow.__version__.split(".")[:2])


def runs(client: MlflowClient) -> str:
    """Histories, a nested, a deleted and a running run, dataset inputs; the id of the one that has most."""
    churn = client.create_experiment("churn", artifact_location="gs://artifacts/churn", tags={"team": "größe 模型"})
    gone = client.create_experiment("abandoned", artifact_location="gs://artifacts/gone")
    parent = client.create_run(churn, start_time=1_700_000_000_000, run_name="parent", tags={"mlflow.user": "ada"})
    run_id = str(parent.info.run_id)
    points = [Metric("loss", 1 / (step + 1), 1_700_000_000_000 + step, step) for step in range(20)]
    odd = [Metric("odd", float("nan"), 5, 0), Metric("odd", float("inf"), 6, 1), Metric("once", 0.1 + 0.2, 7, 0)]
    client.log_batch(run_id, [*points, *odd], [Param("lr", "0.1")], [RunTag("note", "x" * 4000)])
    dataset = Dataset("train", "abc", "local", "{}", schema='{"a": 1}')
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
    for number in range(2):
        tags = {"mlflow.parentRunId": run_id, "mlflow.user": "bob"}
        child = client.create_run(churn, start_time=1_700_000_001_000 + number, run_name=f"child-{number}", tags=tags)
        client.log_metric(child.info.run_id, "loss", number, timestamp=1, step=number)
        client.set_terminated(child.info.run_id, "FAILED", 1_700_000_002_000)
    client.set_terminated(run_id, "FINISHED", 1_700_000_003_000)
    client.delete_run(client.create_run(churn, start_time=1_700_000_004_000).info.run_id)
    client.create_run(gone, start_time=1_700_000_005_000)
    client.delete_experiment(gone)
    return run_id


def models(client: MlflowClient, run_id: str) -> None:
    """A registered model with a gap, stages and aliases, one without a version, and a prompt of two versions."""
    client.create_registered_model("churn-model", tags={"owner": "ada"}, description="predicts churn")
    for number in (1, 2, 3):
        source = f"gs://artifacts/churn/{run_id}/artifacts/model-{number}"
        client.create_model_version("churn-model", source, run_id, tags={"n": str(number)}, await_creation_for=0)
    client.delete_model_version("churn-model", "2")
    client.transition_model_version_stage("churn-model", "1", "Archived")
    client.transition_model_version_stage("churn-model", "3", "Production")
    client.set_registered_model_alias("churn-model", "champion", "3")
    client.create_registered_model("empty")
    register = mlflow.register_prompt if VERSION < (3, 0) else mlflow.genai.register_prompt
    register("greeting", "Hello {{name}}", commit_message="first")
    register("greeting", "Good morning {{name}}", commit_message="second")


def logged_models(client: MlflowClient, run_id: str) -> None:
    """One with params and metrics, linked to its run, and one that failed."""
    from mlflow.entities import LoggedModelOutput

    experiment = client.get_run(run_id).info.experiment_id
    forest = client.create_logged_model(experiment, "forest", run_id, {"team": "blue"}, {"depth": "3"}).model_id
    client.log_batch(run_id, [Metric("auc", 0.75, 20, 2, model_id=forest, run_id=run_id)])
    client.log_outputs(run_id, [LoggedModelOutput(forest, 2)])
    client.finalize_logged_model(forest, "READY")
    failed = client.create_logged_model(experiment, "failed").model_id
    client.finalize_logged_model(failed, "FAILED")


def traces(client: MlflowClient) -> None:
    """Three, of which one failed; feedback on one of them, where it can be given."""
    mlflow.set_experiment("traced")
    session = {"metadata": {"mlflow.trace.session": "s-1", "mlflow.trace.user": "ada"}} if VERSION >= (3, 1) else {}
    for number in range(3):
        try:
            with mlflow.start_span(f"question-{number}", span_type="CHAIN") as root:
                root.set_inputs({"question": f"größe {number}"})
                with mlflow.start_span("model", span_type="LLM") as model:
                    model.set_attributes(USAGE)
                    model.set_outputs(["模型"])
                mlflow.update_current_trace(tags={"number": str(number)}, **session)
                if number == 2:
                    raise ZeroDivisionError  # noqa: TRY301 - the trace is to fail
                root.set_outputs("answer")
        except ZeroDivisionError:
            pass
    if VERSION >= (3, 2):
        trace_id = mlflow.search_traces(return_type="list")[0].info.trace_id
        mlflow.log_feedback(trace_id=trace_id, name="good", value=True, rationale="because")
        mlflow.log_expectation(trace_id=trace_id, name="answer", value="größe")


def evaluation(client: MlflowClient) -> None:
    """An evaluation dataset with records."""
    from mlflow.genai.datasets import create_dataset

    experiment = client.get_experiment_by_name("churn").experiment_id
    dataset = create_dataset(name="questions", experiment_id=experiment, tags={"team": "blue"})
    dataset.merge_records([{"inputs": {"question": f"größe {n}"}, "expectations": {"n": n}} for n in range(3)])


def main() -> None:
    """Fill the server that the only argument names."""
    mlflow.set_tracking_uri(sys.argv[1])
    client = MlflowClient()
    run_id = runs(client)
    models(client, run_id)
    if VERSION >= (3, 0):
        logged_models(client, run_id)
    traces(client)
    if VERSION >= (3, 4):
        evaluation(client)


if __name__ == "__main__":
    main()
