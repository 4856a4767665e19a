"""Secret request headers of FLAG_HEADERS; no configuration, event, log or message contains them."""

import json
import os
import re
from typing import Any

from flag_pipeline.errors import ConfigurationError

HEADERS_VARIABLE = "FLAG_HEADERS"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_RESERVED = frozenset(
    "accept-encoding connection content-length expect host if-match if-modified-since if-none-match if-range "
    "if-unmodified-since keep-alive proxy-authorization proxy-connection range te trailer transfer-encoding upgrade "
    "user-agent".split()
)


def read_headers() -> dict[str, str]:
    """Return the headers; raise ConfigurationError if they are not a JSON object of texts."""
    text = os.environ.get(HEADERS_VARIABLE, "").strip()
    if not text:
        return {}
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        # Not chained, because the cause quotes the secret.
        raise ConfigurationError(_not_an_object()) from None
    if not text.startswith("{"):
        raise ConfigurationError(_not_an_object())
    for number, (name, value) in enumerate(pairs, 1):
        if problem := _problem(name, value):
            raise ConfigurationError(f"{HEADERS_VARIABLE}: header {number} {problem}")
    if len({name.lower() for name, _ in pairs}) < len(pairs):
        raise ConfigurationError(f"{HEADERS_VARIABLE}: a header is there twice")
    return dict(pairs)


def _not_an_object() -> str:
    return f'{HEADERS_VARIABLE} is not a JSON object of texts, such as {{"Authorization": "Bearer TOKEN"}}'


def _problem(name: str, value: Any) -> str:
    if not _NAME.fullmatch(name):
        return "has a name that HTTP does not allow"
    if name.lower() in _RESERVED:
        return "is one that the client sets itself; FLAG_USER_AGENT sets the User-Agent"
    if not isinstance(value, str) or not value.strip():
        return "has no text for a value"
    return "" if value.isascii() and value.isprintable() else "has a value of more than one line, or not in ASCII"
