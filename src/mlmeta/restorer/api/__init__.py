"""The target that speaks MLflow's API: new ids, the original ones kept in tags."""

from mlmeta.restorer.api.target import ApiTarget

__all__ = ["ApiTarget"]
