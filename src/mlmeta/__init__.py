"""mlmeta: back up an MLflow server's metadata as small JSON snapshots, and bring it back."""

from __future__ import annotations

__version__ = "0.1.0"
