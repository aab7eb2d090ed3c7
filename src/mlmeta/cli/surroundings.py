"""What the operating system refuses, as an error of ours: it is not a bug of mlmeta."""

from __future__ import annotations

import errno
import os

from mlmeta.errors import OperatingSystemError

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


def refused(error: Exception) -> OperatingSystemError | None:
    """The error for what the system refused; None where `error` is something else."""
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
    return None
