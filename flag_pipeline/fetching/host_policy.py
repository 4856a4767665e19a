"""Host policy: allowed hosts of requests and redirects."""

import ipaddress
import socket
from collections.abc import Collection, Iterable

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult

from flag_pipeline.addresses import parse_host

HTTPS_PORT = 443
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Embeds IPv4 addresses (RFC 6052).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# All that the internet routes (IANA). Gateways may route others to private addresses: ::10.0.0.1, 64:ff9b:1::/48 (RFC
# 8215).
_IPV6_INTERNET = ipaddress.IPv6Network("2000::/3")
# Public in Python 3.11, special-purpose at IANA.
_SPECIAL = (
    ipaddress.ip_network("192.0.0.0/24"),
    ipaddress.ip_network("192.88.99.0/24"),
    ipaddress.ip_network("3fff::/20"),
)


def is_public_address(address: str) -> bool:
    """Whether the internet routes *address*, or the IPv4 address that it embeds."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour or (ip in _NAT64 and ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if not embedded and ip not in _IPV6_INTERNET:
            return False
        ip = embedded or ip
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _SPECIAL)


def _literal(host: str) -> bool | None:
    """Whether *host* is public, None if it is a name."""
    try:
        return is_public_address(host)
    except ValueError:
        return None


class HostPolicy:
    """The hosts that requests may go to.

    Allowed are the source's host, at its port or 443, and the *redirect_hosts*; never from https to http. A public
    source never leads to private addresses. It is public if *is_public*, or if its host has a public address.

    Attributes:
        own_host: in Unicode.
        own_name: as in DNS.
    """

    def __init__(
        self,
        origin: str,
        redirect_hosts: Iterable[str] = (),
        *,
        is_public: bool = False,
        proxy_hosts: Collection[str] = (),
    ) -> None:
        url = yarl.URL(origin)
        self.own_host, self.own_name = url.host or "", url.raw_host or ""
        self._own_ports = {url.port, HTTPS_PORT}
        self._redirect_hosts = {parse_host(entry) for entry in redirect_hosts}
        self.is_public: bool | None = True if is_public else _literal(self.own_host)
        self.proxy_hosts = proxy_hosts
        self._is_https = url.scheme == "https"

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send *request* if it is allowed."""
        if problem := self._problem(request.url):
            raise aiohttp.InvalidUrlRedirectClientError(request.url.origin(), problem)
        try:
            reply = await handler(request)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
            # aiohttp would retry the original exception.
            raise aiohttp.ClientConnectionError(str(exc)) from exc
        if request.url.scheme == "https" and _leads_to_http(reply):
            reply.close()
            raise aiohttp.InvalidUrlRedirectClientError(request.url.origin(), "redirects from https to http")
        return reply

    def _problem(self, url: yarl.URL) -> str:
        host = url.host or ""
        is_own = host == self.own_host and url.port in self._own_ports
        # Names may be listed in Unicode or as in DNS.
        names = {(name, port) for name in (host, url.raw_host) for port in (url.port, None)}
        if not is_own and not self._redirect_hosts & names:
            return "is not where the source may redirect to; FLAG_REDIRECT_HOSTS lists further hosts"
        if self.is_public and _literal(host) is False:
            return "is a private address, and the source is public"
        is_downgrade = self._is_https and url.scheme != "https"
        return "is not where the source may redirect to: from https to http" if is_downgrade else ""


def _leads_to_http(reply: aiohttp.ClientResponse) -> bool:
    if reply.status not in REDIRECTS:
        return False
    location = reply.headers.get("Location") or reply.headers.get("URI") or ""
    try:
        return yarl.URL(location).scheme == "http"
    except ValueError:
        # aiohttp raises an error for it.
        return False


class HostPolicyResolver(AbstractResolver):
    """Leaves out private addresses, if the source is public."""

    def __init__(self, host_policy: HostPolicy, resolver: AbstractResolver) -> None:
        self._policy = host_policy
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return allowed addresses; raise InvalidUrlClientError without any."""
        found = await self._resolver.resolve(host, port, family)
        if host in self._policy.proxy_hosts:
            return found
        public = [result for result in found if is_public_address(result["host"])]
        if self._policy.is_public is None and host == self._policy.own_name:
            # Decided once, because later lookups may differ.
            self._policy.is_public = bool(public)
        if not self._policy.is_public:
            return found
        if not public:
            raise aiohttp.InvalidUrlClientError(host, "leads to a private address, and the source is public")
        return public

    async def close(self) -> None:
        """Close the resolver."""
        await self._resolver.close()
