"""Addresses that may hold a secret. An address is recorded with every run, so such a one is refused and never shown."""

import os
import re

# What is known to hold no secret: a scheme, a host, a port and a path, or the last three without a scheme. User
# information, queries, fragments and escapes in the host do not fit.
_HOST = r"(?:[^\s/@?#%\\:\[\]]*|\[[0-9a-f:.]+\])(?::\d*)?"
_PLAIN = re.compile(rf"[a-z][\w+.-]*://{_HOST}(?:/[^?#]*)?|{_HOST}(?:/[^/?#@:][^?#@:]*)?/?", re.IGNORECASE)
_NESTED_USER_INFORMATION = re.compile(r"//[^/]*@")
# fsspec chains addresses: `simplecache::s3://bucket`. The two colons of an IPv6 address are followed by no scheme.
_CHAIN = re.compile(r"::(?=\w[\w+.-]*:/)")

# Further variables that obstore reads an address from.
_AWS_ADDRESS = re.compile(r"AWS_(\w*ENDPOINT\w*|\w*_URL)", re.IGNORECASE)


def may_hold_secret(address: str) -> bool:
    """Whether *address* has user information, a query or a fragment, or is too malformed to tell."""
    return any(
        _PLAIN.fullmatch(part) is None or _NESTED_USER_INFORMATION.search(part) is not None
        for part in _CHAIN.split(address)
    )


def store_may_hold_secret(store: str) -> bool:
    """Like `may_hold_secret`, but a folder's name may have any character."""
    is_url = "://" in store
    is_path = store.startswith(("/", ".", "~")) and not store.startswith("//")
    return may_hold_secret(store) if is_url else "@" in store and not is_path


def aws_variable_with_secret() -> str | None:
    """Return the name of an `AWS_*` variable whose address may hold a secret, None if there is none."""
    for name, value in os.environ.items():
        if _AWS_ADDRESS.fullmatch(name) and may_hold_secret(value):
            return name
    return None
