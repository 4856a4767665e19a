"""The sources that are known by name, as data: where things lie and what they are known to lack."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from flag_pipeline.errors import ConfigurationError

GIF = frozenset({"gif"})
ANY_FORMAT = frozenset({"gif", "png", "jpeg", "webp"})


@dataclass(frozen=True, slots=True)
class SourcePreset:
    """How a source is laid out.

    Attributes:
        name: what a user calls it; a base URL where it has no other name.
        base_url: without trailing slash; what records and messages call it.
        flag_path: below the base URL; `{cc}` stands for the code in lower case.
        metadata_path: likewise.
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

PRESETS = {preset.name: preset for preset in (EMBEDDED, FLUENTPYTHON)}


def find_preset(source: str) -> SourcePreset:
    """Return the preset called *source*, or one for the base URL that *source* is.

    Raises ConfigurationError for anything else.
    """
    if preset := PRESETS.get(source):
        return preset
    parts = urlsplit(source)
    if parts.scheme in {"http", "https"} and parts.hostname and not parts.query and not parts.fragment:
        return SourcePreset(name=source, base_url=source.rstrip("/"))
    raise ConfigurationError(
        f"unknown source {source!r}; use one of {', '.join(PRESETS)} or the http(s) base URL of the same layout"
    )
