"""A store in an S3 bucket, through obstore: one atomic PUT per object.

obstore is faster than s3fs: 498 PUTs of 500 bytes to loopback by four threads take 0.5 s, not 3.5 s, opening 0.01 s,
not 2.1 s (2 cores, 2026-11-23).
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING

from flag_pipeline.addresses import aws_variable_with_secret
from flag_pipeline.errors import SinkError
from flag_pipeline.stores.store import MAX_FILE_BYTES, Content, split_path, too_large

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obstore import ObjectMeta
    from obstore.store import ClientConfig, RetryConfig, S3Store

SCHEMES = frozenset({"s3", "s3a"})
# One must be set. EC2 roles are opt-in, because elsewhere their metadata service times out slowly.
CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)
ROLE = "AWS_EC2_METADATA_DISABLED"
# Only the client retries.
_RETRY: "RetryConfig" = {"max_retries": 4, "retry_timeout": timedelta(seconds=20)}

# Without it, browsers save the page, and refuse its script.
_CONTENT_TYPES = {
    "css": "text/css; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "gif": "image/gif",
    "html": "text/html; charset=utf-8",
    "jpg": "image/jpeg",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "svg": "image/svg+xml",
    "webp": "image/webp",
    "zip": "application/zip",
}
_UNKNOWN_TYPE = "application/octet-stream"

_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGES = {
    "NoSuchBucket": "there is no bucket {bucket}",
    "InvalidBucketName": "{bucket} is no name for a bucket",
    "AccessDenied": "access to bucket {bucket} is denied",
    "InvalidAccessKeyId": "the key in AWS_ACCESS_KEY_ID is unknown",
    "SignatureDoesNotMatch": "the secret in AWS_SECRET_ACCESS_KEY is wrong",
    "ExpiredToken": "the token in AWS_SESSION_TOKEN has expired",
}
_MISSING_OBJECT = {"NoSuchKey", ""}
_NO_ANSWER = "HTTP error: "


def open_bucket(url: str) -> "Bucket":
    """Return the bucket at `s3://bucket/prefix`. Raises SinkError if unusable."""
    try:
        from obstore.exceptions import BaseError
        from obstore.store import S3Store
    except ImportError as exc:
        raise SinkError(f"{url} needs the extra s3: pip install 'flag-pipeline[s3]'", path=url) from exc
    if name := aws_variable_with_secret():
        raise SinkError(f"{name} may hold a secret: it must be http(s)://host:port/path, and nothing more", path=url)
    if not any(os.environ.get(name) for name in CREDENTIALS) and os.environ.get(ROLE, "").lower() != "false":
        raise SinkError(
            f"{url} needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or {ROLE}=false for the"
            " role of an EC2 machine",
            path=url,
        )
    server = os.environ.get("AWS_ENDPOINT_URL", "https://amazonaws.com")
    if not server.startswith(("http://", "https://")):
        raise SinkError(f"AWS_ENDPOINT_URL is {server!r}; it must begin with http:// or https://", path=url)
    options: ClientConfig = {
        # obstore refuses plain HTTP by default.
        "allow_http": server.startswith("http://"),
        "timeout": timedelta(seconds=30),
        "connect_timeout": timedelta(seconds=5),
    }
    try:
        client = S3Store.from_url(url, client_options=options, retry_config=_RETRY)
    except (BaseError, ValueError) as exc:
        raise SinkError(f"cannot use {url}: {_first_line(exc)}", path=url) from exc
    return Bucket(url.partition("://")[2].partition("/")[0], client, server=server)


class Bucket:
    """Objects of a bucket below a prefix. `Store` describes the methods."""

    batch_size, gather_s, turn_s, patience_s, n_readers = 1, 0.0, 0.0, 0.0, 64

    def __init__(self, name: str, client: "S3Store", *, server: str) -> None:
        self._name = name
        self._client = client
        self._server = server

    def prepare(self, folders: Iterable[str]) -> None:
        """Check that the bucket is readable."""
        self.names(next(iter(folders)))

    def close(self) -> None:
        """Do nothing."""

    def lock(self, key: str) -> AbstractContextManager[None]:  # noqa: ARG002 - part of `Store`
        """Lock nothing: the last PUT wins."""
        return nullcontext()

    def batch(self) -> AbstractContextManager[None]:
        """Do nothing."""
        return nullcontext()

    def names(self, folder: str) -> list[str]:
        """See `Store`."""
        return [entry["path"].rpartition("/")[2] for entry in self._list(folder)]

    def fingerprint(self, folder: str) -> str:
        """See `Store`. ETags identify objects."""
        entries = ((entry["path"], entry["size"], entry["e_tag"]) for entry in self._list(folder))
        visible = sorted(entry for entry in entries if not entry[0].rpartition("/")[2].startswith("."))
        return hashlib.sha256(repr(visible).encode()).hexdigest()

    def _list(self, folder: str) -> "Sequence[ObjectMeta]":
        import obstore

        with self._raising_sink_error(folder):
            return obstore.list_with_delimiter(self._client, "/".join(split_path(folder)))["objects"]

    def read(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """Return the content. Larger objects are not downloaded."""
        import obstore

        with self._raising_sink_error(path):
            found = obstore.get(self._client, "/".join(split_path(path)))
            if found.meta["size"] > max_bytes:
                raise too_large(path, max_bytes=max_bytes)
            return bytes(found.bytes())

    def write(self, path: str, content: Content) -> None:
        """See `Store`."""
        import obstore

        attributes = {"Content-Type": _CONTENT_TYPES.get(path.rpartition(".")[2], _UNKNOWN_TYPE)}
        with self._raising_sink_error(path):
            obstore.put(self._client, "/".join(split_path(path)), content, attributes=attributes, use_multipart=False)

    def exists(self, path: str) -> bool:
        """See `Store`."""
        import obstore

        try:
            with self._raising_sink_error(path):
                obstore.head(self._client, "/".join(split_path(path)))
        except FileNotFoundError:
            return False
        return True

    def delete(self, path: str, *, kept: str | None = None) -> None:  # noqa: ARG002 - two names are two objects
        """See `Store`."""
        import obstore

        with self._raising_sink_error(path):
            obstore.delete(self._client, "/".join(split_path(path)))

    @contextmanager
    def _raising_sink_error(self, path: str) -> Iterator[None]:
        # A missing object stays FileNotFoundError.
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, FileNotFoundError) as exc:
            code = _code_of(exc)
            if isinstance(exc, FileNotFoundError) and code in _MISSING_OBJECT:
                raise
            raise SinkError(f"cannot use {path} in the store: {self._reason(code, exc)}", path=path) from exc

    def _reason(self, code: str, error: Exception) -> str:
        if code in _MESSAGES:
            return _MESSAGES[code].format(bucket=self._name)
        # There was no response.
        return f"cannot reach {self._server}" if _NO_ANSWER in str(error) else _first_line(error)


def _code_of(error: Exception) -> str:
    found = _CODE.search(str(error))
    return found[1] if found else ""


def _first_line(error: Exception) -> str:
    # obstore appends the response.
    return str(error).partition("\n")[0].partition(": <?xml")[0]
