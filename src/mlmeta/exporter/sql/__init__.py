"""The database of an MLflow server as a source."""

from mlmeta.exporter.sql.source import SqlSource

__all__ = ["SqlSource"]
