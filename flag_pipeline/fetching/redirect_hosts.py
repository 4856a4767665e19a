"""What FLAG_REDIRECT_HOSTS lists: `host`, at any port, or `host:port`."""

from urllib.parse import urlsplit

# The entry itself is not shown: it may hold a password.
_NO_HOST = "an entry is not a host, or host:port; it is not shown, because it may hold a secret"


def parse_host(entry: str) -> tuple[str, int | None]:
    """Return the host of *entry* in lower case, and the port if it has one.

    Raises ValueError for anything else, such as a URL. An IPv6 address may stand in brackets, and does before a port.
    """
    is_bare_ipv6 = entry.count(":") > 1 and not entry.startswith("[")
    try:
        parts = urlsplit(f"//[{entry}]" if is_bare_ipv6 else f"//{entry}")
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ValueError(_NO_HOST) from exc
    is_host_alone = parts.path == parts.query == parts.fragment == "" and parts.username is None
    if not host or port == 0 or not is_host_alone or entry.endswith(":"):
        raise ValueError(_NO_HOST)
    return host, port
