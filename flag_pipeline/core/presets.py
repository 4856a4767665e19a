"""The source presets: address, layout, formats and missing countries of each. Add a preset here."""

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from flag_pipeline.addresses import may_hold_secret
from flag_pipeline.errors import ConfigurationError

DEFAULT_PORTS = {"http": 80, "https": 443}
GIF = frozenset({"gif"})
ANY_FORMAT = frozenset({"gif", "png", "jpeg", "webp"})


@dataclass(frozen=True, slots=True)
class SourcePreset:
    """How a source is laid out.

    Attributes:
        name: the source's identity, as `--source` takes it: a preset's name or a base URL.
        base_url: without trailing slash; what records and messages call it.
        flag_path: below the base URL; `{cc}` stands for the code in lower case.
        metadata_path: likewise; without `{cc}` it is one document for all countries, a JSON object.
        name_key: of such a document, under which key a country's name is.
        formats: image formats that are accepted from it.
        lacks: ISO 3166-1 codes that it is known not to have; they are no partitions with this source.
        is_public: known to be on the internet, so that DNS may not say that it has a private address.
    """

    name: str
    base_url: str
    flag_path: str = "{cc}/{cc}.gif"
    metadata_path: str = "{cc}/metadata.json"
    formats: frozenset[str] = ANY_FORMAT
    lacks: frozenset[str] = frozenset()
    is_public: bool = False
    name_key: str = "{cc}"

    @property
    def has_shared_metadata(self) -> bool:
        """Whether one document has the metadata of all countries."""
        return "{cc}" not in self.metadata_path

    def flag_url(self, code: str) -> str:
        """The address of the flag of *code*."""
        return f"{self.base_url}/{self.flag_path.format(cc=code.lower())}"

    def metadata_url(self, code: str) -> str:
        """The address of the metadata document of *code*."""
        return f"{self.base_url}/{self.metadata_path.format(cc=code.lower())}"


# Its server listens on another free port in each run; what is recorded must not change with that.
EMBEDDED = SourcePreset(name="embedded", base_url="embedded:", formats=GIF)

# The book's site serves the 194 flags of its country_codes.txt ("Fluent Python", example code, chapter 20);
# these ISO 3166-1 codes are the others.
FLUENTPYTHON = SourcePreset(
    name="fluentpython",
    base_url="https://www.fluentpython.com/data/flags",
    formats=GIF,
    is_public=True,
    lacks=frozenset(
        "AI AQ AS AW AX BL BM BQ BV CC CK CW CX DO EH FK FO GF GG GI GL GP GS GU HK HM IM IO JE KY MF "
        "MO MP MQ MS NC NF NU PF PM PN PR PS RE SH SJ SX TC TF TK UM VG VI WF YT".split()
    ),
)

# PNG at fixed widths, and the names of all codes in one document. Source: https://flagpedia.net/download/api
FLAGCDN = SourcePreset(
    name="flagcdn",
    base_url="https://flagcdn.com",
    flag_path="w320/{cc}.png",
    metadata_path="en/codes.json",
    formats=frozenset({"png"}),
    is_public=True,
)

PRESETS = {preset.name: preset for preset in (EMBEDDED, FLUENTPYTHON, FLAGCDN)}


def find_preset(source: str) -> SourcePreset:
    """Return the preset called *source*, or one for the base URL that *source* is.

    `flagcdn@https://mirror.example` is the layout of a preset at another base URL. Two spellings of one base URL give
    equal presets. Raises ConfigurationError for anything else; it does not show what may hold a secret.
    """
    if preset := PRESETS.get(source):
        return preset
    layout, _, address = source.partition("@")
    if layout in PRESETS and (base_url := _base_url(address)):
        return replace(PRESETS[layout], name=f"{layout}@{base_url}", base_url=base_url, is_public=False)
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


def _base_url(address: str) -> str:
    """Return the one spelling of the base URL *address*, an empty text if it is none."""
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
    """Whether two sources have one identity: the same preset or the same base URL."""
    return find_preset(one).base_url == find_preset(other).base_url


def source_of(url: str, code: str) -> str:
    """Return the source, as `--source` takes it, that the address of one of the country's files belongs to.

    Returns an empty text for an address that is in no known layout.
    """
    found = ""
    for preset in PRESETS.values():
        for path in (preset.flag_path, preset.metadata_path):
            suffix = f"/{path.format(cc=code.lower())}"
            if not url.endswith(suffix):
                continue
            base_url = url.removesuffix(suffix)
            if base_url == preset.base_url:
                return preset.name
            if _base_url(base_url):
                found = base_url if path in _BOOK_PATHS else f"{preset.name}@{base_url}"
    return found


_BOOK_PATHS = {EMBEDDED.flag_path, EMBEDDED.metadata_path}
