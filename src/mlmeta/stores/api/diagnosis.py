"""What answers, or does not, where a tracking URI says that an MLflow server is; and what to do about it."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from mlmeta.errors import (
    AuthenticationError,
    ConnectionFailedError,
    NotMlflowError,
    UnreachableError,
)
from mlmeta.redaction import without_secrets
from mlmeta.stores.api.bounded import json_object

if TYPE_CHECKING:
    from requests import Response

Ask = Callable[[str, str], "Response | None"]
"""Sends the check (``POST``), or asks for the page (``GET``), at another address of the same server; None: no reply."""

_PATIENCE = 5.0
_TLS_RECORDS = {b"\x15", b"\x16"}
"""How an alert and a handshake begin."""
_MOST_ADDRESSES = 5
_LOG = "look at the server's log, and try again later"
_CREDENTIALS = "check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
_TLS = "write https:// instead of http://"
_PROXY_LOGIN = "write them into HTTP_PROXY and HTTPS_PROXY, as http://user:password@proxy:port"
_PERMISSION = "the credentials are known, but may not do this: ask for the permission, there or at the proxy in front"
_NO_NAME = "Invalid Host header"
"""What MLflow (3.5 on) says to whoever calls it by a name that it was not told of."""
_ALLOWED_HOSTS = "add that name to the server's MLFLOW_SERVER_ALLOWED_HOSTS (--allowed-hosts), or use one that it has"


@dataclass(frozen=True)
class _Failure:
    """Words in what is raised where nothing comes back, what to say, and what to do."""

    words: tuple[str, ...]
    said: str
    hint: str


_FAILURES = (
    _Failure(
        ("Tunnel connection failed: 407",),
        "the proxy wants a user and a password (407)",
        _PROXY_LOGIN,
    ),
    _Failure(
        ("ProxyError", "Unable to connect to proxy"), "the proxy can't be used", "check HTTP_PROXY and HTTPS_PROXY"
    ),
    _Failure(
        ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "wrong version number", "record layer failure"),
        "it does not speak TLS",
        "write http:// instead of https://",
    ),
    _Failure(
        ("Hostname mismatch", "IP address mismatch", "doesn't match"),
        "its certificate is for another name",
        "use the name that the certificate is for",
    ),
    _Failure(
        ("certificate has expired",),
        "its certificate has expired",
        "the server needs a new certificate, or the clock here is wrong",
    ),
    _Failure(
        ("CERTIFICATE_VERIFY_FAILED", "certificate verify failed"),
        "its certificate is not signed by anyone trusted here",
        "put the PEM file of its authority into MLFLOW_TRACKING_SERVER_CERT_PATH, or trust any certificate with "
        "MLFLOW_TRACKING_INSECURE_TLS=true",
    ),
    _Failure(
        ("TLS CA certificate bundle",),
        "the certificates to check it with can't be read",
        "check the path in MLFLOW_TRACKING_SERVER_CERT_PATH or REQUESTS_CA_BUNDLE",
    ),
    _Failure(
        ("Connection refused",),
        "connection refused",
        "check the address, and that the server runs; within a container, localhost is the container itself",
    ),
    _Failure(
        (
            "Name or service not known",
            "Temporary failure in name resolution",
            "nodename nor servname",
            "NameResolutionError",
        ),
        "name or service not known",
        "check the address: no such host is known here (spelling, VPN, the container's network)",
    ),
    _Failure(
        ("timed out",),
        "timed out",
        "check the address, that the server runs, and that it can be reached from here (VPN, firewall)",
    ),
    _Failure(
        ("No route to host", "Network is unreachable"), "no route to host", "check the address and the network (VPN)"
    ),
)
_OTHERWISE = "check the address, that the server runs, and that it can be reached from here (VPN, firewall)"

_FRONTS = (
    (
        ("x-goog-iap-generated-response", ""),
        "Google's Identity-Aware Proxy",
        "it needs a token: MLFLOW_TRACKING_TOKEN=$(gcloud auth print-identity-token --audiences=CLIENT_ID)",
    ),
    (
        ("server", "google frontend"),
        "Google's front end",
        "Cloud Run needs a token: MLFLOW_TRACKING_TOKEN=$(gcloud auth print-identity-token), of a Cloud Run Invoker",
    ),
    (
        ("server", "cloudflare"),
        "Cloudflare",
        "it must let this machine through, such as by a service token that an MLflow request-header plugin adds",
    ),
    (("server", "nginx"), "nginx", ""),
    (("server", "apache"), "Apache", ""),
    (("server", "envoy"), "Envoy", ""),
    (("server", "awselb"), "AWS's load balancer", ""),
    (("server", "squid"), "Squid", ""),
)
"""Who stands in front of a server: a header and how its value begins, the name, and how to get past."""


def unreachable(name: str, uri: str, error: BaseException, reason: str) -> ConnectionFailedError:
    """The error for a server that gave no reply.

    Args:
        name: its address without credentials.
        uri: the address.
        error: what was raised.
        reason: that in one line.
    """
    text = str(error)
    found = next((f for f in _FAILURES if any(words in text for words in f.words)), None)
    if found is None and _speaks_tls(uri):
        return UnreachableError(f"no answer from {name}: it speaks TLS", hint=_TLS)
    said, hint = (found.said, found.hint) if found else (reason, _OTHERWISE)
    return UnreachableError(f"no answer from {name}: {said}", hint=hint + _by_way_of(uri))


def judge(response: Response, name: str, uri: str, ask: Ask) -> None:
    """See that a reply to a search for experiments is one of MLflow's.

    Args:
        response: the reply.
        name: the server's address without credentials.
        uri: the address.
        ask: for a look whether MLflow answers elsewhere.

    Raises:
        ConnectionFailedError: it is not.
    """
    status = response.status_code
    front, way = _front(response)
    said = f"{status}, from {front}" if front else str(status)
    if status in {401, 403, 407}:
        if status == 403 and response.content.startswith(_NO_NAME.encode()):
            raise AuthenticationError(f"{name} does not answer to that name ({_NO_NAME})", hint=_ALLOWED_HOSTS)
        raise _refused(status, said, way, name, uri)
    if status >= 500 or status == 429:
        is_cut_off = front and status in {502, 503, 504}
        hint = f"{front} can't reach the server: check that it is running" if is_cut_off else _LOG
        raise UnreachableError(f"{name} answers {said} ({response.reason})", hint=hint + _by_way_of(uri))
    if status == 400 and _speaks_tls(uri):
        raise NotMlflowError(f"{name} answers ({said}) that it speaks TLS", hint=_TLS)
    if status != 200 or not is_experiment_list(response):
        raise not_mlflow(name, uri, said, ask)


def _refused(status: int, said: str, way: str, name: str, uri: str) -> AuthenticationError:
    if status == 407:
        return AuthenticationError(
            f"the proxy on the way to {name} wants a user and a password (407)", hint=_PROXY_LOGIN
        )
    usual = _CREDENTIALS if status == 401 else _PERMISSION
    return AuthenticationError(f"{name} refuses access ({said})", hint=(way or usual) + _by_way_of(uri))


def not_mlflow(name: str, uri: str, said: str, ask: Ask) -> NotMlflowError:
    """The error for an address where something else answers.

    Args:
        name: the address without credentials.
        uri: the address.
        said: what answers.
        ask: for a look whether MLflow answers elsewhere.
    """
    message = f"{name} answers ({said}), but not as an MLflow server does"
    if found := _elsewhere(uri, ask):
        where = without_secrets(found)
        return NotMlflowError(message, hint=f"an MLflow server answers at {where}: use that as the tracking URI")
    if "redirects" in said or "login page" in said:
        hint = "if a login or a proxy stands in front, it needs a token (MLFLOW_TRACKING_TOKEN); else check the address"
    else:
        hint = "check the address: it is the one the MLflow UI opens on, without what follows #"
    return NotMlflowError(message, hint=hint + _by_way_of(uri))


def _elsewhere(uri: str, ask: Ask) -> str:
    """Where on the same host and port MLflow's API answers (``mlflow server --static-prefix``); empty: nowhere seen."""
    for other in itertools.islice(_others(uri, ask), _MOST_ADDRESSES):
        reply = ask("POST", other)
        if reply is not None and reply.status_code == 200 and is_experiment_list(reply):
            return other
    return ""


