"""Words that select countries: codes, names, letters and groups."""

import pytest

from flag_pipeline.core.countries import iso_codes
from flag_pipeline.core.selection import select_codes
from flag_pipeline.errors import ConfigurationError


def test_words_choose_codes_in_the_order_of_the_partitions() -> None:
    """Codes in any case, letters, the group; nothing means everything."""
    among = ["AD", "AE", "BR", "CN", "FR"]

    assert select_codes([], among) == among
    assert select_codes(["fr", "A", "ad"], among) == ["AD", "AE", "FR"]
    assert select_codes(["pop20"], among) == ["BR", "CN", "FR"]


def test_codes_have_three_forms_and_commas_between_them() -> None:
    """Alpha-3 and numeric codes mean their alpha-2 codes, with or without leading zeros."""
    among = ["AF", "CN", "FR", "X0001"]

    assert select_codes(["fra,CHN", "4", "004", "x0001"], among) == among
    assert select_codes(["156, 250,"], among) == ["CN", "FR"]


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("FRA", "'FRA' is FR (France), which the source does not have"),
        ("250", "'250' is FR (France), which the source does not have"),
        ("FR", "'FR' is France, which the source does not have"),
        ("uk", "'uk' is GB (United Kingdom), which the source does not have"),
        ("germany", "'germany' is DE (Germany), which the source does not have"),
        ("Germny", "'Germny' selects no country; did you mean DE?"),
        ("Kosovo", "'Kosovo' is XK (Kosovo), which is not in ISO 3166-1; add it with FLAG_EXTRA_CODES=XK"),
        ("EU", "'EU' is European Union, which is not in ISO 3166-1; add it with FLAG_EXTRA_CODES=EU"),
        ("England", "'England' selects no country; it is a part of GB (United Kingdom)"),
        ("Northern Ireland", "'Northern Ireland' selects no country; it is a part of GB (United Kingdom)"),
        ("XY", "'XY' selects no country; use names, codes such as CN, CHN or 156, a letter, or POP20"),
    ],
)
def test_wrong_code_is_answered_with_what_was_meant(word: str, hint: str) -> None:
    """The error names the country that the word is, or is close to."""
    with pytest.raises(ConfigurationError) as caught:
        select_codes([word], ["AD", "CN"])

    assert str(caught.value) == hint


@pytest.mark.parametrize("word", ["ZZ", "Q", "", "POP21", "../x"])
def test_word_that_names_nothing_is_a_mistake(word: str) -> None:
    """The error quotes it."""
    with pytest.raises(ConfigurationError, match="selects no country"):
        select_codes([word], ["AD", "CN"])


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("Turkey", ["TR"]),
        ("ivory coast", ["CI"]),
        ("Ivory Coast, Holland", ["CI", "NL"]),
        ("Swaziland Burma", ["MM", "SZ"]),
        ("Cape Verde,fr", ["CV", "FR"]),
        ("Korea, Republic of", ["KR"]),
        ("CN US", ["CN", "US"]),
        (".fr .uk", ["FR", "GB"]),
        ("Kosovo", ["XK"]),
    ],
)
def test_names_and_domains_are_words_too(text: str, codes: list[str]) -> None:
    """A name of several words is one; a text without one is split at its commas, then at its spaces."""
    assert select_codes([text], [*iso_codes(), "XK"]) == codes


def test_code_of_the_user_wins_over_a_name() -> None:
    """A user who adds the code UK means it."""
    assert select_codes(["uk"], ["GB", "UK"]) == ["UK"]
