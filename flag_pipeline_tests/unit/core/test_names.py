"""The names by which a country is found, and its name in other languages."""

import sys

import pytest

from flag_pipeline.core.countries import iso_codes, iso_country
from flag_pipeline.core.names import code_of_name, names_in, nearest_code, other_names, whole_of
from flag_pipeline.errors import ConfigurationError


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("Turkey", "TR"),
        ("Türkiye", "TR"),
        ("turkiye", "TR"),
        ("Ivory Coast", "CI"),
        ("cote d\u2019ivoire", "CI"),
        ("HOLLAND", "NL"),
        ("the Netherlands", "NL"),
        ("Swaziland", "SZ"),
        ("Burma", "MM"),
        ("Cape Verde", "CV"),
        ("St. Kitts & Nevis", "KN"),
        ("U.S.A.", "US"),
        ("UK", "GB"),
        ("FRA", "FR"),
        ("250", "FR"),
        ("4", "AF"),
        (".fr", "FR"),
        (".uk", "GB"),
        ("Kosovo", "XK"),
        ("European Union", "EU"),
        ("United Nations", "UN"),
        ("England", None),
        ("Korea", None),
        ("FR", None),
        ("", None),
        ("'", None),
        ("999", None),
    ],
)
def test_country_is_found_by_any_of_its_names(name: str, code: str | None) -> None:
    """Case, accents, apostrophes and dots do not matter; a name of no country or of two finds none."""
    assert code_of_name(name) == code


@pytest.mark.parametrize("code", [*iso_codes(), "XK", "EU", "UN"])
def test_every_name_finds_its_own_country(code: str) -> None:
    """No alias is the name of another country."""
    country = iso_country(code)
    names = {country.name, country.official_name, country.alpha_3, country.numeric, country.tld, *other_names(code)}

    assert {code_of_name(name) for name in names - {""}} == {code}


def test_part_of_a_country_is_told_from_it() -> None:
    """England has its own flag, so it must not be fetched as the United Kingdom."""
    assert (whole_of("england"), whole_of("Wales"), whole_of("France")) == ("GB", "GB", None)


def test_misspelled_name_has_a_nearest_one() -> None:
    """If it is near enough."""
    assert [nearest_code(text) for text in ("Phillipines", "Atlantis", "XX", "FRB")] == ["PH", None, None, None]


def test_other_names_are_those_that_the_catalog_does_not_show() -> None:
    """Those of the standard and the aliases, each once."""
    assert other_names("TR") == ("Republic of Türkiye", "Turkey")
    assert other_names("ZZ") == ()


@pytest.mark.parametrize(
    ("language", "name"), [("fr", "Allemagne"), ("pt-BR", "Alemanha"), ("zh_Hant", "德國"), ("en", "Germany")]
)
def test_names_in_other_languages(language: str, name: str) -> None:
    """Unicode has them, for codes outside of ISO 3166-1 too."""
    names = names_in(language)

    assert names["DE"] == name
    assert {*iso_codes(), "XK", "EU", "UN"} <= names.keys()


@pytest.mark.parametrize("language", ["", "xx", "../fr", "english", "fr-fr-fr-fr-fr", "\0"])
def test_unknown_language_is_a_mistake(language: str) -> None:
    """The error shows one that works."""
    with pytest.raises(ConfigurationError, match="use a language such as fr"):
        names_in(language)


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Babel is 30 MB that few need."""
    monkeypatch.setitem(sys.modules, "babel", None)

    with pytest.raises(ConfigurationError, match=r"install flag-pipeline\[languages\]"):
        names_in("fr")
