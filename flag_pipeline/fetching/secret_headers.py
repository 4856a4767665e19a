"""Request headers that a source asks for, such as a token, from FLAG_HEADERS.

They are a secret: no setting of a resource, so that no run configuration, event or log has them, and no message shows a
part of them.
"""

import json
import logging
import os
import re
from typing import Any

from flag_pipeline.core.presets import PRESETS
from flag_pipeline.errors import ConfigurationError

logger = logging.getLogger(__name__)

HEADERS_VARIABLE = "FLAG_HEADERS"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# The client sets these itself; another value would break the connection, or what is known about the stored files.
_RESERVED = frozenset(
    "accept-encoding connection content-length expect host if-match if-modified-since if-none-match if-range "
    "if-unmodified-since keep-alive proxy-authorization proxy-connection range te trailer transfer-encoding upgrade "
    "user-agent".split()
)


def headers_for(source: str) -> dict[str, str]:
    """Return the headers of FLAG_HEADERS if they are meant for *source*, else none.

    They are meant for FLAG_SOURCE where that is set, and never for a preset. Raises ConfigurationError like
    `read_headers`.
    """
    headers = read_headers()
    is_meant = source not in PRESETS and os.environ.get("FLAG_SOURCE", source).rstrip("/") == source.rstrip("/")
    if headers and not is_meant:
        logger.warning(
            "%s is not sent: it is for the source that FLAG_SOURCE names, and never for a preset", HEADERS_VARIABLE
        )
    return headers if is_meant else {}


def read_headers() -> dict[str, str]:
    """Return what FLAG_HEADERS sets, a JSON object of names and texts: `{"Authorization": "Bearer …"}`.

    Raises ConfigurationError, which shows no part of it, for anything else.
    """
    text = os.environ.get(HEADERS_VARIABLE, "").strip()
    if not text:
        return {}
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        # The cause would have the secret.
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
