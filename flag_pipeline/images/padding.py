"""Bytes of a file that may be cut short, and what may follow the end of a picture."""

import re

# Many programs end a file with a line feed, or fill it up with zeros.
_PADDING = re.compile(rb"[ \t\r\n\v\f\0]*")


def behind_padding(content: bytes, at: int) -> int:
    """Return the place of the first byte from *at* on that is neither white space nor zero."""
    padding = _PADDING.match(content, at)
    return padding.end() if padding else at


def part_of(content: bytes, start: int, size: int) -> bytes:
    """Return so many bytes from *start* on; raise IndexError if they are not all there."""
    part = content[start : start + size]
    if len(part) < size:
        raise IndexError(start)
    return part
