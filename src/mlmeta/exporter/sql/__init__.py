"""The database of an MLflow server as a source."""

from mlmeta.exporter.sql.source import UNSHOWN_BY_API, SqlSource

__all__ = ["UNSHOWN_BY_API", "SqlSource"]
