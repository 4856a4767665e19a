"""Source presets, and base URLs as sources."""

import pytest

from flag_pipeline.core.countries import iso_codes
from flag_pipeline.core.presets import EMBEDDED, FLUENTPYTHON, find_preset, is_same_source, source_of
from flag_pipeline.errors import ConfigurationError


def test_presets_are_found_by_name() -> None:
    """A preset's name is a source."""
    assert find_preset("embedded") is EMBEDDED
    assert find_preset("fluentpython") is FLUENTPYTHON


@pytest.mark.parametrize("source", ["http://127.0.0.1:8000/flags/", "https://example.com/flags"])
def test_base_url_is_a_source_of_the_same_layout(source: str) -> None:
    """A trailing slash is ignored, and codes are lower case in paths."""
    preset = find_preset(source)

    assert preset.flag_url("CN") == f"{source.rstrip('/')}/cn/cn.gif"
    assert preset.metadata_url("CN") == f"{source.rstrip('/')}/cn/metadata.json"


@pytest.mark.parametrize(
    "source",
    [
        *("", "ftp://x/y", "file:///etc", "http://", "http://x/?q", "http://x/#f", "other"),
        *("http://[x", "http://x:99999", "http://x:0", "http://x:port", "http://x/\x1b[31m"),
        *("https://user@x", "https://user:secret@x", "flagcdn@https://user:secret@x"),
    ],
)
def test_anything_else_is_refused(source: str) -> None:
    """The error lists the presets."""
    with pytest.raises(ConfigurationError, match="use one of embedded, fluentpython, flagcdn"):
        find_preset(source)


def test_fluentpython_lacks_55_countries_and_is_public() -> None:
    """The book has 194 of 249 flags, and its host may have no private address."""
    assert len(set(iso_codes()) - FLUENTPYTHON.lacks) == 194
    assert FLUENTPYTHON.is_public


@pytest.mark.parametrize(
    ("spelling", "other"),
    [
        ("HTTPS://Example.com:443/Flags//", "https://example.com/Flags"),
        ("http://[::1]:80", "http://[::1]/"),
        ("flagcdn@HTTP://mirror.example:80/", "flagcdn@http://mirror.example"),
    ],
)
def test_spellings_of_one_base_url_are_one_source(spelling: str, other: str) -> None:
    """The case of scheme and host, the default port and trailing slashes are ignored."""
    assert find_preset(spelling) == find_preset(other)


@pytest.mark.parametrize(
    ("source", "other"),
    [
        ("https://flagcdn.com", "flagcdn"),
        ("flagcdn@https://flagcdn.com", "flagcdn"),
        ("https://x/a", "https://x/A"),
        ("https://x", "http://x"),
        ("http://x:8080", "http://x"),
        ("https://x/a/../b", "https://x/b"),
    ],
)
def test_other_addresses_and_layouts_are_other_sources(source: str, other: str) -> None:
    """Different paths, schemes and ports are different sources, and a preset differs from its base URL."""
    assert find_preset(source) != find_preset(other)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("embedded", "embedded"),
        ("fluentpython", "fluentpython"),
        ("HTTP://Flags.Example:80/data/", "http://flags.example/data"),
        ("https://flags.example:443", "https://flags.example"),
        ("flagcdn@https://Mirror.Example/", "flagcdn@https://mirror.example"),
    ],
)
def test_a_source_has_one_name_and_its_addresses_lead_back_to_it(source: str, name: str) -> None:
    """Trailing slashes, the case of the host and the default port are ignored."""
    preset = find_preset(source)

    assert preset.name == name
    assert source_of(preset.flag_url("CN"), "CN") == source_of(preset.metadata_url("CN"), "CN") == name
    assert is_same_source(source, name)


@pytest.mark.parametrize(
    "source",
    ["flagcdn-svg", "flag-icons", "flag-icons-square", "flag-icons@https://x", "flag-icons-square@https://x/y"],
)
def test_addresses_of_svgs_lead_back_to_their_source(source: str) -> None:
    """The layout of flagcdn.com also ends like those of flag-icons, and its sources of PNG and SVG are two."""
    assert source_of(find_preset(source).flag_url("CN"), "CN") == source
    assert not is_same_source("flagcdn", "flagcdn-svg")
    assert not is_same_source("flag-icons@https://x", "flag-icons-square@https://x")


@pytest.mark.parametrize("url", ["", "http://flags.example/CN.svg", "ftp://flags.example/cn/cn.gif"])
def test_an_address_in_no_layout_has_no_source(url: str) -> None:
    """The source is empty, not a guess."""
    assert source_of(url, "CN") == ""
