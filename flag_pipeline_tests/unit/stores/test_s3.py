"""A bucket: what is refused before any server is asked, what a server refuses, and objects in memory.

What holds for every store is tried with a real S3 server in integration/test_sink_places.py.
"""

import sys
from typing import Any

import pytest

from flag_pipeline.errors import SinkError
from flag_pipeline.stores.open_store import open_store
from flag_pipeline.stores.s3 import Bucket, open_bucket
from flag_pipeline_tests.flag_server import FlagServer, answer

SERVER = "http://127.0.0.1:1"


@pytest.fixture
def bucket() -> Bucket:
    """A bucket in memory, behind the client that all buckets are used through."""
    store = pytest.importorskip("obstore.store", reason="the extra s3 is not installed")
    client: Any = store.MemoryStore()
    return Bucket("flags", client, server=SERVER)


@pytest.fixture
def refusing(flag_server: FlagServer, monkeypatch: pytest.MonkeyPatch) -> FlagServer:
    """A server for a bucket named flags, to be told what it refuses."""
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    monkeypatch.setenv("AWS_ENDPOINT_URL", flag_server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "flags")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    return flag_server


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


def test_secret_in_the_servers_address_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket checks it too, because a caller may open a bucket without the settings."""
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:hunter2@127.0.0.1:1")

    with pytest.raises(SinkError, match="AWS_ENDPOINT_URL may hold a secret") as caught:
        open_bucket("s3://flags/x")

    assert "hunter2" not in str(caught.value)


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


def test_objects_are_kept_by_folder(bucket: Bucket) -> None:
    """Each under its path; what is gone, or never was, is absent and no error to delete."""
    bucket.prepare(["flags"])
    for path in ("flags/CN-China.gif", "flags/deeper/x.gif", "records/CN.json"):
        with bucket.lock("CN"):
            bucket.write(path, path.encode())
    bucket.delete("records/CN.json")
    bucket.delete("records/CN.json")
    bucket.close()

    assert bucket.names("flags") == ["CN-China.gif"]
    assert bucket.read("flags/deeper/x.gif") == b"flags/deeper/x.gif"
    assert (bucket.exists("flags/CN-China.gif"), bucket.exists("records/CN.json")) == (True, False)
    with pytest.raises(FileNotFoundError):
        bucket.read("records/CN.json")


def test_objects_that_are_put_together_are_there_one_by_one(bucket: Bucket) -> None:
    """Each put lasts at once: there is nothing to push afterwards."""
    with bucket.batch(), bucket.lock("CN"):
        bucket.write("flags/CN-China.gif", b"GIF")
        bucket.sync("flags")

        assert bucket.read("flags/CN-China.gif") == b"GIF"


def test_larger_object_is_not_downloaded(bucket: Bucket) -> None:
    """Its size is in the answer's headers, and an object of just that size is read."""
    bucket.write("flags/CN-China.gif", b"GIF")

    assert bucket.read("flags/CN-China.gif", 3) == b"GIF"
    with pytest.raises(OSError, match="more than 2 bytes"):
        bucket.read("flags/CN-China.gif", 2)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "NoSuchBucket", "there is no bucket flags"),
        (403, "AccessDenied", "access to bucket flags is denied"),
        (403, "InvalidAccessKeyId", "the key in AWS_ACCESS_KEY_ID is unknown"),
        (403, "SignatureDoesNotMatch", "the secret in AWS_SECRET_ACCESS_KEY is wrong"),
        (400, "ExpiredToken", "the token in AWS_SESSION_TOKEN has expired"),
        (400, "SomethingNew", "cannot use flags in the store: "),
    ],
)
def test_refusal_of_the_server_is_one_line(refusing: FlagServer, status: int, code: str, message: str) -> None:
    """With what is wrong in it, and nothing of what the server or the client says beside."""
    refusing.script("/flags", [answer(status, f"<?xml?>\n<Error><Code>{code}</Code>\n</Error>".encode())])
    opened = open_bucket("s3://flags")

    with pytest.raises(SinkError, match=message) as caught:
        opened.prepare(["flags"])

    assert str(caught.value).isprintable()
    assert "<Error>" not in str(caught.value)


def test_object_that_may_not_be_read_is_not_an_absent_one(refusing: FlagServer) -> None:
    """Only "no such key" is absence; anything else would pass for an empty store."""
    refusing.script("/flags/records/CN.json", [answer(403, b"<Error><Code>AccessDenied</Code></Error>")])

    with pytest.raises(SinkError, match="access to bucket flags is denied"):
        open_store("s3://flags").read("records/CN.json")
    # A refusal of HEAD has no body to say why.
    with pytest.raises(SinkError, match="403 Forbidden"):
        open_store("s3://flags").exists("records/CN.json")


def test_server_that_nobody_can_reach_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the client's own tries."""
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    monkeypatch.setenv("AWS_ENDPOINT_URL", SERVER)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "flags")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")

    with pytest.raises(SinkError, match=f"cannot reach {SERVER}"):
        open_bucket("s3://flags").names("flags")
