"""MLflow's functions without a client, which remember the store and the experiment that were set."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import mlflow
from mlflow.tracking import fluent


@contextlib.contextmanager
def tracking(uri: str) -> Iterator[None]:
    """They talk to this store, within the block; afterwards, nothing is set in this process or for those it starts."""
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        for thread in threading.enumerate():  # that MLflow leaves to link prompts to the experiment
            if thread.name.startswith("link_prompt"):
                thread.join(60)
        fluent._active_experiment_id = None
        os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
