"""A bucket: errors before the first request, errors of a server, and objects in memory.

What holds for every store is tried with a real S3 server in integration/test_sink_on_stores.py.
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
    """A bucket in memory, used through the client of all buckets."""
    store = pytest.importorskip("obstore.store", reason="the extra s3 is not installed")
    client: Any = store.MemoryStore()
    return Bucket("flags", client, server=SERVER)


@pytest.fixture
def refusing(flag_server: FlagServer, monkeypatch: pytest.MonkeyPatch) -> FlagServer:
    """A server for a bucket named flags, whose errors a test scripts."""
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    monkeypatch.setenv("AWS_ENDPOINT_URL", flag_server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "flags")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    return flag_server


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the extra `s3` has no client for buckets."""
    monkeypatch.setitem(sys.modules, "obstore.exceptions", None)

    with pytest.raises(SinkError, match=r"pip install 'flag-pipeline\[s3\]'"):
        open_bucket("s3://flags/x")


def test_without_credentials_nobody_is_asked_for_them() -> None:
    """The metadata service of a cloud is not asked either, because on other machines that takes long."""
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
    """The error names the variable or the URL."""
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "flags")

    with pytest.raises(SinkError, match=message):
        open_bucket(url)


def test_objects_are_kept_by_folder(bucket: Bucket) -> None:
    """Each object has its path. Deleting a missing object is no error."""
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


def test_fingerprint_tells_of_each_change(bucket: Bucket) -> None:
    """The listing has it: nothing is downloaded. Hidden objects and other folders do not count."""
    bucket.write("flags/CN-China.gif", b"GIF")
    first = bucket.fingerprint("flags")
    for path in ("flags/.hidden", "flags/deeper/x.gif", "records/CN.json"):
        bucket.write(path, b"GIF")
    same = bucket.fingerprint("flags")
    bucket.write("flags/CN-China.gif", b"gif")

    assert first == same
    assert len({first, bucket.fingerprint("flags"), bucket.fingerprint("nothing")}) == 3


def test_each_object_of_a_batch_is_there_at_once(bucket: Bucket) -> None:
    """Each PUT is durable."""
    with bucket.batch(), bucket.lock("CN"):
        bucket.write("flags/CN-China.gif", b"GIF")

        assert bucket.read("flags/CN-China.gif") == b"GIF"


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("catalog/index.html", "text/html; charset=utf-8"),
        ("catalog/details/0.js", "text/javascript; charset=utf-8"),
        ("flags/FR-France.gif", "image/gif"),
        ("catalog/catalog.parquet", "application/octet-stream"),
    ],
)
def test_object_has_the_type_of_its_name(path: str, content_type: str) -> None:
    """A browser shows the page from the bucket."""
    obstore = pytest.importorskip("obstore", reason="the extra s3 is not installed")
    client = pytest.importorskip("obstore.store").MemoryStore()

    Bucket("flags", client, server=SERVER).write(path, b"x")

    assert obstore.get(client, path).attributes["Content-Type"] == content_type


def test_larger_object_is_not_downloaded(bucket: Bucket) -> None:
    """The size is in the headers of the response. The limit is inclusive."""
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
    """The line states what is wrong, without the other text of server and client."""
    refusing.script("/flags", [answer(status, f"<?xml?>\n<Error><Code>{code}</Code>\n</Error>".encode())])
    opened = open_bucket("s3://flags")

    with pytest.raises(SinkError, match=message) as caught:
        opened.prepare(["flags"])

    assert str(caught.value).isprintable()
    assert "<Error>" not in str(caught.value)


def test_object_that_may_not_be_read_is_not_an_absent_one(refusing: FlagServer) -> None:
    """Only "no such key" means that an object is missing; otherwise the store would look empty."""
    refusing.script("/flags/records/CN.json", [answer(403, b"<Error><Code>AccessDenied</Code></Error>")])

    with pytest.raises(SinkError, match="access to bucket flags is denied"):
        open_store("s3://flags").read("records/CN.json")
    # A refusal of HEAD has no body to say why.
    with pytest.raises(SinkError, match="403 Forbidden"):
        open_store("s3://flags").exists("records/CN.json")


def test_unreachable_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error comes after the retries of the client."""
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    monkeypatch.setenv("AWS_ENDPOINT_URL", SERVER)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "flags")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")

    with pytest.raises(SinkError, match=f"cannot reach {SERVER}"):
        open_bucket("s3://flags").names("flags")
