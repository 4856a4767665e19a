"""Parses `host:port`, and finds addresses with possible secrets, because addresses are recorded."""

import os
import re

# Scheme (optional), host, port and path; no user information, query or fragment.
_HOST = r"(?:[^\s/@?#%\\:\[\]]*|\[[0-9a-f:.]+\])(?::\d*)?"
_PLAIN = re.compile(rf"[a-z][\w+.-]*://{_HOST}(?:/[^?#]*)?|{_HOST}(?:/[^/?#@:][^?#@:]*)?/?", re.IGNORECASE)
_NESTED_USER_INFORMATION = re.compile(r"//[^/]*@")
# fsspec chains addresses: `simplecache::s3://bucket`. IPv6 has no scheme after the two colons.
_CHAIN = re.compile(r"::(?=\w[\w+.-]*:/)")

# obstore reads addresses from these.
_AWS_ADDRESS = re.compile(r"AWS_(\w*ENDPOINT\w*|\w*_URL)", re.IGNORECASE)

_HOST_AND_PORT = re.compile(
    r"(?P<host>\[[0-9a-f:.]+\]|[^\s:/?#@\[\]\\]+)(:(?P<port>[0-9]{1,5}))?", re.IGNORECASE | re.ASCII
)
_MAX_PORT = 65_535


def split_host(text: str) -> tuple[str, int | None] | None:
    """Return the lower-case host, and the port, of `host[:port]`, else None; IPv6 is in brackets."""
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None:
        return None
    port = int(match["port"]) if match["port"] else None
    return None if port and port > _MAX_PORT else (match["host"].lower(), port)


def may_hold_secret(address: str) -> bool:
    """Whether *address* has user information, a query or a fragment, or is malformed."""
    return any(
        _PLAIN.fullmatch(part) is None or _NESTED_USER_INFORMATION.search(part) is not None
        for part in _CHAIN.split(address)
    )


def store_may_hold_secret(store: str) -> bool:
    """Like `may_hold_secret`, but a folder may have any name."""
    is_url = "://" in store
    is_path = store.startswith(("/", ".", "~")) and not store.startswith("//")
    return may_hold_secret(store) if is_url else "@" in store and not is_path


def aws_variable_with_secret() -> str | None:
    """Return an `AWS_*` variable whose address may hold a secret."""
    for name, value in os.environ.items():
        if _AWS_ADDRESS.fullmatch(name) and may_hold_secret(value):
            return name
    return None


def parse_host(entry: str) -> tuple[str, int | None]:
    """Return host and port of a redirect host: `host`, for any port, or `host:port`.

    Raises ValueError for anything else.
    """
    is_bare_ipv6 = entry.count(":") > 1 and not entry.startswith("[")
    parts = split_host(f"[{entry}]" if is_bare_ipv6 else entry)
    if parts is None or parts[1] == 0:
        # Not shown, because it may contain a password.
        raise ValueError("an entry is not a host, or host:port; it is not shown, because it may hold a secret")
    return parts[0].strip("[]"), parts[1]
