"""Password hashes stay on this machine, unless somebody says otherwise."""

from __future__ import annotations

from collections.abc import Iterable

from mlmeta.errors import UsageError
from mlmeta.storage import is_local

INCLUDE = "--include-password-hashes"


def require_local(locations: Iterable[str], why: str) -> None:
    """See that no password hash goes to where others may read it.

    Args:
        locations: of storages that a snapshot with password hashes would go to.
        why: what brings the hashes.

    Raises:
        UsageError: one of them is a bucket.
    """
    if remote := [location for location in locations if not is_local(location)]:
        raise UsageError(
            f"{why} would put password hashes into {', '.join(remote)}, which whoever may read the bucket can try to "
            "crack; nothing was written",
            hint=f"add {INCLUDE} if that is meant, or name folders only",
        )