def _others(uri: str, ask: Ask) -> Iterator[str]:
    """The usual prefix, the addresses above this one, and the one that its page leads to."""
    parts = urlsplit(uri)
    steps = [step for step in parts.path.split("/") if step]
    above = ["".join(f"/{step}" for step in steps[:count]) for count in range(len(steps), -1, -1)]
    tried = {uri.rstrip("/")}
    for path in (*above, f"{above[0]}/mlflow", "/mlflow", None):
        if path is None:
            page = ask("GET", urlunsplit((parts.scheme, parts.netloc, above[0], "", "")))
            place = urlsplit(page.url).path if page is not None else ""
        else:
            place = path
        found = urlunsplit((parts.scheme, parts.netloc, place.rstrip("/"), "", ""))
        if found not in tried:
            tried.add(found)
            yield found


def _front(response: Response) -> tuple[str, str]:
    """Who answers in front of the server, and how to get past; both empty: the server itself, as far as can be seen."""
    for (header, beginning), name, way in _FRONTS:
        if response.headers.get(header, "").lower().startswith(beginning) and header in response.headers:
            return name, way
    return "", ""


def _by_way_of(uri: str) -> str:
    """A word on the proxy that requests go through, where there is one."""
    from requests.utils import get_environ_proxies, select_proxy

    proxy = select_proxy(uri, get_environ_proxies(uri))
    host = urlsplit(uri).hostname
    return f"; requests go through the proxy {without_secrets(proxy)}, unless NO_PROXY has {host}" if proxy else ""


