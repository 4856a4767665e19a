"""The embedded source, asked over real HTTP."""

import io
import json
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
from PIL import Image

from flag_pipeline.core.countries import iso_codes
from flag_pipeline.core.mirror import FolderOfFlags, Mirror, PackagedFlags, packaged_flags, serving
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


async def test_packaged_flags_have_the_svg_beside_the_gif() -> None:
    """It has its own media type and ETag, and a country that has no flag has none."""
    async with serving(Mirror(PACKAGED)) as url, aiohttp.ClientSession() as session:
        async with session.get(f"{url}/bo/bo.svg") as reply:
            svg, etag = await reply.read(), reply.headers["ETag"]
            assert (reply.status, reply.content_type) == (200, "image/svg+xml")
            assert svg.startswith(b"<svg ")
        async with session.get(f"{url}/bo/bo.svg", headers={"If-None-Match": etag}) as reply:
            assert reply.status == 304
        async with session.get(f"{url}/zz/zz.svg") as reply:
            assert reply.status == 404


def test_packaged_flags_are_those_of_every_code() -> None:
    """They are the 249 of ISO 3166-1, Kosovo, the European Union and the United Nations."""
    assert {code.lower() for code in (*iso_codes(), "XK", "EU", "UN")} <= packaged_flags().keys()


def test_packaged_flags_are_wide_and_of_few_colours() -> None:
    """Each is 320 pixels wide, has at most 64 colours, and no frame and no margin around the flag."""
    for code in iso_codes():
        with Image.open(io.BytesIO(gif(code))) as image:
            assert image.width == 320
            assert len(image.getcolors() or ()) <= 64
            alpha = image.convert("RGBA").getchannel("A").histogram()
        assert (alpha[0] > sum(alpha) / 100) is (code == "NP"), f"{code} has a margin"
    assert edge_colours("FR") == {(30, 80, 160), (255, 255, 255), (210, 47, 39)}
    assert edge_colours("CH") == {(210, 47, 39)}


def edge_colours(code: str) -> set[tuple[int, ...]]:
    """The colours of the flag's first and last lines and columns that fill more than a hundredth of them."""
    with Image.open(io.BytesIO(gif(code))) as image:
        flag = image.convert("RGB")
    width, height = flag.size
    edges = [flag.getpixel((x, y)) for x in range(width) for y in (0, height - 1)]
    edges += [flag.getpixel((x, y)) for y in range(height) for x in (0, width - 1)]
    return {colour for colour, n in Counter(edges).items() if n > len(edges) / 100 and isinstance(colour, tuple)}


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


def test_missing_drawings_are_named_with_the_command_that_draws_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A checkout without its drawn files says what makes them."""
    monkeypatch.setattr("flag_pipeline.core.mirror.DRAWN_FLAGS", tmp_path)

    with pytest.raises(ConfigurationError, match="uv sync --inexact --reinstall-package flag-pipeline"):
        PackagedFlags()
