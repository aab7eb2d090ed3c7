"""The database of an MLflow server as a target: ids, times and everything else arrive as they were."""

from mlmeta.restorer.sql.target import SqlTarget

__all__ = ["SqlTarget"]
