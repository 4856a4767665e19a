"""All flags of three layouts, the book's, flagcdn's and flag-icons', from their source to a release."""

import hashlib
import io
import json
import os
import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import resvg_py
from PIL import Image, ImageChops, ImageOps, ImageStat

from flag_pipeline.catalog.rows import load_rows
from flag_pipeline.core.countries import iso_codes, iso_country
from flag_pipeline.core.layout import PICTURES, thumbnail_path, webp_path
from flag_pipeline.core.mirror import packaged_flags
from flag_pipeline.core.models import RowStatus
from flag_pipeline.core.presets import FLAG_ICONS, FLAGCDN, FLUENTPYTHON, SourcePreset
from flag_pipeline_tests.flag_server import FlagServer, answer
from flag_pipeline_tests.records import striped
from flag_pipeline_tests.shell import Shell
from flag_pipeline_tests.svgs import FRANCE, svg

pytestmark = pytest.mark.timeout(300)

SIX = ("w40", "w160", "w400", "square64", "circle64", "pad64")
COMMANDS = ("run", "render", "release")
TABLES = ("catalog/catalog", "history/changes", "renditions/renditions")
# Two ways to make a flag smaller differ by at most 8 of 255; 99 of 100 pairs of flags differ by 42 and more.
MAX_DIFFERENCE = 12


@dataclass(frozen=True, slots=True)
class Source:
    """A layout on the test's own server, and its flags by code."""

    preset: SourcePreset
    server: FlagServer
    flags: dict[str, bytes]

    def path(self, code: str) -> str:
        """The path of a flag's URL."""
        return f"/{self.preset.flag_path.format(cc=code.lower())}"


@pytest.fixture(params=[FLUENTPYTHON, FLAGCDN, FLAG_ICONS], ids=lambda preset: preset.name)
def source(request: pytest.FixtureRequest, flag_server: FlagServer, monkeypatch: pytest.MonkeyPatch) -> Source:
    """All flags that the preset has, at the paths that it documents; six renditions are wanted."""
    preset: SourcePreset = request.param
    codes = [code for code in iso_codes() if code not in preset.lacks]
    source = Source(preset, flag_server, {code: flag_of(code, preset) for code in codes})
    # The server has the book's layout by itself, with ETags.
    if preset is not FLUENTPYTHON:
        for code, content in source.flags.items():
            flag_server.script(source.path(code), [answer(200, content)])
        names = {code.lower(): iso_country(code).name for code in codes}
        flag_server.script("/en/codes.json", [answer(200, json.dumps({**names, "gb-eng": "England"}).encode())])
    monkeypatch.setenv("FLAG_SOURCE", f"{preset.name}@{flag_server.url}")
    monkeypatch.setenv("FLAG_RENDITIONS", ",".join(SIX))
    return source


def flag_of(code: str, preset: SourcePreset) -> bytes:
    """The flag as a GIF, PNG or SVG; the SVGs are those of flag-icons where `REAL_SVGS` names their folder."""
    if preset is FLAG_ICONS:
        return svg_of(code, preset)
    gif = packaged_flags()[code.lower()]
    if preset is FLUENTPYTHON:
        return gif.read_bytes()
    buffer = io.BytesIO()
    with Image.open(gif) as image:
        image.convert("RGBA").save(buffer, "PNG")
    return buffer.getvalue()


def svg_of(code: str, preset: SourcePreset) -> bytes:
    """The real SVG, or two stripes in colours of this country alone."""
    if "REAL_SVGS" in os.environ:
        return Path(os.environ["REAL_SVGS"], preset.flag_path.format(cc=code.lower())).read_bytes()
    colours = hashlib.sha256(code.encode()).hexdigest()
    stripes = f'<path fill="#{colours[:6]}" d="M0 0h640v240H0z"/><path fill="#{colours[6:12]}" d="M0 240h640v240H0z"/>'
    return svg(stripes, root='viewBox="0 0 640 480"')


def decoded(content: bytes) -> Image.Image:
    """The picture in RGBA; an SVG has the size of its viewBox."""
    if b"<svg" in content:
        content = bytes(resvg_py.svg_to_bytes(svg_string=content.decode()))
    with Image.open(io.BytesIO(content)) as image:
        return image.convert("RGBA")


