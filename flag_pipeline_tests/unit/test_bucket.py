"""What is refused before any server is asked."""

import sys

import pytest

from flag_pipeline.core.bucket import open_bucket
from flag_pipeline.errors import SinkError


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain installation has no client for buckets."""
    monkeypatch.setitem(sys.modules, "obstore.exceptions", None)

    with pytest.raises(SinkError, match=r"pip install 'flag-pipeline\[s3\]'"):
        open_bucket("s3://flags/x")


def test_without_credentials_nobody_is_asked_for_them() -> None:
    """Not even the metadata service of a cloud's machine, which elsewhere is a long wait."""
    pytest.importorskip("obstore", reason="the extra s3 is not installed")

    with pytest.raises(SinkError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        open_bucket("s3://flags/x")


@pytest.mark.parametrize(
    ("url", "endpoint", "message"),
    [("s3://flags", "localhost:8333", "must begin with http"), ("s3:///flags", "http://127.0.0.1:1", "cannot use s3:")],
)
def test_what_cannot_be_right_is_refused(
    monkeypatch: pytest.MonkeyPatch, url: str, endpoint: str, message: str
) -> None:
    """With the variable or the URL in the error."""
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "flags")

    with pytest.raises(SinkError, match=message):
        open_bucket(url)
