"""Content-Encoding: decompresses a response body, up to a size (RFC 9110, section 8.4)."""

import zlib

ACCEPTED = "gzip, deflate"
_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
# Others, such as `utf-8` or `aws-chunked`, are common on unencoded objects.
_NOT_ASKED_FOR = frozenset({"br", "compress", "x-compress", "zstd", "dcb", "dcz"})
_MAX_CODINGS, _MAX_MEMBERS = 4, 100
_RAW_WINDOW_BITS, _METHOD_MASK, _DEFLATE_METHOD = -15, 0x0F, 8


class EncodingError(ValueError):
    """The body does not match its Content-Encoding."""


def max_encoded_bytes(max_bytes: int) -> int:
    """Return the largest compressed size of *max_bytes*."""
    return max_bytes + max_bytes // 1000 + 1024


def decode(body: bytes, content_encoding: str, *, max_bytes: int) -> bytes:
    """Return *body* decompressed, cut off after *max_bytes* + 1 bytes.

    Raises EncodingError for invalid bodies and unsupported compressions.
    """
    codings = [name.strip().lower() for name in content_encoding.split(",")]
    if len(codings) > _MAX_CODINGS:
        raise EncodingError(f"its Content-Encoding lists more than {_MAX_CODINGS} codings")
    for coding in reversed(codings):
        if coding in _NOT_ASKED_FOR:
            raise EncodingError(f"its Content-Encoding {coding} was not asked for, only {ACCEPTED}")
        if coding in _WINDOW_BITS:
            body = _inflate(body, coding, max_bytes=max_bytes)
    return body


def _inflate(body: bytes, coding: str, *, max_bytes: int) -> bytes:
    window_bits, decoded = _WINDOW_BITS[coding], b""
    if coding == "deflate" and body and body[0] & _METHOD_MASK != _DEFLATE_METHOD:
        # Some servers send deflate without the zlib header.
        window_bits = _RAW_WINDOW_BITS
    # Gzip may have several members, and padding.
    for _ in range(_MAX_MEMBERS):
        stream = zlib.decompressobj(window_bits)
        try:
            decoded += stream.decompress(body, max_bytes + 1 - len(decoded))
        except zlib.error as exc:
            raise EncodingError(f"the body is not {coding}, as its Content-Encoding says: {exc}") from exc
        if len(decoded) > max_bytes:
            return decoded
        if not stream.eof:
            raise EncodingError(f"the body is cut short: its {coding} has no end")
        body = stream.unused_data.lstrip(b"\0")
        if not body:
            return decoded
    raise EncodingError(f"the body has more than {_MAX_MEMBERS} parts of {coding}")
