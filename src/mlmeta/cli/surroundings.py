"""What the operating system or the environment refuses, as an error of ours: it is not a bug of mlmeta."""

from __future__ import annotations

import errno
import os
import traceback
from pathlib import Path

from mlmeta.errors import MlmetaError, OperatingSystemError, UsageError

_SPACE = "free some space there; limits (quota, ulimit -f) count as well"
_HINTS = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: _SPACE,
    errno.EMFILE: "allow more open files (ulimit -n), or use a smaller --jobs",
    errno.ENFILE: "the whole machine has too many open files: try again later",
    errno.EAGAIN: "allow more processes and threads (ulimit -u), or use a smaller --jobs",
    errno.ENOMEM: "give it more memory (ulimit -v, the container's limit), or use a smaller --jobs",
    errno.ENAMETOOLONG: "use a shorter path",
    errno.ELOOP: "a symbolic link there leads to itself",
    errno.EROFS: "use a place that can be written",
}
_THREADS = "can't start new thread"


def refused(error: Exception) -> MlmetaError | None:
    """The error for what the surroundings refused; None where `error` is something else."""
    if isinstance(error, OSError):
        reason = os.strerror(error.errno) if error.errno else str(error)
        where = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        message = f"the system refused: {where}: {reason}" if where else f"the system refused: {reason}"
        hint = _HINTS.get(error.errno or 0, "check that path, its permissions, and the process's limits (ulimit -a)")
        return OperatingSystemError(message, hint=hint)
    if isinstance(error, MemoryError):
        return OperatingSystemError("the system refused: there is not enough memory", hint=_HINTS[errno.ENOMEM])
    if isinstance(error, RuntimeError) and _THREADS in str(error):
        return OperatingSystemError("the system refused: no further thread", hint=_HINTS[errno.EAGAIN])
    if isinstance(error, ValueError) and _loads_mlflow(error):
        return UsageError(f"MLflow can't be loaded: {error}", hint="check the variables MLFLOW_… of the environment")
    return None


def _loads_mlflow(error: Exception) -> bool:
    """Whether it came up while MLflow's modules were imported: they read the environment."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(frame.name == "<module>" and "mlflow" in Path(frame.filename).parts for frame in frames)
