"""Source presets: URLs, formats and missing countries of named sources."""

from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import urlsplit

from flag_pipeline.addresses import may_hold_secret
from flag_pipeline.errors import ConfigurationError
from flag_pipeline.images.formats import FORMATS, GIF, SVG

DEFAULT_PORTS = {"http": 80, "https": 443}
ONLY_GIF, ONLY_SVG = frozenset({GIF}), frozenset({SVG})
ANY_FORMAT = frozenset(FORMATS)


@dataclass(frozen=True, slots=True)
class SourcePreset:
    """The layout of a source.

    Attributes:
        base_url: without trailing slash.
        flag_path: relative to the base URL; `{cc}` is the lower-case code.
        metadata_path: the same; without `{cc}`, one JSON object for all; empty, names come from ISO 3166-1.
        lacks: missing ISO 3166-1 codes.
        is_public: on the internet; private addresses are refused.
        name_key: of a country's name in the shared object.
        licence: of the flags; empty if unknown.
        attribution: the authors to name, and what was changed.
        has_ratios: whether pictures have their flags' ratio.
    """

    name: str
    base_url: str
    flag_path: str = "{cc}/{cc}.gif"
    metadata_path: str = "{cc}/metadata.json"
    formats: frozenset[str] = ANY_FORMAT
    lacks: frozenset[str] = frozenset()
    is_public: bool = False
    name_key: str = "{cc}"
    licence: str = ""
    attribution: str = ""
    has_ratios: bool = True

    @property
    def has_shared_metadata(self) -> bool:
        """Whether one document has all countries."""
        return bool(self.metadata_path) and "{cc}" not in self.metadata_path

    def flag_url(self, code: str) -> str:
        """Return the flag's URL."""
        return f"{self.base_url}/{self.flag_path.format(cc=code.lower())}"

    def metadata_url(self, code: str) -> str:
        """Return the metadata's URL, empty if there is none."""
        return f"{self.base_url}/{self.metadata_path.format(cc=code.lower())}" if self.metadata_path else ""


# No real URL, because the mirror's port varies.
EMBEDDED = SourcePreset(
    name="embedded",
    base_url="embedded:",
    formats=ONLY_GIF,
    licence="CC BY-SA 4.0",
    attribution="OpenMoji 17.0, https://openmoji.org, drawn without frame and margin",
    has_ratios=False,
)

# Has the 194 flags of country_codes.txt ("Fluent Python", example code, chapter 20).
FLUENTPYTHON = SourcePreset(
    name="fluentpython",
    base_url="https://www.fluentpython.com/data/flags",
    formats=ONLY_GIF,
    is_public=True,
    licence="public domain",
    attribution="CIA World Factbook, by https://www.fluentpython.com",
    lacks=frozenset(
        "AI AQ AS AW AX BL BM BQ BV CC CK CW CX DO EH FK FO GF GG GI GL GP GS GU HK HM IM IO JE KY MF "
        "MO MP MQ MS NC NF NU PF PM PN PR PS RE SH SJ SX TC TF TK UM VG VI WF YT".split()
    ),
)

# Source: https://flagpedia.net/download/api
FLAGCDN = SourcePreset(
    name="flagcdn",
    base_url="https://flagcdn.com",
    flag_path="w320/{cc}.png",
    metadata_path="en/codes.json",
    formats=frozenset({"png"}),
    is_public=True,
    licence="terms at https://flagpedia.net/download/api",
    attribution="https://flagcdn.com",
)

FLAGCDN_SVG = replace(FLAGCDN, name="flagcdn-svg", flag_path="{cc}.svg", formats=ONLY_SVG)

# Source: https://github.com/lipis/flag-icons, release 7.5.0, whose folder `flags` the site serves.
FLAG_ICONS = SourcePreset(
    name="flag-icons",
    base_url="https://flagicons.lipis.dev/flags",
    flag_path="4x3/{cc}.svg",
    metadata_path="",
    formats=ONLY_SVG,
    is_public=True,
    licence="MIT",
    attribution="flag-icons, https://github.com/lipis/flag-icons",
    has_ratios=False,
)
FLAG_ICONS_SQUARE = replace(FLAG_ICONS, name="flag-icons-square", flag_path="1x1/{cc}.svg")

PRESETS = {
    preset.name: preset for preset in (EMBEDDED, FLUENTPYTHON, FLAGCDN, FLAGCDN_SVG, FLAG_ICONS, FLAG_ICONS_SQUARE)
}


def find_preset(source: str) -> SourcePreset:
    """Return the preset named *source*, or one for a base URL.

    `flagcdn@https://mirror.example` is a preset's layout at another URL.

    Raises ConfigurationError for anything else.
    """
    if preset := PRESETS.get(source):
        return preset
    layout, _, address = source.partition("@")
    if layout in PRESETS and (base_url := _base_url(address)):
        elsewhere = replace(PRESETS[layout], name=f"{layout}@{base_url}", base_url=base_url, is_public=False)
        return replace(elsewhere, licence="", attribution="")
    if base_url := _base_url(source):
        return SourcePreset(name=base_url, base_url=base_url)
    choices = (
        f"use one of {', '.join(PRESETS)}, the http(s) base URL of the book's layout, or "
        "such as flagcdn@https://mirror.example"
    )
    if may_hold_secret(address if layout in PRESETS else source):
        raise ConfigurationError(
            "the address of a source is recorded with every flag, so it must be http(s)://host:port/path without user "
            "information, query or fragment (send a secret in FLAG_HEADERS); it is not shown here, because it may hold "
            f"a secret; {choices}"
        )
    raise ConfigurationError(f"unknown source {source!r}; {choices}")


@lru_cache(maxsize=16)
def _base_url(address: str) -> str:
    if may_hold_secret(address) or not address.isprintable():
        return ""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or port == 0:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    authority = host if port in {None, DEFAULT_PORTS[parts.scheme]} else f"{host}:{port}"
    return f"{parts.scheme}://{authority}{parts.path.rstrip('/')}"


def is_same_source(one: str, other: str) -> bool:
    """Whether two sources have the same base URL and layout."""
    first, second = find_preset(one), find_preset(other)
    return (first.base_url, first.flag_path) == (second.base_url, second.flag_path)


def source_of(url: str, code: str) -> str:
    """Return the source of a file's URL, empty if no layout matches.

    The first preset with the URL wins, else the layout with most of it.
    """
    found = longest = ""
    for preset in PRESETS.values():
        for path in filter(None, (preset.flag_path, preset.metadata_path)):
            suffix = f"/{path.format(cc=code.lower())}"
            if not url.endswith(suffix):
                continue
            base_url = url.removesuffix(suffix)
            if base_url == preset.base_url:
                return preset.name
            if len(suffix) > len(longest) and _base_url(base_url):
                longest = suffix
                found = base_url if path in _BOOK_PATHS else f"{preset.name}@{base_url}"
    return found


_BOOK_PATHS = {EMBEDDED.flag_path, EMBEDDED.metadata_path}
