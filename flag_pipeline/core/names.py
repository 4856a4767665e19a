"""Everyday names of countries, besides those of ISO 3166-1, and names in other languages."""

import difflib
import re
import unicodedata
from collections.abc import Mapping
from functools import cache

from flag_pipeline.core.countries import OUTSIDE_ISO, iso_codes, iso_country, iso_names
from flag_pipeline.errors import ConfigurationError

_CODE_CHARS = 3

LANGUAGES_EXTRA = "flag-pipeline[languages]"

# Short, everyday and former names that ISO 3166-1 lacks. A name that several countries share (Congo, Guinea, Korea,
# the Virgin Islands) is none, unless ISO 3166-1 gives it to one of them.
_ALIASES = {
    "AE": ("UAE", "Emirates"),
    "BA": ("Bosnia", "Bosnia-Herzegovina"),
    "BF": ("Upper Volta",),
    "BJ": ("Dahomey",),
    "BN": ("Brunei",),
    "BQ": ("Bonaire", "Caribbean Netherlands"),
    "BY": ("Belorussia", "Byelorussia"),
    "CC": ("Cocos Islands", "Keeling Islands"),
    "CD": ("DR Congo", "DRC", "Congo-Kinshasa", "Democratic Republic of the Congo", "Zaire"),
    "CG": ("Congo-Brazzaville", "Republic of the Congo"),
    "CI": ("Ivory Coast",),
    "CN": ("PRC",),
    "CV": ("Cape Verde",),
    "CZ": ("Czech Republic",),
    "FK": ("Falklands", "Falkland Islands", "Malvinas"),
    "FM": ("Micronesia",),
    "FO": ("Faroes",),
    "GB": ("UK", "Britain", "Great Britain"),
    "GR": ("EL", "Hellas"),
    "GS": ("South Georgia",),
    "HM": ("Heard Island",),
    "IE": ("Eire", "Republic of Ireland"),
    "IO": ("Chagos Islands",),
    "IR": ("Persia",),
    "KH": ("Kampuchea",),
    "KN": ("St Kitts",),
    "KP": ("DPRK",),
    "KR": ("Republic of Korea", "ROK"),
    "LA": ("Lao",),
    "LK": ("Ceylon",),
    "MF": ("Saint Martin",),
    "MK": ("Macedonia", "FYROM"),
    "MM": ("Burma",),
    "MO": ("Macau",),
    "NL": ("Holland",),
    "PN": ("Pitcairn Islands",),
    "PS": ("Palestine", "Palestinian Territories"),
    "RU": ("Russia",),
    "SH": ("Saint Helena",),
    "ST": ("Sao Tome",),
    "SX": ("Sint Maarten",),
    "SZ": ("Swaziland",),
    "TH": ("Siam",),
    "TL": ("East Timor",),
    "TR": ("Turkey",),
    "TW": ("Republic of China", "Chinese Taipei"),
    "TZ": ("Tanganyika",),
    "US": ("America", "United States of America"),
    "VA": ("Vatican", "Vatican City", "Holy See"),
    "VC": ("St Vincent",),
    "VG": ("British Virgin Islands",),
    "VI": ("US Virgin Islands", "American Virgin Islands"),
    "VU": ("New Hebrides",),
    "WS": ("Western Samoa",),
    "XK": ("XKX",),
    "ZW": ("Rhodesia",),
}

_PARTS = {"england": "GB", "northern ireland": "GB", "scotland": "GB", "wales": "GB"}


def other_names(code: str) -> tuple[str, ...]:
    """Return ISO 3166-1 and everyday names, without that of `iso_country`."""
    names = dict.fromkeys((*iso_names(code), *_ALIASES.get(code, ())))
    return tuple(name for name in names if name != iso_country(code).name)


def code_of_name(text: str) -> str | None:
    """Return the code of the country with that name, alpha-3 or numeric code, or domain, in any case."""
    return _codes().get(_folded(text))


def whole_of(text: str) -> str | None:
    """Return the code of the country that has this part with its own flag, such as England."""
    return _PARTS.get(_folded(text))


def nearest_code(text: str) -> str | None:
    """Return the code of the country with the most similar name, if any is similar."""
    # Codes are too short to be similar.
    names = [name for name in _codes() if len(name) > _CODE_CHARS]
    near = difflib.get_close_matches(_folded(text), names, n=1, cutoff=0.8)
    return _codes()[near[0]] if near else None


def names_in(language: str) -> Mapping[str, str]:
    """Return names by code in a language such as `fr`, `pt-BR` or `zh_Hant`. Source: Unicode CLDR, in Babel.

    Raises ConfigurationError without Babel or its language.
    """
    try:
        from babel import Locale, UnknownLocaleError
    except ImportError as exc:
        raise ConfigurationError(f"names in other languages need Babel; install {LANGUAGES_EXTRA}") from exc
    try:
        return dict(Locale.parse(language.replace("-", "_")).territories)
    except (UnknownLocaleError, ValueError, TypeError) as exc:
        raise ConfigurationError(f"there are no names in {language!r:.40}; use a language such as fr or pt-BR") from exc


@cache
def _codes() -> dict[str, str]:
    codes = {_folded(alias): code for code, aliases in _ALIASES.items() for alias in aliases}
    # The standard's names win over aliases.
    for code in (*OUTSIDE_ISO, *iso_codes()):
        country = iso_country(code)
        for name in (*iso_names(code), country.name, country.alpha_3, country.numeric, country.tld):
            codes[_folded(name)] = code
    codes.pop("", None)
    return codes


def _folded(text: str) -> str:
    """Return the name without case, accents, apostrophes, dots of abbreviations, and "the"; `4` as `004`."""
    letters = (letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    plain = re.sub(r"['\u2019]|(?<=\w)\.", "", "".join(letters)).casefold().replace("&", " and ")
    words = ["saint" if word == "st" else word for word in re.findall(r"\.?\w+", plain) if word != "the"]
    return words[0].zfill(3) if len(words) == 1 and words[0].isdecimal() else " ".join(words)
