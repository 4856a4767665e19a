"""Serve a folder on 127.0.0.1 and print the URL: with nginx if it is installed, else as `flag-pipeline mirror` does."""

import argparse
import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flag_pipeline.core.mirror import HOST, FolderOfFlags, Mirror, serving

_CONFIGURATION = """
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    types {{ image/gif gif; application/json json; }}
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    server {{ listen {host}:{port}; root {root}; }}
}}
"""


def serve_with_nginx(program: str, root: Path) -> None:
    """Run nginx until this process is ended."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder, "nginx.conf")
        user = "user root;" if os.geteuid() == 0 else ""
        configuration.write_text(_CONFIGURATION.format(user=user, folder=folder, host=HOST, port=port, root=root))
        command = [program, "-c", str(configuration), "-p", folder, "-g", "daemon off;"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as nginx:
            try:
                _wait_for(port)
                print(f"http://{HOST}:{port}", flush=True)
                nginx.wait()
            finally:
                nginx.terminate()


def _wait_for(port: int) -> None:
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except ConnectionRefusedError:
            time.sleep(0.01)
        else:
            return


async def serve_with_mirror(root: Path) -> None:
    """Serve with aiohttp until this process is ended."""
    async with serving(Mirror(FolderOfFlags(root))) as url:
        print(url, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    root = parser.parse_args().folder.resolve()
    # So that nginx is ended with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    if program := shutil.which("nginx"):
        serve_with_nginx(program, root)
    else:
        asyncio.run(serve_with_mirror(root))


if __name__ == "__main__":
    main()
