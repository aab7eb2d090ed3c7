"""Google's exceptions → ours. The only place that knows them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator

from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from requests import RequestException
from urllib3.exceptions import HTTPError

from mlmeta.errors import (
    BucketMissingError,
    ObjectExistsError,
    ObjectMissingError,
    StorageDeniedError,
    StorageError,
    StorageFullError,
)
from mlmeta.redaction import in_brief, without_any_secrets
from mlmeta.storage.base import NO_SPACE

_LOG_IN = "log in with `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"
_ROLES = (
    "the account needs storage.objects.list, get and create, and delete to prune (docs/how-to/gcs.md names the roles)"
)
_HELD = "the bucket keeps it (retention policy, hold, soft delete settings): prune it once it may be deleted"
_FORBIDDEN = (
    (("retention policy", "retentionpolicy", "object hold", "temporary hold", "event-based hold"), _HELD),
    (("billing",), "billing is not enabled for the bucket's project"),
    (("service controls", "organization's policy", "organization policy"), "a policy of the organization forbids it"),
    (("user project", "userproject"), "the bucket uses requester pays, which mlmeta does not support"),
)
"""Words in what Google says with 403, and what to do where no role helps."""
_AGAIN = "try again; if it happens again, check the network and its proxies"


@contextlib.contextmanager
def spool_errors() -> Iterator[None]:
    """Errors of the local temporary file that an object is staged in. Goes outside of `gcs_errors`."""
    try:
        yield
    except OSError as error:
        folder = tempfile.tempdir or "any folder for temporary files"
        if error.errno in NO_SPACE:
            hint = "free some space there, or set TMPDIR to another folder"
            raise StorageFullError(f"no space left for temporary files in {folder}", hint=hint) from error
        reason = error.strerror or error
        raise StorageError(f"no temporary file in {folder}: {reason}", hint="set TMPDIR to another folder") from error


@contextlib.contextmanager
def credentials_errors(location: str) -> Iterator[None]:
    """Errors of making a client: Google's library expects one shape of JSON in the credentials file."""
    try:
        yield
    except (AttributeError, KeyError, TypeError) as error:
        raise StorageDeniedError(
            f"no credentials for {location}: their file has an unexpected format", hint=_LOG_IN
        ) from error


@contextlib.contextmanager
def gcs_errors(location: str, name: str = "") -> Iterator[None]:
    """Errors of the client.

    Args:
        location: ``gs://bucket/prefix/``.
        name: of the object; empty: the bucket as a whole.
    """
    where = location + name
    try:
        with _understood(where):
            yield
    except api.NotFound as error:
        raise _missing(location, name) from error
    except api.Unauthorized as error:
        raise StorageDeniedError(f"no valid credentials for {where}: {_short(error)}", hint=_LOG_IN) from error
    except (api.Forbidden, auth.InvalidOperation) as error:
        raise StorageDeniedError(f"no permission for {where}: {_short(error)}", hint=_forbidden(error)) from error
    except (auth.DefaultCredentialsError, auth.RefreshError) as error:
        raise StorageDeniedError(f"no credentials for {where}: {_short(error)}", hint=_LOG_IN) from error
    except DataCorruption as error:
        raise StorageError(f"{where} did not arrive as it is stored: its CRC32C differs", hint=_AGAIN) from error
    except (api.RetryError, auth.TransportError, RequestException, HTTPError, ConnectionError, TimeoutError) as error:
        cause = getattr(error, "cause", None) or error
        raise StorageError(
            f"{where} can't be reached: {_short(cause)}", hint="check the network, and try again"
        ) from error
    except (api.GoogleAPICallError, auth.GoogleAuthError, InvalidResponse, ValueError) as error:
        raise StorageError(
            f"{where} failed: {_short(error)}", hint="check the name and the settings of the bucket, and try again"
        ) from error


@contextlib.contextmanager
def _understood(where: str) -> Iterator[None]:
    """The client takes a reply for what it should be."""
    try:
        yield
    except (AttributeError, KeyError, TypeError) as error:
        raise StorageError(
            f"{where} gave an answer that is not one of Cloud Storage",
            hint="check the network and its proxies, and STORAGE_EMULATOR_HOST",
        ) from error


def _missing(location: str, name: str) -> StorageError:
    bucket = location.split("/")[2]
    if not name:
        return BucketMissingError(
            f"there is no bucket {bucket}, or no permission to see it", hint="check its name in --storage"
        )
    return object_missing(location, name)


def object_exists(location: str, name: str) -> ObjectExistsError:
    """There is an object of that name, and it is somebody else's."""
    return ObjectExistsError(
        f"{location}{name} exists already", name=name, hint="somebody else writes there too: try again"
    )


def object_missing(location: str, name: str) -> ObjectMissingError:
    """There is no object of that name."""
    return ObjectMissingError(
        f"{location}{name} is missing",
        name=name,
        hint="somebody removed it: `mlmeta list` shows which snapshots are complete",
    )


def _forbidden(error: object) -> str:
    text = str(error).lower()
    return next((hint for words, hint in _FORBIDDEN if any(word in text for word in words)), _ROLES)


def _short(error: object) -> str:
    lines = without_any_secrets(str(error)).strip().splitlines()
    return in_brief(lines[0], 200) if lines else type(error).__name__
