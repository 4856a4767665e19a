"""Codes, names, and raw metadata documents."""

import json

import pytest

from flag_pipeline.core.countries import MAX_NAME_CHARS, POP20, iso_codes, iso_country, iso_names, parse_country
from flag_pipeline.core.models import Country
from flag_pipeline.errors import SourceContractError

URL = "http://x/cn/metadata.json"


def parse(document: object, code: str = "CN") -> Country:
    """Parse *document*, bytes as they are and anything else as JSON."""
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return parse_country(content, code=code, url=URL)


def named(name: object) -> dict[str, object]:
    """A document for China with another name."""
    return {"country": name, "iso_cc": "CN", "tld_cc": ".cn"}


def test_there_are_249_codes_and_20_populous_ones() -> None:
    """ISO 3166-1 assigns 249, sorted here, and POP20 is among them."""
    assert len(iso_codes()) == 249
    assert list(iso_codes()) == sorted(iso_codes())
    assert len(set(POP20) & set(iso_codes())) == 20


@pytest.mark.parametrize(
    ("code", "name", "tld"),
    [
        ("BO", "Bolivia", ".bo"),
        ("GB", "United Kingdom", ".uk"),
        ("CI", "Côte d'Ivoire", ".ci"),
        ("XK", "Kosovo", ".xk"),
        ("ZZ", "ZZ", ".zz"),
    ],
)
def test_standard_gives_the_common_name_and_the_domain(code: str, name: str, tld: str) -> None:
    """The common name where there is one; a code outside the standard is its own name."""
    country = iso_country(code)

    assert (country.name, country.tld) == (name, tld)


def test_standard_gives_other_names_too() -> None:
    """The name, the common and the official one, of the codes that it has."""
    assert iso_names("BO") == ("Bolivia, Plurinational State of", "Bolivia", "Plurinational State of Bolivia")
    assert iso_names("XK") == ()


def test_document_is_completed_from_the_standard() -> None:
    """Name and domain come from the source, the rest from ISO 3166-1; other keys do not matter."""
    country = parse(b'{"country": "China", "iso_cc": "cn", "tld_cc": ".zhongguo", "gdp": 1e999}')

    assert country == Country("CN", "China", "People's Republic of China", "CHN", "156", ".zhongguo")


@pytest.mark.parametrize("tld", [None, 7, "", "cn", ".CN", ".c n", ".." * 10])
def test_strange_domain_is_replaced_by_the_usual_one(tld: object) -> None:
    """A domain that is none costs nothing but itself."""
    assert parse({"country": "China", "iso_cc": "CN", "tld_cc": tld}).tld == ".cn"


@pytest.mark.parametrize(
    "name",
    [
        "Côte d'Ivoire",
        "中国",
        "مصر",
        "ישראל",
        "भारत",
        "می‌شود",  # a zero-width non-joiner, which Persian needs
        "Ελλάδα 🏛",
        "A" * MAX_NAME_CHARS,
    ],
)
def test_names_of_any_script_are_accepted(name: str) -> None:
    """A name in any script is kept unchanged."""
    assert parse(named(name)).name == name


def test_spaces_and_composition_are_normalised() -> None:
    """Runs of spaces become one, letters and their accents one character."""
    assert parse(named(" Co\u0302te \u00a0 d'Ivoire ")).name == "Côte d'Ivoire"


