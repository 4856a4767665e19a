"""What a user reads when no connection is possible."""

import socket
import ssl
from typing import Any

import aiohttp
import pytest

from flag_pipeline.fetching.http_errors import translated

KEY: Any = aiohttp.client_reqrep.ConnectionKey("flags.example", 80, False, True, None, None, None)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(111, "Connect call failed ('127.0.0.1', 80)"), "Connection refused"),
        (
            OSError("Multiple exceptions: [Errno 111] a, [Errno 113] b"),
            "Multiple exceptions: [Errno 111] a, [Errno 113] b",
        ),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (
            ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong\nversion number"),
            "[SSL: WRONG_VERSION_NUMBER] wrong version number",
        ),
    ],
)
def test_a_connection_that_fails_is_explained_in_the_systems_words(error: OSError, reason: str) -> None:
    """The reason names the host and the system's error, and nothing of aiohttp, such as `ssl:default`."""
    reported = translated(aiohttp.ClientConnectorError(KEY, error), code="CN", url="http://flags.example/cn")

    assert str(reported) == f"http://flags.example/cn: cannot connect to flags.example:80: {reason}"


def test_a_certificate_that_is_not_trusted_names_the_setting() -> None:
    """The reason says what is wrong with the certificate, and which variable names authorities."""
    error = ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate")

    reported = translated(aiohttp.ClientConnectorCertificateError(KEY, error), code="CN", url="u")

    assert str(reported) == (
        "u: cannot connect to flags.example:80: certificate verify failed: self-signed certificate;"
        " SSL_CERT_FILE names authorities to trust"
    )
