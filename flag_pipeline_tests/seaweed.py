"""SeaweedFS for tests: a real S3 server on loopback, from PyPI alone."""

import json
import re
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from flag_pipeline.core.mirror import HOST
from flag_pipeline_tests.e2e.deployment import free_port, wait_for
from flag_pipeline_tests.installed import installed_program

ADMIN, GUEST, SECRET = "flags", "guest", "not-a-secret"
PARTS = ("master", "volume", "filer", "s3")
# Unused services, each of which would take a port; and a wrong bucket must stay wrong.
SWITCHED_OFF = ("-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false", "-s3.autoCreateBucket=false")


@dataclass(frozen=True, slots=True)
class SeaweedFS:
    """A running server.

    Attributes:
        s3_port: of the S3 interface.
        filer_port: of the file interface, in which a bucket is a folder.
        metrics_port: of its own counters.
    """

    s3_port: int
    filer_port: int
    metrics_port: int

    def environment(self, *, key: str = ADMIN, secret: str = SECRET, port: int | None = None) -> dict[str, str]:
        """The variables by which a client finds the server; the guest may read one bucket, `other`, and no more."""
        return {
            "AWS_ENDPOINT_URL": f"http://{HOST}:{port or self.s3_port}",
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": "us-east-1",
            # No client may look for credentials on the network.
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def make_bucket(self, name: str) -> str:
        """Make a bucket, if there is none of that name, and return its URL."""
        with suppress(FileExistsError):
            self._ask(f"http://{HOST}:{self.filer_port}/buckets/{name}/", method="POST")
        return f"s3://{name}"

    def drop_bucket(self, name: str) -> None:
        """Delete a bucket with all that is in it."""
        self._ask(f"http://{HOST}:{self.filer_port}/buckets/{name}?recursive=true", method="DELETE")

    def requests(self) -> dict[str, int]:
        """The S3 requests answered so far, by SeaweedFS's name for their type."""
        with urllib.request.urlopen(f"http://{HOST}:{self.metrics_port}/metrics", timeout=10) as reply:
            lines = reply.read().decode().splitlines()
        counted = Counter[str]()
        for line in lines:
            if found := re.match(r'SeaweedFS_s3_request_total\{.*type="(\w+)".*\} (\S+)', line):
                counted[found[1]] += int(float(found[2]))
        return dict(counted)

    @staticmethod
    def _ask(url: str, *, method: str = "GET") -> int:
        request = urllib.request.Request(url, method=method)  # noqa: S310 - our own server on loopback
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
                return int(reply.status)
        except urllib.error.HTTPError as exc:
            if exc.code == HTTPStatus.CONFLICT:
                raise FileExistsError(url) from exc
            return exc.code

    def is_ready(self) -> bool:
        """Whether a bucket could be made and S3 answers; it refuses who shows no key."""
        try:
            self.make_bucket("ready")
            return self._ask(f"http://{HOST}:{self.s3_port}/") == HTTPStatus.FORBIDDEN
        except OSError:
            return False


@contextmanager
def running_seaweed(folder: Path) -> Iterator[SeaweedFS]:
    """Serve from *folder* inside the block, on free ports of loopback; skips the test where it is not installed."""
    ports = {f"{part}.{kind}": free_port() for part in PARTS for kind in ("port", "port.grpc")}
    ports["metricsPort"] = free_port()
    everything = [{"accessKey": ADMIN, "secretKey": SECRET}]
    nothing = [{"accessKey": GUEST, "secretKey": SECRET}]
    identities = [
        {"name": ADMIN, "credentials": everything, "actions": ["Admin", "Read", "Write", "List"]},
        {"name": GUEST, "credentials": nothing, "actions": ["Read:other"]},
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    command = [installed_program("weed"), "server", f"-dir={folder}", f"-ip={HOST}", f"-ip.bind={HOST}"]
    command += ["-filer", "-s3", f"-s3.config={folder / 's3.json'}", *SWITCHED_OFF]
    command += ["-volume.max=50", "-master.volumeSizeLimitMB=64", "-master.telemetry=false"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        server = SeaweedFS(ports["s3.port"], ports["filer.port"], ports["metricsPort"])
        wait_for("the first answer of SeaweedFS", server.is_ready)
        yield server
    finally:
        # Asked politely, it takes half a minute to leave.
        process.kill()
        process.wait()
