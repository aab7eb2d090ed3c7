"""What a throwaway server may be told of a snapshot's artifact locations."""

from __future__ import annotations

import pytest

from mlmeta.errors import UsageError
from mlmeta.stores.rewrite import BUCKETS_ONLY, Rewriter, root_of, shown_location

KEPT = (
    *("gs://bucket/a b/größe", "s3://bucket/1", "oss://bucket/1", "wasbs://box@account.blob.core.windows.net/1"),
    *("mlflow-artifacts:/1/2", "runs:/abc/model", "models:/m-1", "models:/churn/3"),
)
NOT_SERVED = (
    *("/etc", "file:///etc", "FILE:///etc", " file:///etc", "\tfile:///etc", "../../etc", "etc", "C:\\x", "\n"),
    *("http://169.254.169.254/", "ftp://host/", "sftp://host/", "hdfs://host/", "dbfs:/x", "gs:/etc", "GS://bucket/x"),
    *("r2://x@localhost:80/", "b2://x@localhost:80/", "abfss://x@local.host/"),
    *("mlflow-artifacts://host:80/1", "mlflow-artifacts:///1", "models://scope@databricks/m/1", "runs://host/1"),
    *("mlflow-artifacts:/\t/host/1", "models:/\n/host/1", "s3://bucket/x\r\n"),
)


@pytest.mark.parametrize("uri", KEPT)
def test_buckets_and_ids_stay(uri: str) -> None:
    assert Rewriter(BUCKETS_ONLY).uris("runs", uri, None) == [uri, None]


@pytest.mark.parametrize("uri", NOT_SERVED)
def test_what_names_a_file_or_a_host_is_not_served(uri: str) -> None:
    rewriter = Rewriter(BUCKETS_ONLY)
    assert rewriter.uris("runs", uri) == [f"not-served:{uri}"]
    assert rewriter.notes() == ("artifact locations are rewritten in 1 run",)


@pytest.mark.parametrize("pair", [("", "gs://new"), ("gs://old/", "gs://new"), ("gs://old", "gs://new/")])
def test_pairs_that_would_tear_locations_are_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match=r"empty|slash"):
        Rewriter([pair])


def test_a_pair_that_hides_behind_an_earlier_one_is_refused() -> None:
    """Its locations would go where the earlier one sends them, and nobody would notice."""
    inner, outer = ("gs://b/first", "gs://inner"), ("gs://b", "gs://outer")
    assert Rewriter([inner, outer]).uris("runs", "gs://b/first/1", "gs://b/1") == ["gs://inner/1", "gs://outer/1"]
    Rewriter([outer, ("gs://bb", "gs://other")])
    for hidden in (inner, outer):
        with pytest.raises(UsageError, match=f"{hidden[0]} would never be used: gs://b comes before it"):
            Rewriter([outer, hidden])


@pytest.mark.parametrize(
    ("location", "shown", "root"),
    [
        ("gs://bucket/1/a", "gs://bucket/1/a", "gs://bucket"),
        ("wasbs://box@account.net/1", "wasbs://box@account.net/1", "wasbs://box@account.net"),
        ("ftp://me:secret@host/1", "ftp://host/1", "ftp://host"),
        ("s3://bucket/1?token=secret", "s3://bucket/1", "s3://bucket"),
        ("models:/m-1", "models:/m-1", "models:"),
        ("/srv/a:b@c/1", "/srv/a:b@c/1", "a path"),
        ("C:/mlruns/1", "C:/mlruns/1", "a path"),
    ],
)
def test_a_location_is_shown_without_its_password(location: str, shown: str, root: str) -> None:
    assert (shown_location(location), root_of(location)) == (shown, root)