def _speaks_tls(uri: str) -> bool:
    """Whether a server that was asked without TLS answers a TLS greeting. Nothing is told to it."""
    parts = urlsplit(uri)
    if parts.scheme != "http" or not parts.hostname:
        return False
    greeting = ssl.MemoryBIO()
    session = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), greeting, server_hostname=parts.hostname)
    with contextlib.suppress(ssl.SSLWantReadError):
        session.do_handshake()
    with (
        contextlib.suppress(OSError, ValueError),
        socket.create_connection((parts.hostname, parts.port or 80), _PATIENCE) as server,
    ):
        server.sendall(greeting.read())
        return server.recv(1) in _TLS_RECORDS
    return False


def is_experiment_list(response: Response) -> bool:
    """Whether a reply is what MLflow says to a search for experiments."""
    content = json_object(response)
    return content is not None and content.keys() <= {"experiments", "next_page_token"}


_PAGE = re.compile(
    r"[.\s]*Response body: '\s*(?:<!--.*?-->\s*)*<(?:!doctype|html|head|\?xml).*", re.IGNORECASE | re.DOTALL
)
_TITLE = re.compile(r"<title[^>]*>\s*(.*?)\s*</title>", re.IGNORECASE | re.DOTALL)


def without_page(text: str) -> str:
    """A message of MLflow's without the web page that it quotes: of that, its title."""
    page = _PAGE.search(text)
    if page is None:
        return text
    title = _TITLE.search(page[0])
    what = f'the web page "{title[1]}"' if title and title[1] else "a web page"
    return f"{text[: page.start()]}: {what}, as a proxy or a login sends it"


def advice(error: BaseException, otherwise: str = _LOG) -> str:
    """What to do about a call that failed while all is well otherwise.

    Args:
        error: what was raised.
        otherwise: what to say where the error itself suggests nothing.
    """
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException):
        return otherwise
    status = error.get_http_status_code()
    if status == 401:
        return _CREDENTIALS
    if status == 403:
        return _PERMISSION
    if error.error_code == "ENDPOINT_NOT_FOUND":
        return "the server is too old for this, or a proxy in front blocks it"
    return otherwise