def expected(rendition: str, flag: Image.Image) -> Image.Image:
    """The rendition as Pillow's own functions make it; nothing is enlarged."""
    shape, px = re.findall("[a-z]+|[0-9]+", rendition)
    side = min(int(px), *flag.size)
    if shape == "w":
        factor = min(1, int(px) / flag.width)
        return flag.resize((round(flag.width * factor), round(flag.height * factor)))
    return (ImageOps.pad if shape == "pad" else ImageOps.fit)(flag, (side, side))


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of two pictures on grey, 0 to 255, in the colour that differs most."""
    grey = [Image.alpha_composite(Image.new("RGBA", each.size, "grey"), each) for each in (one, other)]
    return max(ImageStat.Stat(ImageChops.difference(*grey).convert("RGB")).mean)


def check_rendition(row: dict[str, Any], stored: bytes, flag: Image.Image) -> None:
    """The file is what its row says, and shows the flag."""
    drawn, wanted = decoded(stored), expected(row["rendition"], flag)
    assert (hashlib.sha256(stored).hexdigest(), len(stored)) == (row["sha256"], row["size_bytes"])
    assert drawn.size == (row["width_px"], row["height_px"]) == wanted.size, row["file"]
    if row["rendition"].startswith("circle"):
        assert drawn.getchannel("A").getpixel((0, 0)) == 0
        # The largest square in the circle.
        drawn, wanted = (ImageOps.crop(each, round(each.width * 0.15)) for each in (drawn, wanted))
    assert difference(drawn, wanted) < MAX_DIFFERENCE, row["file"]


def check_store(source: Source, store: Path) -> None:
    """Each flag is stored, has its row in the catalog, and six renditions with a row each."""
    rows = {row.code: row for row in load_rows((store / "catalog/catalog.json").read_bytes())}
    table = json.loads((store / "renditions/renditions.json").read_bytes())
    assert {code: (store / row.file).read_bytes() for code, row in rows.items()} == source.flags
    assert {(row.status, row.format) for row in rows.values()} == {(RowStatus.OK, *source.preset.formats)}
    assert {bool(row.aspect_ratio) for row in rows.values()} == {source.preset.has_ratios}
    assert all(row.colours for row in rows.values())
    assert [(row["code"], row["rendition"]) for row in table] == [*product(source.flags, sorted(SIX))]
    pictures = {code: decoded(content) for code, content in source.flags.items()}
    assert {code: (row.width_px, row.height_px) for code, row in rows.items()} == {
        code: picture.size for code, picture in pictures.items()
    }
    assert {code: row.sha256 for code, row in rows.items()} == {row["code"]: row["flag_sha256"] for row in table}
    for row in table:
        check_rendition(row, (store / row["file"]).read_bytes(), pictures[row["code"]])


def changed_flag(source: Source) -> bytes:
    """Another flag in the format of the source."""
    [kind] = source.preset.formats
    if kind == "svg":
        green = FRANCE.replace("000091", "008000")
        return svg(f'<g transform="scale(100)">{green}</g>', root='viewBox="0 0 600 400"')
    return striped("green", "white", "red", kind=kind, size=(320, 213))


def files_about(old: bytes, new: bytes, extension: str) -> set[str]:
    """What the store writes or deletes when France's flag changes: files of that flag, and those of all flags."""
    before, after = (hashlib.sha256(flag).hexdigest() for flag in (old, new))
    # Browsers do not get an SVG itself to show.
    drawings = {webp_path(PICTURES, sha256) for sha256 in (before, after)} if extension == "svg" else set()
    return drawings | {
        *(f"flags/FR-France.{extension}", "records/FR.json", f"history/FR/{before}.{extension}"),
        *(f"renditions/{name}/FR.png" for name in SIX),
        *("renditions/records/FR.json", thumbnail_path(after)),
        *(f"{table}.{kind}" for table in TABLES for kind in ("csv", "json", "parquet")),
        *(f"catalog/{name}" for name in (".built", "index.html", "details/0.js", "contact_sheet.png", "mosaic.webp")),
    }


def check_change(source: Source, shell: Shell) -> None:
    """One flag changes: so do its renditions, there is one new release and one row of history, and no other file."""
    old, new = source.flags["FR"], changed_flag(source)
    before = shell.stats()
    source.server.script(source.path("FR"), [answer(200, new)])
    fetched, rendered, released = (shell.json(command) for command in COMMANDS)
    after = shell.stats()
    n_others = len(source.flags) - 1

    assert (fetched["saved"], fetched["unchanged"]) == (1, n_others)
    assert (rendered["made"], rendered["unchanged"], released["is_new"]) == (1, n_others, True)
    [change] = json.loads((shell.store / "history/changes.json").read_bytes())
    assert (change["code"], change["new_sha256"]) == ("FR", hashlib.sha256(new).hexdigest())
    for row in json.loads((shell.store / "renditions/renditions.json").read_bytes()):
        if row["code"] == "FR":
            check_rendition(row, (shell.store / row["file"]).read_bytes(), decoded(new))
    [release] = {name for name in after.keys() - before.keys() if name.startswith("release/")}
    assert str(shell.store / release) == released["file"]
    [extension] = source.preset.formats
    touched = {name for name in before | after if before.get(name) != after.get(name)}
    assert touched == files_about(old, new, extension) | {release, "release/latest.json"}


def test_each_reaches_a_release_and_one_that_changes_touches_no_other(source: Source, shell: Shell) -> None:
    """The book has 194 flags, the others 249; all are saved, catalogued, rendered and released, then one changes."""
    n_flags = len(source.flags)
    assert n_flags == (194 if source.preset is FLUENTPYTHON else 249)

    fetched, rendered, released = (shell.json(command) for command in COMMANDS)

    assert (fetched["saved"], rendered["made"], released["n_flags"]) == (n_flags, n_flags, n_flags)
    check_store(source, shell.store)
    # The catalog notes that it knows the renditions.
    shell("run")
    check_change(source, shell)
    assert not shell.json("release")["is_new"]
