"""A source with TLS and secret headers behind a proxy, asked by the command line: what it takes, and what it leaves."""

import asyncio
import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from flag_pipeline_tests.flag_server import FlagServer, answer, flag_url_path, running_flag_server
from flag_pipeline_tests.proxy import Proxy, running_proxy

OPENSSL = shutil.which("openssl") or ""
pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not OPENSSL, reason="needs openssl to make a certificate"),
]

HOST, SECRET, PROXY_SECRET = "flags.example", "hunter2hunter2", "hunter3hunter3"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for the host, signed by itself, and its key, in one file."""
    file = tmp_path_factory.mktemp("certificate") / "both.pem"
    key, public = file.with_name("key.pem"), file.with_name("certificate.pem")
    subprocess.run(
        [OPENSSL, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}",
         "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", key, "-out", public],
        check=True,
        capture_output=True,
    )  # fmt: skip
    file.write_bytes(key.read_bytes() + public.read_bytes())
    return file


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[FlagServer]:
    """The packaged flags behind that certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with running_flag_server(tls=context) as server:
        yield server


@pytest.fixture
async def proxy(tls_server: FlagServer) -> AsyncIterator[Proxy]:
    """The only way to the server: no DNS knows the host."""
    async with running_proxy(int(tls_server.url.rpartition(":")[2])) as proxy:
        yield proxy


async def run(folder: Path, proxy: Proxy, *arguments: str, **environment: str) -> tuple[int | None, str]:
    """Run a command with the proxy and the secret headers; return its exit code and all that it prints."""
    inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("flag-pipeline"),
        *arguments,
        env={
            **inherited,
            "DAGSTER_HOME": str(folder / "home"),
            "FLAG_STORE": str(folder / "store"),
            "FLAG_SOURCE": f"https://{HOST}",
            "FLAG_RETRY_INITIAL_S": "0.01",
            "FLAG_TRUST_PROXY": "true",
            "HTTPS_PROXY": f"http://me:{PROXY_SECRET}@{proxy.address}",
            "FLAG_HEADERS": json.dumps({"Authorization": f"Bearer {SECRET}", "X-Api-Key": SECRET}),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


def files_with(folder: Path, secret: str) -> list[Path]:
    """The files below *folder* that contain the secret."""
    return [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


async def test_secrets_reach_the_source_and_nothing_else(
    tmp_path: Path, tls_server: FlagServer, proxy: Proxy, certificate: Path
) -> None:
    """No file of the home or the store and no output line has a secret, whatever happens to the countries."""
    tls_server.script(flag_url_path("FR"), [answer(401)])
    tls_server.script(flag_url_path("DE"), [answer(500)])
    tls_server.script(flag_url_path("IT"), [answer(302, Location=f"http://{HOST}/it/it.gif")])
    outputs = [
        await run(tmp_path, proxy, "run", "CN", "DE", "FR", "IT", *options, SSL_CERT_FILE=str(certificate))
        for options in ([], ["--json"], ["--verbose"])
    ]

    assert [code for code, _ in outputs] == [1, 1, 1]
    assert "4 requested: 1 saved, 0 unchanged, 0 not found, 3 failed" in outputs[0][1]
    assert "https to http" in outputs[0][1]
    assert "answered 401; FLAG_HEADERS sets" in outputs[0][1]
    assert {headers["Authorization"] for headers in tls_server.headers} == {f"Bearer {SECRET}"}
    assert all(head.startswith(f"CONNECT {HOST}:443 ") for head in proxy.heads)
    for secret in (SECRET, PROXY_SECRET):
        assert all(secret not in output for _, output in outputs)
        assert files_with(tmp_path, secret) == []


async def test_certificate_of_an_unknown_authority_is_refused(
    tmp_path: Path, tls_server: FlagServer, proxy: Proxy
) -> None:
    """Without SSL_CERT_FILE no request is sent, and the reason says what is wrong with the certificate."""
    code, output = await run(tmp_path, proxy, "run", "CN")

    assert code == 1
    assert "certificate verify failed" in output
    assert "SSL_CERT_FILE" in output
    assert tls_server.requests == []


@pytest.mark.parametrize("headers", [f"Authorization: {SECRET}", json.dumps({"X": f"{SECRET}\n"})])
async def test_mistake_in_the_headers_is_one_line(tmp_path: Path, proxy: Proxy, headers: str) -> None:
    """The error line says what is expected and shows no part of the secret."""
    code, output = await run(tmp_path, proxy, "run", "CN", FLAG_HEADERS=headers)

    assert code == 2
    assert output.startswith("flag-pipeline: FLAG_HEADERS")
    assert output.count("\n") == 1
    assert SECRET not in output
