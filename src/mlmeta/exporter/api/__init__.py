"""The source that speaks MLflow's API: any server, and whatever else `MlflowClient` can open."""

from mlmeta.exporter.api.source import ApiSource

__all__ = ["ApiSource"]
