"""Batches on a Dask cluster: its client is a `concurrent.futures.Executor`, with edges that this module rounds off.

Every wait here ends: a cluster that loses all its workers would otherwise keep its tasks for ever.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar

from mlmeta.errors import ClusterError, MlmetaError, UsageError
from mlmeta.installing import how_to_install
from mlmeta.stores.api.connection import Connection

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 10
WORKER_SECONDS = 30
"""For how long a cluster may be without a worker."""
_LOOK_SECONDS = 1.0
_ANSWER_SECONDS = 5
_LOUD = ("distributed", "distributed.client", "distributed.gc", "tornado", "tornado.application")
T = TypeVar("T")


@contextlib.contextmanager
def dask_executor(address: str, connection: Connection) -> Iterator[Executor]:
    """An executor on the workers of a cluster; closed at the end of the block.

    Args:
        address: of the scheduler, such as ``tcp://scheduler:8786``.
        connection: to the store that the workers shall read. It goes to them with the credentials of its URI; what
            MLflow takes from the environment, theirs must have.

    Raises:
        UsageError: the package `distributed` is not installed, or the address is not one.
        ClusterError: there is no such scheduler, it has no worker, or a worker can't do the work.
    """
    try:
        import distributed
    except ImportError as error:
        raise UsageError("Dask is not installed", hint=how_to_install("distributed")) from error
    if "://" not in address:
        raise UsageError(f"{address!r} is not the address of a Dask scheduler", hint="write dask:tcp://HOST:PORT")
    connection.check()  # a server that is down is not a worker's fault
    with _silent():
        try:
            client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, TimeoutError, ValueError, TypeError, AssertionError) as error:  # TypeError: tls:// unset
            hint = "check the address, that it runs, and Dask's own settings for tls://"
            raise ClusterError(f"no Dask scheduler at {address}", hint=hint) from error
        try:
            _check(client, address, connection)
            with _DaskExecutor(client, address) as executor:
                yield executor
        finally:
            with contextlib.suppress(TimeoutError):
                client.close(timeout=CONNECT_SECONDS)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Pages of tracebacks when a worker or scheduler dies: what matters comes as an error of ours."""
    loggers = [logging.getLogger(name) for name in _LOUD]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _check(client: Client, address: str, connection: Connection) -> None:
    """See that the workers have this mlmeta, and reach the store."""
    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
        found = client.run(_ready, connection, on_error="return")
    except TimeoutError as error:
        raise ClusterError(
            f"the Dask cluster at {address} has no worker",
            hint="start a worker (`dask worker SCHEDULER`), and try again",
        ) from error
    here = version("mlmeta")
    for worker, said in found.items():
        if isinstance(said, MlmetaError):
            raise ClusterError(f"Dask worker {worker}: {said}", hint=said.hint) from said
        if isinstance(said, BaseException):
            hint = f"install mlmeta {here} and MLflow there"
            raise ClusterError(f"Dask worker {worker} can't work for mlmeta: {said}", hint=hint) from said
        if said != here:
            raise ClusterError(
                f"Dask worker {worker} has mlmeta {said}, and this is {here}", hint=f"install mlmeta {here} there"
            )


def _ready(connection: Connection) -> str:
    """Run on each worker: its version of mlmeta, once it has reached the store."""
    connection.check()
    return version("mlmeta")


class _DaskExecutor(Executor):
    """Hands calls to a client, and fails those that a cluster without workers would never finish."""

    def __init__(self, client: Client, address: str) -> None:
        self._client = client
        self._address = address
        self._inner = client.get_executor(pure=False)
        self._waiting: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="mlmeta-dask", daemon=True)
        self._watcher.start()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """See `Executor.submit`. The call and its result are pickled."""
        result: Future[T] = Future()
        result.set_running_or_notify_cancel()  # from now on only `_settle` and `_watch` end it
        with self._lock:
            self._waiting.add(result)
        self._inner.submit(fn, *args, **kwargs).add_done_callback(lambda done: self._settle(result, done))
        return result

    def _settle(self, result: Future[Any], done: Future[Any]) -> None:
        with self._lock:
            if result not in self._waiting:
                return
            self._waiting.discard(result)
        try:
            result.set_result(done.result())
        except MlmetaError as error:
            result.set_exception(error)
        except (CancelledError, Exception) as error:  # noqa: BLE001 - it goes on to the one who waits, as our own
            result.set_exception(self._lost(f"lost a batch: {type(error).__name__}: {error}"))

    def _lost(self, what: str) -> ClusterError:
        hint = "look at the workers' logs, or read with threads (without --executor)"
        return ClusterError(f"the Dask cluster at {self._address} {what}", hint=hint)

    def _watch(self) -> None:
        """Fail what waits, once there has been no worker for a while."""
        seen = time.monotonic()
        while not self._over.wait(_LOOK_SECONDS):
            if self._has_worker():
                seen = time.monotonic()
            elif time.monotonic() - seen >= WORKER_SECONDS:
                with self._lock:
                    waiting, self._waiting = self._waiting, set()
                for result in waiting:
                    result.set_exception(self._lost(f"has had no worker for {WORKER_SECONDS} seconds"))

    def _has_worker(self) -> bool:
        try:
            found = self._client.nthreads(callback_timeout=_ANSWER_SECONDS)  # a frozen scheduler gives no answer
        except (OSError, TimeoutError, RuntimeError):
            return False
        return self._client.status == "running" and bool(found)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends at once: whoever is done with it wants no more results."""
        del wait, cancel_futures
        self._over.set()
        self._inner.shutdown(wait=False)
