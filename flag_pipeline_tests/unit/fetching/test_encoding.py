"""Content-Encoding: what is decoded, what is refused, and how much of it is taken."""

import gzip
import random
import zlib

import pytest

from flag_pipeline.fetching.encoding import EncodingError, decode, max_encoded_bytes

BODY = b"GIF89a" * 50
GZIP, DEFLATE = gzip.compress(BODY, mtime=0), zlib.compress(BODY)
RAW_DEFLATE = DEFLATE[2:-4]


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (BODY, ""),
        (BODY, "identity"),
        (BODY, "utf-8"),
        (BODY, "aws-chunked"),
        (GZIP, "gzip"),
        (GZIP, "GZip"),
        (GZIP, "x-gzip"),
        (GZIP, "X-GZIP"),
        (GZIP, "identity, gzip"),
        (GZIP + b"\0" * 512, "gzip"),
        (gzip.compress(BODY[:100], mtime=0) + gzip.compress(BODY[100:], mtime=0), "gzip"),
        (gzip.compress(GZIP, mtime=0), "gzip, x-gzip"),
        (gzip.compress(DEFLATE, mtime=0), "deflate,gzip"),
        (DEFLATE, "deflate"),
        (RAW_DEFLATE, "deflate"),
    ],
)
def test_body_is_decoded_as_its_header_says(body: bytes, coding: str) -> None:
    """Old names, upper case, lists, several members and deflate without a header are understood."""
    assert decode(body, coding, max_bytes=1000) == BODY


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "identity, gzip"])
@pytest.mark.parametrize("body", [BODY, b"", b"\x1f\x8b", b"{}", b"<html>"])
def test_body_that_is_not_what_its_header_says_is_refused(body: bytes, coding: str) -> None:
    """The body does not match its header; this includes an empty body."""
    with pytest.raises(EncodingError, match=r"Content-Encoding|cut short"):
        decode(body, coding, max_bytes=1000)


@pytest.mark.parametrize(("body", "coding"), [(GZIP, "gzip"), (DEFLATE, "deflate"), (RAW_DEFLATE, "deflate")])
def test_compressed_body_without_its_end_is_refused(body: bytes, coding: str) -> None:
    """A compressed body that was cut anywhere is refused."""
    for end in range(1, len(body)):
        with pytest.raises(EncodingError):
            decode(body[:end], coding, max_bytes=1000)


def test_payload_behind_the_compressed_body_is_refused() -> None:
    """Bytes after the compressed data that are not another gzip member are refused."""
    with pytest.raises(EncodingError, match="not gzip"):
        decode(GZIP + b"<script>", "gzip", max_bytes=1000)


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, BR"])
def test_compression_that_was_not_asked_for_is_refused(coding: str) -> None:
    """The message says which one it is and which are accepted."""
    with pytest.raises(EncodingError, match="was not asked for, only gzip, deflate"):
        decode(BODY, coding, max_bytes=1000)


@pytest.mark.parametrize("layers", [1, 2])
def test_bomb_is_cut_off_after_the_bound(layers: int) -> None:
    """One byte more than the bound is decoded, so that the caller sees that there is more."""
    body, coding = b"\0" * 10**7, ", ".join(["gzip"] * layers)
    for _ in range(layers):
        body = gzip.compress(body, mtime=0)

    assert len(decode(body, coding, max_bytes=20_000)) == 20_001


@pytest.mark.parametrize(
    ("body", "coding"),
    [(gzip.compress(b"", mtime=0) * 101, "gzip"), (BODY, ", ".join(["identity"] * 5)), (b"", "," * 8000)],
)
def test_work_on_one_body_is_bounded(body: bytes, coding: str) -> None:
    """Thousands of codings, or of empty parts, would keep the event loop busy for seconds."""
    with pytest.raises(EncodingError, match="more than"):
        decode(body, coding, max_bytes=1000)


def test_body_that_does_not_compress_may_be_longer_encoded() -> None:
    """Random bytes grow by a header and a few bytes a block."""
    for size in (0, 1, 4096, 10**6):
        assert len(gzip.compress(random.Random(size).randbytes(size))) <= max_encoded_bytes(size)  # noqa: S311
