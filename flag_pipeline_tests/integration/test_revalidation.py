"""Changed files behind a server that compares dates only: they arrive with `--refetch`, and later by themselves."""

import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest

from flag_pipeline.settings import load_settings
from flag_pipeline_tests.integration.test_partitions import launch
from flag_pipeline_tests.samples import gif
from flag_pipeline_tests.shell import Shell

pytestmark = pytest.mark.timeout(120)


class QuietHandler(SimpleHTTPRequestHandler):
    """Python's own file server, which knows dates and no ETags."""

    def log_message(self, *_given: object) -> None:
        """Print nothing."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the book's layout with China's flag, as it is now."""
    put(tmp_path / "cn", name="China", flag=gif("CN"), at_s=2_000_000)
    return tmp_path


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    """The folder, served by a server that compares dates."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def put(folder: Path, *, name: str, flag: bytes, at_s: int) -> None:
    """Write a country's files with that modification time, in seconds since the epoch."""
    folder.mkdir(exist_ok=True)
    (folder / "cn.gif").write_bytes(flag)
    (folder / "metadata.json").write_text(json.dumps({"country": name, "iso_cc": "CN"}))
    for path in folder.iterdir():
        os.utime(path, (at_s, at_s))


def test_a_restored_older_file_arrives_when_it_is_fetched_in_full(shell: Shell, folder: Path, url: str) -> None:
    """The server answers 304 although flag and name are others; `--refetch` asks without validators."""
    shell("run", "CN", "--source", url)
    put(folder / "cn", name="Cathay", flag=gif("FR"), at_s=1_000_000)
    believed = shell.json("run", "CN", "--source", url)

    refetched = shell.json("run", "CN", "--source", url, "--refetch")

    assert (believed["unchanged"], believed["bytes"]) == (1, 0)
    assert refetched["saved"] == 1
    assert (shell.store / "flags/CN-Cathay.gif").read_bytes() == gif("FR")
    assert json.loads((shell.store / "metadata/CN.json").read_bytes())["name"] == "Cathay"


def test_a_date_is_not_trusted_for_ever(shell: Shell, folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After FLAG_REVALIDATE_DAYS without a 200 answer, the file is fetched in full, and trusted again from then on."""
    shell("run", "CN", "--source", url)
    put(folder / "cn", name="Cathay", flag=gif("FR"), at_s=1_000_000)
    monkeypatch.setenv("FLAG_REVALIDATE_DAYS", "0")

    revalidated = shell.json("run", "CN", "--source", url)
    monkeypatch.delenv("FLAG_REVALIDATE_DAYS")
    trusted = shell.json("run", "CN", "--source", url)

    assert revalidated["saved"] == 1
    assert (trusted["unchanged"], trusted["bytes"]) == (1, 0)
    assert (shell.store / "flags/CN-Cathay.gif").read_bytes() == gif("FR")


def test_run_configuration_fetches_in_full(folder: Path, url: str, tmp_path: Path) -> None:
    """The job's field does what the option does; it works in a run with a partition, too."""
    settings = load_settings(source=url, store=str(tmp_path / "store"))
    with dg.DagsterInstance.ephemeral() as instance:
        launch(instance, settings, tags={"dagster/partition": "CN"})
        put(folder / "cn", name="China", flag=gif("FR"), at_s=1_000_000)

        result = launch(
            instance, settings, tags={"dagster/partition": "CN"}, ops={"fetch_flags": {"config": {"refetch": True}}}
        )

    assert result.success
    assert (tmp_path / "store/flags/CN-China.gif").read_bytes() == gif("FR")
