"""Something stands between, or at the wrong address: what answers there, and a hint that fits."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.builders.stores import add_logged_models
from tests.support.cli import Cli, Finished
from tests.support.databases import Databases
from tests.support.hostile_server import Asked, hostile_server
from tests.support.proxy import Request, proxy, static_server
from tests.support.server import Server

PATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
EMPTY = (200, b"{}", "application/json")


def _refused(cli: Cli, uri: str, env: dict[str, str | None] | None = None) -> tuple[str, str]:
    """Message and hint of a backup from there."""
    done: Finished = cli("backup", "--tracking-uri", uri, "--json", env={**PATIENT, **(env or {})}).ended(1)
    (error,) = done.document["errors"]
    assert not (cli.folder / "backups").exists()
    return error["message"], error["hint"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of localhost, signed by itself."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    alternative = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *alternative, "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.mark.parametrize(
    ("prefix", "written", "elsewhere"),
    [
        ("/mlflow", "", "/mlflow"),
        ("/mlflow", "/#/experiments/1", "/mlflow"),
        ("/mlflow", "/mlflow/models", "/mlflow"),
        ("/mlflow", "/wrong", "/mlflow"),
        ("/team/a", "/team/a/experiments", "/team/a"),
        ("/team", "/team/b", "/team"),
        ("", "/mlflow", ""),
        ("", "/#/experiments/1", ""),
    ],
)
def test_mlflow_answers_elsewhere(server: Server, cli: Cli, prefix: str, written: str, elsewhere: str) -> None:
    """`mlflow server --static-prefix`, or a proxy that does the same, and what people copy from a browser."""

    def outside(request: Request) -> int | None:
        return None if request.path.startswith(f"{prefix}/api") else 404

    with proxy(server.uri, outside) as below:
        below.prefix = prefix
        message, hint = _refused(cli, below.uri + written)
        assert len(below.requests) <= 8
        assert "as an MLflow server does" in message
        assert hint == f"an MLflow server answers at {below.uri}{elsewhere}: use that as the tracking URI"
        cli("backup", "--tracking-uri", below.uri + elsewhere).ok()


def test_a_page_leads_to_the_server(cli: Cli) -> None:
    """A redirect of the first page (nginx: `location = / { return 302 /ml/; }`)."""

    def search(asked: Asked) -> None:
        asked.reply({"experiments": []} if asked.path.startswith("/ml/") else {}, 200 if "/ml/" in asked.path else 404)

    with hostile_server({"/experiments/search": search, "/": _leads_to_ml}) as plan:
        _, hint = _refused(cli, plan.uri)
    assert hint == f"an MLflow server answers at {plan.uri}/ml: use that as the tracking URI"


def _leads_to_ml(asked: Asked) -> None:
    asked.reply({}, 302, Location="/ml/") if asked.path == "/" else asked.reply({})


FRONTS: dict[str, tuple[int, dict[str, str], str, str]] = {
    "IAP": (401, {"X-Goog-IAP-Generated-Response": "true"}, "Identity-Aware Proxy", "print-identity-token --audiences"),
    "Cloud Run": (403, {"Server": "Google Frontend"}, "Google's front end", "print-identity-token"),
    "Cloudflare": (403, {"Server": "cloudflare"}, "(403, from Cloudflare)", "service token"),
    "nginx 403": (403, {"Server": "nginx/1.25"}, "(403, from nginx)", "ask for the permission"),
    "nginx 502": (502, {"Server": "nginx/1.25"}, "502, from nginx", "can't reach the server"),
    "MLflow 401": (401, {"Server": "uvicorn"}, "(401)", "MLFLOW_TRACKING_USERNAME"),
    "MLflow 503": (503, {"Server": "uvicorn"}, "503", "look at the server's log"),
    "407": (407, {}, "the proxy on the way", "HTTP_PROXY"),
    "nginx with TLS": (400, {"Server": "nginx"}, "(400, from nginx)", "check the address"),
}


@pytest.mark.parametrize("what", FRONTS)
def test_who_answers_in_front(cli: Cli, what: str) -> None:
    status, headers, said, advised = FRONTS[what]
    with static_server(status, b"<html><title>no</title></html>", headers=headers) as uri:
        message, hint = _refused(cli, uri)
    assert said in message
    assert advised in hint


def test_a_name_that_the_server_was_not_told_of(cli: Cli) -> None:
    page = b"Invalid Host header - possible DNS rebinding attack detected"
    with static_server(403, page, "text/plain", headers={"Server": "Google Frontend"}) as uri:
        message, hint = _refused(cli, uri)
    assert message == f"{uri} does not answer to that name (Invalid Host header)"
    assert "MLFLOW_SERVER_ALLOWED_HOSTS" in hint


def test_tls(cli: Cli, certificate: Path) -> None:
    with static_server(*EMPTY, certificate=certificate) as uri:
        message, hint = _refused(cli, uri.replace("https", "http"))
        assert ("speaks TLS" in message, hint) == (True, "write https:// instead of http://")
        local = uri.replace("127.0.0.1", "localhost")
        message, hint = _refused(cli, local)
        assert "not signed by anyone trusted here" in message
        assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in hint
        assert "MLFLOW_TRACKING_INSECURE_TLS" in hint
        trusted = {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(certificate)}
        message, hint = _refused(cli, uri, trusted)
        assert ("for another name" in message, "use the name" in hint) == (True, True)
        message, hint = _refused(cli, uri, {"MLFLOW_TRACKING_SERVER_CERT_PATH": "/nowhere.pem"})
        assert "can't be read" in message
        assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in hint
        for good in (trusted, {"MLFLOW_TRACKING_INSECURE_TLS": "true"}):
            cli("backup", "--tracking-uri", local, "--dry-run", env={**PATIENT, **good}).ok()
    both = {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(certificate), "MLFLOW_TRACKING_INSECURE_TLS": "true"}
    message, hint = _refused(cli, local, both)
    assert "settings" in message
    assert "MLFLOW_TRACKING_" in hint


def test_https_for_a_server_without(cli: Cli) -> None:
    with static_server(*EMPTY) as uri:
        message, hint = _refused(cli, uri.replace("http", "https"))
    assert "does not speak TLS" in message
    assert hint.startswith("write http:// instead of https://")


def test_a_proxy_that_wants_credentials(cli: Cli) -> None:
    with static_server(407, b"<html>who are you?</html>") as outer:
        through: dict[str, str | None] = {"HTTP_PROXY": outer, "HTTPS_PROXY": outer, "NO_PROXY": None}
        for scheme in ("http", "https"):
            message, hint = _refused(cli, f"{scheme}://mlflow.example", through)
            assert "407" in message
            assert "HTTPS_PROXY" in hint


def test_a_proxy_in_the_environment(cli: Cli) -> None:
    secret = "http://me:s3cret@"
    with static_server(404, b"<html>no such host</html>") as outer:
        message, hint = _refused(cli, "http://mlflow.example", {"HTTP_PROXY": outer.replace("http://", secret)})
    assert "(404)" in message
    assert hint.endswith(f"requests go through the proxy {outer}, unless NO_PROXY has mlflow.example")
    message, hint = _refused(cli, "http://mlflow.example", {"HTTP_PROXY": "http://127.0.0.1:9"})
    assert "the proxy can't be used" in message
    assert "HTTP_PROXY" in hint


@pytest.mark.parametrize("uri", ["http://localhost:9", "http://127.0.0.1:9"])
def test_localhost_in_a_container(cli: Cli, uri: str) -> None:
    _, hint = _refused(cli, uri)
    assert hint.endswith("within a container, localhost is the container itself")


def test_a_web_page_in_the_middle(filled: Server, cli: Cli) -> None:
    """Nothing of its HTML gets onto the screen but the title."""

    def broken(request: Request) -> int | None:
        return 502 if "registered-models" in request.path else None

    with proxy(filled.uri, broken) as between:
        between.page = b"<html>\n<head><title>502 Bad Gateway</title></head>\n<body>nginx</body></html>"
        done = cli("backup", "--tracking-uri", between.uri, env=PATIENT).ended(3)
    assert 'the web page "502 Bad Gateway"' in done.err
    assert "<" not in done.err


def test_a_permission_that_is_missing(filled: Server, cli: Cli) -> None:
    with proxy(filled.uri, lambda request: 403 if "get-by-name" in request.path else None) as between:
        _, hint = _refused_limited(cli, between.uri)
    assert "ask for the permission" in hint


def test_permissions_that_a_restore_lacks(server: Server, snapshots: Path, cli: Cli) -> None:
    for ends in (("experiments/create", "registered-models/create"), ("runs/create",)):
        with proxy(server.uri, lambda request, ends=ends: 403 if request.path.endswith(ends) else None) as between:
            words = ("restore", "--timestamp", "latest", "--tracking-uri", between.uri, "--yes", "--json")
            errors = cli(*words, env=PATIENT).ended(3).document["errors"]
        hints = {error["hint"] for error in errors if "403" in error["message"]}
        assert len(hints) == 1
        assert "ask for the permission" in hints.pop()


def _refused_limited(cli: Cli, uri: str) -> tuple[str, str]:
    done = cli("backup", "--tracking-uri", uri, "--experiment", "churn", "--json", env=PATIENT).ended(1)
    (error,) = done.document["errors"]
    return error["message"], error["hint"]


def test_a_server_before_logged_models(server: Server, databases: Databases, cli: Cli) -> None:
    """MLflow 2 answers 404 to all of them, with a web page: the plan says so, and the restore does the rest."""
    store = databases.copy("filled", cli.folder / "store.db")
    add_logged_models(store, deleted=False)
    cli("backup", "--tracking-uri", store).ok()
    with proxy(server.uri, lambda request: 404 if "logged-models" in request.path else None) as old:
        old.page = b"<!doctype html>\n<title>404 Not Found</title>"
        words = ("restore", "--timestamp", "latest", "--tracking-uri", old.uri, "--yes", "--json")
        for more in (("--dry-run",), ()):
            done = cli(*words, *more).ended(3)
            hints = {e["hint"] for e in done.document["errors"] if e["message"].endswith(NO_LOGGED_MODELS)}
            assert hints == {"upgrade the server to MLflow 3 and restore again, or restore into a database"}
    assert all("<" not in error["message"] for error in done.document["errors"])


NO_LOGGED_MODELS = ": the target has no logged models, which came with MLflow 3"
