"""Which countries the words of a command line or run configuration select."""

from collections.abc import Iterable

from flag_pipeline.core.countries import OUTSIDE_ISO, POP20, iso_codes, iso_country
from flag_pipeline.core.names import code_of_name, nearest_code, whole_of
from flag_pipeline.errors import ConfigurationError


def select_codes(wanted: Iterable[str], among: Iterable[str]) -> list[str]:
    """Return codes of *among* that *wanted* selects, in their order.

    A text is a name, or words separated by commas or spaces: names, alpha-2, alpha-3 or numeric codes, domains, first
    letters, or `POP20`. None selects every code.

    Raises ConfigurationError for a word that selects nothing.
    """
    available = list(among)
    words = [word for text in wanted for word in _words(text)]
    chosen = {code for word in words for code in _codes_of(word, available)}
    return [code for code in available if code in chosen] if words else available


def _words(text: str) -> list[str]:
    if _is_name(text):
        return [text]
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
    return [word for piece in pieces for word in ([piece] if _is_name(piece) else piece.split())] or [text]


def _is_name(text: str) -> bool:
    return bool(code_of_name(text) or whole_of(text))


def _codes_of(word: str, available: list[str]) -> list[str]:
    code = word.upper()
    if code == "POP20":
        codes = [each for each in available if each in POP20]
    elif len(code) == 1 and code.isalpha():
        codes = [each for each in available if each.startswith(code)]
    else:
        meant = code if code in available else code_of_name(word) or code
        codes = [meant] if meant in available else []
    if not codes:
        raise ConfigurationError(f"{word!r} {_explain_unknown(word)}")
    return codes


def _explain_unknown(word: str) -> str:
    code = code_of_name(word) or word.upper()
    named = f"is {iso_country(code).name}" if code == word.upper() else f"is {code} ({iso_country(code).name})"
    if code in OUTSIDE_ISO:
        return f"{named}, which is not in ISO 3166-1; add it with FLAG_EXTRA_CODES={code}"
    if code in iso_codes():
        return f"{named}, which the source does not have"
    if whole := whole_of(word):
        return f"selects no country; it is a part of {whole} ({iso_country(whole).name})"
    near = nearest_code(word)
    hint = f"; did you mean {near}?" if near else "; use names, codes such as CN, CHN or 156, a letter, or POP20"
    return f"selects no country{hint}"
