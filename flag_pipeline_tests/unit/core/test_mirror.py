"""The embedded source, asked over real HTTP."""

import json
from pathlib import Path

import aiohttp
import pytest

from flag_pipeline.core.mirror import FolderOfFlags, Mirror, PackagedFlags, serving
from flag_pipeline.errors import ConfigurationError
from flag_pipeline_tests.samples import gif

PACKAGED = PackagedFlags()


async def statuses(mirror: Mirror, path: str, n_requests: int) -> list[int]:
    """The status of each of some requests for *path*."""
    async with serving(mirror) as url, aiohttp.ClientSession() as session:
        found = []
        for _ in range(n_requests):
            async with session.get(url + path) as reply:
                found.append(reply.status)
        return found


async def test_packaged_flags_have_the_books_layout() -> None:
    """The flag with its type, and a metadata document with the common name."""
    async with serving(Mirror(PACKAGED)) as url, aiohttp.ClientSession() as session:
        async with session.get(f"{url}/bo/bo.gif") as reply:
            assert (reply.status, reply.content_type, await reply.read()) == (200, "image/gif", gif("BO"))
        async with session.get(f"{url}/bo/metadata.json") as reply:
            assert json.loads(await reply.read()) == {"country": "Bolivia", "iso_cc": "BO", "tld_cc": ".bo"}


async def test_unchanged_file_is_not_sent_again() -> None:
    """With the ETag of the file, and with one of several, it answers 304 without a body."""
    async with serving(Mirror(PACKAGED)) as url, aiohttp.ClientSession() as session:
        async with session.get(f"{url}/cn/cn.gif") as reply:
            etag = reply.headers["ETag"]
        for known in (etag, f'"other", {etag}', "*"):
            async with session.get(f"{url}/cn/cn.gif", headers={"If-None-Match": known}) as reply:
                assert (reply.status, await reply.read(), reply.headers["ETag"]) == (304, b"", etag)
        async with session.get(f"{url}/cn/cn.gif", headers={"If-None-Match": '"other"'}) as reply:
            assert reply.status == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/zz/zz.gif", "/zz/metadata.json", "/cn/fr.gif", "/CN/CN.gif", "/..%2f..%2fetc/passwd", "/cn/%2e%2e/x"],
)
async def test_everything_else_is_not_found(path: str) -> None:
    """Nothing from the URL reaches a path."""
    assert await statuses(Mirror(PACKAGED), path, 1) == [404]


async def test_folder_is_served(tmp_path: Path) -> None:
    """What is not in it is not found."""
    (tmp_path / "cn").mkdir()
    (tmp_path / "cn/cn.gif").write_bytes(gif())
    (tmp_path / "fr").write_bytes(b"a file in place of a folder")
    mirror = Mirror(FolderOfFlags(tmp_path))

    assert await statuses(mirror, "/cn/cn.gif", 1) == [200]
    assert await statuses(mirror, "/cn/metadata.json", 1) == [404]
    assert await statuses(mirror, "/fr/fr.gif", 1) == [404]


async def test_practice_errors_are_repeatable() -> None:
    """The same seed breaks the same requests."""
    one, other = [await statuses(Mirror(PACKAGED, error_rate=0.5, seed=7), "/cn/cn.gif", 20) for _ in range(2)]

    assert one == other
    assert set(one) == {200, 503}


async def test_delay_comes_before_the_answer() -> None:
    """A client that waits less gets none."""
    impatient = aiohttp.ClientTimeout(total=0.1)
    async with serving(Mirror(PACKAGED, delay_s=30)) as url, aiohttp.ClientSession(timeout=impatient) as session:
        with pytest.raises(TimeoutError):
            await session.get(f"{url}/cn/cn.gif")


async def test_taken_port_is_a_mistake_of_the_user() -> None:
    """One line says which."""
    async with serving(Mirror(PACKAGED)) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with serving(Mirror(PACKAGED), port=port):
                pass


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the distribution of the flags there is no embedded source."""
    monkeypatch.setattr("flag_pipeline.core.mirror.FLAGS_DISTRIBUTION", "no-such-distribution")

    with pytest.raises(ConfigurationError, match="needs the package no-such-distribution"):
        PackagedFlags()