@pytest.mark.parametrize(
    ("name", "normalised"),
    [
        ("China\n", "China"),
        ("\tChina\r\n", "China"),
        ("Bosnia\r\n and\tHerzegovina", "Bosnia and Herzegovina"),
        ("\ufeffChina", "China"),
        ("\ufeff \ufeffChina\u3000", "China"),
        ("Chi\u200bna\u2060", "China"),  # zero-width space, word joiner
        ("Chi\u00adna", "China"),  # soft hyphen
        ("Chi\u200cna\u200d", "China"),  # joiners where no script needs them
        ("م\u200c", "م"),
        ("e\u200d\u0301", "é"),
        ("A\u030a\u200cم", "Åم"),
        ("\u202eanihC\u202c", "anihC"),  # right-to-left override
        ("\u2066China\u2069", "China"),  # isolate
        ("Chi\u2028na\x85", "Chi na"),
        ("China\U000e0041", "China"),  # a tag
        ("Myanmar/Burma", "Myanmar/Burma"),
        ("Myanmar / Burma/", "Myanmar / Burma/"),
        ("A" * MAX_NAME_CHARS + "\u200b \n", "A" * MAX_NAME_CHARS),
    ],
)
def test_name_is_normalised_before_it_is_judged(name: str, normalised: str) -> None:
    """White space and format characters that an editor or a web page left in a name do not cost the flag."""
    assert parse(named(name)).name == normalised
    assert parse(named(normalised)).name == normalised


def test_code_in_the_document_is_normalised_too() -> None:
    """A line feed behind the code is no other country's code."""
    assert parse({"country": "China", "iso_cc": "\ufeffcn\r\n"}).code == "CN"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "has no letter"),
        (" \u3000 ", "has no letter"),
        ("...", "has no letter"),
        ("A" * (MAX_NAME_CHARS + 1), "is longer than 100 characters"),
        ("../../x", "has a path separator"),
        ("a/../b", "has a path separator"),
        ("./a", "has a path separator"),
        ("a/\u200b..", "has a path separator"),
        ("a\\b", "has a path separator"),
        ("a\x1cb", "has control or invisible characters"),
        ("a\x7fb", "has control or invisible characters"),
        ("a\u0378b", "has control or invisible characters"),  # not assigned
        ("\ufeff\u200b\u202e", "has no letter"),
        ("a\x00b", "has control or invisible characters"),
        ("a\x1b[31mb", "has control or invisible characters"),
        ("a\ud800b", "has control or invisible characters"),  # half of a character
        ("a\ue000b", "has control or invisible characters"),  # private use
    ],
)
def test_harmful_names_are_refused(name: str, problem: str) -> None:
    """The reason says what is wrong, and quotes the name in ASCII."""
    with pytest.raises(SourceContractError, match=problem) as caught:
        parse(named(name))

    assert str(caught.value).isascii()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "metadata is not JSON"),
        (b"<html>hello</html>", "metadata is not JSON"),
        (b"\xff\xfe{}", "metadata is not JSON"),
        (b'{"country": NaN}', "NaN is not JSON"),
        (b'{"country": -Infinity}', "-Infinity is not JSON"),
        (b'{"country": "a", "country": "b"}', "same key twice"),
        (b'{"a": {"b": 1, "b": 2}}', "same key twice"),
        (b"[" * 200_000, "metadata is not JSON"),
        (b'{"a":' * 200_000, "metadata is not JSON"),
        (b"1" * 5000, "metadata is not JSON"),
        (b"[]", "metadata is not a JSON object"),
        (b'"CN"', "metadata is not a JSON object"),
        (b"null", "metadata is not a JSON object"),
        (b"{}", "metadata is for iso_cc None"),
        (b'{"iso_cc": 5}', "metadata is for iso_cc 5"),
        (b'{"iso_cc": "FR", "country": "France"}', "metadata is for iso_cc 'FR'"),
        (b'{"iso_cc": "CN"}', "metadata has no country name"),
        (b'{"iso_cc": "CN", "country": ["China"]}', "metadata has no country name"),
    ],
)
def test_what_is_no_metadata_is_refused(content: bytes, reason: str) -> None:
    """Every kind of wrong document is a broken contract with a reason."""
    with pytest.raises(SourceContractError) as caught:
        parse(content)

    assert reason in str(caught.value)


def test_byte_order_mark_is_no_mistake() -> None:
    """Some editors write one."""
    assert parse(b"\xef\xbb\xbf" + json.dumps(named("China")).encode()).name == "China"
