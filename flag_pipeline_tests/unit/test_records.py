"""Records: written down and read back the same, and damage seen."""

import json
from dataclasses import replace

import pytest

from flag_pipeline.core.records import country_sha256, dump_country, dump_json, dump_record, load_record
from flag_pipeline.errors import ErrorKind
from flag_pipeline.models import FlagRecord, Miss
from flag_pipeline_tests.samples import record


@pytest.mark.parametrize(
    "before",
    [
        FlagRecord("CN"),
        record(),
        replace(record("CI"), miss=Miss(ErrorKind.TIMEOUT, "it timed out")),
        FlagRecord("QQ", miss=Miss(ErrorKind.NOT_FOUND, "404")),
    ],
)
def test_record_is_read_back_as_it_was(before: FlagRecord) -> None:
    """Whatever parts it has."""
    assert load_record(dump_record(before)) == before


def test_same_content_gives_the_same_bytes() -> None:
    """Keys are sorted, text is UTF-8, and the last line ends."""
    assert dump_json({"b": 1, "a": "é"}) == '{\n  "a": "é",\n  "b": 1\n}\n'.encode()
    country = record().country
    assert country is not None
    assert country_sha256(country) == country_sha256(replace(country))
    assert dump_country(country).startswith(b'{\n  "alpha_3": "CHN"')


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b"null", b"{}", b'{"schema": 2, "code": "CN"}', b'{"schema": 1}', b"[" * 99_999],
)
def test_what_is_no_record_is_refused(content: bytes) -> None:
    """Each is a ValueError, never something half read."""
    with pytest.raises(ValueError):  # noqa: PT011 - several parsers, several messages
        load_record(content)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("code",), 5),
        (("image", "width_px"), "wide"),
        (("image", "fetched_at"), "yesterday"),
        (("image", "validators"), None),
        (("country", "name"), ["China"]),
        (("miss",), {"kind": "boredom", "reason": ""}),
    ],
)
def test_damaged_field_is_refused(path: tuple[str, ...], value: object) -> None:
    """A record with one wrong value in it is no record."""
    document = json.loads(dump_record(record()))
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value

    with pytest.raises(ValueError, match=path[-1]):
        load_record(dump_json(document))
