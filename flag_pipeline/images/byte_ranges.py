"""Byte ranges of a file that may be cut short."""

import re

_PADDING = re.compile(rb"[ \t\r\n\v\f\0]*")


def skip_padding(content: bytes, at: int) -> int:
    """Return the index after white space and zeros."""
    padding = _PADDING.match(content, at)
    return padding.end() if padding else at


def take(content: bytes, start: int, size: int) -> bytes:
    """Return *size* bytes. Raises IndexError if there are fewer."""
    part = content[start : start + size]
    if len(part) < size:
        raise IndexError(start)
    return part
