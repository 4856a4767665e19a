"""ISO 3166-1 codes and names, and the parser of metadata documents."""

import json
import re
import unicodedata
from functools import cache
from typing import Any

from flag_pipeline.core.models import Country
from flag_pipeline.errors import SourceContractError

# The twenty most populous countries ("Fluent Python", second edition, chapter 20).
POP20 = tuple("CN IN US ID BR PK NG BD RU JP MX PH VN ET EG DE IR TR CD FR".split())

EXTRA_CODE = re.compile(r"[A-Z0-9]{2,8}")

MAX_NAME_CHARS = 100

# Common codes with a flag.
OUTSIDE_ISO = {"EU": "European Union", "UN": "United Nations", "XK": "Kosovo"}

_TLD = re.compile(r"\.[a-z]{2,63}")
# Without U+001C to U+001F, which Python counts as white space.
_WHITE_SPACE = re.compile(r"[^\S\x1c-\x1f]+")
_UNPRINTABLE = frozenset({"Cc", "Cs", "Co", "Cn"})
# Arabic and Indic scripts and emoji need these; other format characters are removed.
_JOINERS = frozenset("\u200c\u200d")
_STRAY_JOINERS = re.compile(r"(?<![^\x00-\xff])[\u200c\u200d]+|[\u200c\u200d]+(?![^\x00-\xff])")


@cache
def iso_codes() -> tuple[str, ...]:
    """The 249 ISO 3166-1 alpha-2 codes, sorted."""
    return tuple(sorted(_iso_entries()))


@cache
def _iso_entries() -> dict[str, Any]:
    import pycountry

    return {entry.alpha_2: entry for entry in pycountry.countries}


def iso_country(code: str) -> Country:
    """Return the country in ISO 3166-1 or `OUTSIDE_ISO`; other codes are their names.

    `common_name` is preferred: "Bolivia", not "Bolivia, Plurinational State of".
    """
    entry = _iso_entries().get(code)
    if entry is None:
        return Country(
            code=code, name=OUTSIDE_ISO.get(code, code), official_name="", alpha_3="", numeric="", tld=_tld(code)
        )
    return Country(
        code=code,
        name=getattr(entry, "common_name", entry.name),
        official_name=getattr(entry, "official_name", ""),
        alpha_3=entry.alpha_3,
        numeric=entry.numeric,
        tld=_tld(code),
    )


def iso_names(code: str) -> tuple[str, ...]:
    """Return all names in ISO 3166-1, the short one first; none for other codes."""
    entry = _iso_entries().get(code)
    given = (getattr(entry, field, "") for field in ("name", "common_name", "official_name"))
    return tuple(name for name in given if name)


def iso_document(code: str) -> bytes:
    """Return ISO 3166-1 data as a document for `parse_country`."""
    country = iso_country(code)
    return json.dumps({"country": country.name, "iso_cc": code, "tld_cc": country.tld}, ensure_ascii=False).encode()


def _tld(code: str) -> str:
    # Only the United Kingdom's differs (IANA root zone).
    return ".uk" if code == "GB" else f".{code.lower()}"


def parse_country(content: bytes, *, code: str, url: str) -> Country:
    """Return the country in a document with `country` (the name), `iso_cc` and optionally `tld_cc`.

    Raises SourceContractError if the document or the name is invalid.
    """
    document = parse_json_object(content, code=code, url=url)
    iso_cc, raw_name, tld = document.get("iso_cc"), document.get("country"), document.get("tld_cc")
    if not isinstance(iso_cc, str) or _normalise(iso_cc).upper() != code:
        raise SourceContractError(f"metadata is for iso_cc {iso_cc!r:.40}", code=code, url=url)
    if not isinstance(raw_name, str):
        raise SourceContractError("metadata has no country name", code=code, url=url)
    name = _normalise(raw_name)
    if problem := _name_problem(name):
        raise SourceContractError(f"country name {ascii(raw_name)[:60]} {problem}", code=code, url=url)
    iso = iso_country(code)
    return Country(
        code=code,
        name=name,
        official_name=iso.official_name,
        alpha_3=iso.alpha_3,
        numeric=iso.numeric,
        tld=tld if isinstance(tld, str) and _TLD.fullmatch(tld) else iso.tld,
    )


def parse_json_object(content: bytes, *, code: str, url: str) -> dict[str, Any]:
    """Return the JSON object in *content*, with or without a byte order mark.

    Raises SourceContractError, also for duplicate keys, NaN or deep nesting.
    """
    try:
        document = json.loads(
            content.decode("utf-8-sig"), object_pairs_hook=_unique_keys, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as exc:
        reason = str(exc) if len(str(exc)) < 100 else type(exc).__name__  # noqa: PLR2004
        raise SourceContractError(f"metadata is not JSON: {reason}", code=code, url=url) from exc
    if not isinstance(document, dict):
        raise SourceContractError("metadata is not a JSON object", code=code, url=url)
    return document


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("an object has the same key twice")
    return document


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _normalise(text: str) -> str:
    kept = "".join(c for c in text if c in _JOINERS or unicodedata.category(c) != "Cf")
    composed = unicodedata.normalize("NFC", _WHITE_SPACE.sub(" ", kept))
    # NFC composes a letter and an accent that a joiner separated.
    joined = unicodedata.normalize("NFC", _STRAY_JOINERS.sub("", composed))
    return _WHITE_SPACE.sub(" ", joined).strip(" ")


def _name_problem(name: str) -> str | None:
    if not any(character.isalnum() for character in name):
        return "has no letter"
    if len(name) > MAX_NAME_CHARS:
        return f"is longer than {MAX_NAME_CHARS} characters"
    if any(unicodedata.category(c) in _UNPRINTABLE for c in name):
        return "has control or invisible characters"
    # "Myanmar/Burma" is a valid name, "../x" is not.
    if "\\" in name or not {".", ".."}.isdisjoint(name.split("/")):
        return "has a path separator"
    return None
