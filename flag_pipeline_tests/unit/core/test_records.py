"""Records: written down and read back the same, and damage seen."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from flag_pipeline.core.countries import iso_codes
from flag_pipeline.core.models import FlagRecord, LastFailure
from flag_pipeline.core.records import country_sha256, dump_country, dump_json, dump_record, load_record
from flag_pipeline.errors import ErrorKind
from flag_pipeline_tests.records import change_of
from flag_pipeline_tests.samples import record


@pytest.mark.parametrize(
    "before",
    [
        FlagRecord("CN"),
        record(),
        replace(record("CI"), last_failure=LastFailure(ErrorKind.TIMEOUT, "it timed out")),
        FlagRecord("QQ", last_failure=LastFailure(ErrorKind.NOT_FOUND, "404")),
    ],
)
def test_record_is_read_back_as_it_was(before: FlagRecord) -> None:
    """Each part of a record may be missing."""
    assert load_record(dump_record(before)) == before


def test_last_failure_keeps_its_name_on_disk() -> None:
    """Earlier versions wrote the field as `miss`, so a record that they wrote is read, and they can read ours."""
    failed = FlagRecord("CN", last_failure=LastFailure(ErrorKind.TIMEOUT, "slow"))
    document = json.loads(dump_record(failed))

    assert document["miss"] == {"kind": "timeout", "reason": "slow"}
    assert "last_failure" not in document


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
    with pytest.raises(ValueError, match=path[-1]):
        load_record(dump_json(changed(record(), path, value)))


def changed(known: FlagRecord, path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """The stored form of *known* with another value at *path*."""
    document: dict[str, Any] = json.loads(dump_record(known))
    place: Any = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return document


NOT_AN_INTEGER = ["1", 1.0, True, None, [1], 2**63, -(2**64), int("9" * 4000)]
NOT_A_MOMENT = [
    "2026-01-02T03:04:05",
    "2026-01-02T03:04:05+02:00",
    "1999-12-31T23:59:59Z",
    "9999-01-01T00:00:00Z",
    5,
    {},
]
NOT_A_HASH = ["", "A" * 64, "0" * 63, "0" * 65, "g" * 64, "0" * 64 + "\n"]
NOT_A_LINE = ["a\nb", "a\x1b[31mb", "\x00", 5]
NOT_A_FILE = [
    "",
    "/etc/passwd",
    "../x.gif",
    "flags/../../CN-x.gif",
    "flags/CN-x/y.gif",
    "flags/CN-\0.gif",
    "flags/CN-x.exe",
]
DAMAGE: list[tuple[tuple[str | int, ...], list[Any]]] = [
    (("code",), ["", "c", "cn", "C/N", "..", "TOOLONGER", "CN\n"]),
    (("image", "file"), [*NOT_A_FILE, "flags/FR-France.gif", "flags/CN-China.png", "flags/CN-" + "x" * 300 + ".gif"]),
    (("image", "format"), ["bmp", "GIF", "png", "", None]),
    (("image", "width_px"), [0, -1, *NOT_AN_INTEGER]),
    (("image", "height_px"), [0, -1, *NOT_AN_INTEGER]),
    (("image", "size_bytes"), [-1, 2**40 + 1, *NOT_AN_INTEGER]),
    (("image", "n_changes"), [-1, *NOT_AN_INTEGER]),
    (("image", "sha256"), NOT_A_HASH),
    (("image", "source_url"), NOT_A_LINE),
    (("image", "fetched_at"), NOT_A_MOMENT),
    (("image", "changed_at"), NOT_A_MOMENT),
    (("image", "first_seen_at"), NOT_A_MOMENT),
    (("image", "validators", "etag"), ['"a"\r\nX-Other: b', "é", "a" * 2000]),
    (("image", "validators", "last_modified"), ["yesterday\n", "\x7f"]),
    (("image", "derived"), [{}, "x", 1]),
    (("image", "derived", "version"), ["", "x", 1, "1", "1.1\n"]),
    (("image", "derived", "thumbnail"), ["x", "javascript:x()", 'data:image/png;base64,"><script>']),
    (("image", "derived", "thumbnail"), ["data:text/html;base64,A", "data:image/webp;base64," + "A" * 10_000]),
    (("image", "derived", "features", "mode"), ["P\n", "x" * 17, None]),
    (("image", "derived", "features", "n_frames"), [-1, *NOT_AN_INTEGER]),
    (("image", "derived", "features", "colours"), ["x", [{"hex": "red", "share": 1.0}]]),
    (("image", "derived", "features", "colours"), [[{"hex": "#ff0000", "share": 2}], [1]]),
    (("image", "derived", "features", "phash"), ["x", "A" * 16, 1, None]),
    (("metadata", "sha256"), NOT_A_HASH),
    (("metadata", "source_url"), NOT_A_LINE),
    (("metadata", "validators", "etag"), ["a\r\nb"]),
    (("country", "code"), ["FR", "", "cn"]),
    (("country", "name"), ["", "a\nb", "a\u202eb", "a\u2028b", "\ue000", "x" * 101]),
    (("country", "official_name"), NOT_A_LINE),
    (("country", "alpha_3"), ["CH", "chn", "CHN\n"]),
    (("country", "numeric"), ["15", "1560", 156]),
    (("country", "tld"), ["cn", ".", ".c/n"]),
    (("miss",), [{"kind": "timeout", "reason": "a\nb"}, {"kind": "timeout"}, "timeout"]),
    (("changes",), [{}, "x", [{}], [None]]),
    (("changes", 0, "code"), ["FR", "", "../x"]),
    (("changes", 0, "old_file"), ["/etc/passwd", "../x.png", "history/CN"]),
    (("changes", 0, "old_file"), [f"history/FR/{0:064x}.png", f"history/CN/{9:064x}.png"]),
    (("changes", 0, "changed_at"), NOT_A_MOMENT),
    (("changes", 0, "old_sha256"), NOT_A_HASH),
    (("changes", 0, "old_size_bytes"), [-1, *NOT_AN_INTEGER]),
    (("changes", 0, "distance_bits"), [-1, 65, 1.5, True]),
    (("changes", 0, "source_url"), NOT_A_LINE),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, values in DAMAGE for value in values])
def test_value_out_of_bounds_is_refused(path: tuple[str | int, ...], value: object) -> None:
    """A record with a value that this program cannot have written is no record, and nothing else is raised."""
    known = replace(record(), changes=(change_of("CN"),))

    with pytest.raises(ValueError):  # noqa: PT011 - several parsers, several messages
        load_record(json.dumps(changed(known, path, value)).encode())


@pytest.mark.parametrize("token", [b"NaN", b"Infinity", b"1e999", b"1" + b"0" * 5000, b'"\\ud800"', b"[" * 5000])
def test_token_that_is_no_value_is_refused(token: bytes) -> None:
    """Whatever stands for the width in the file, a record is refused with a ValueError."""
    content = dump_record(record())
    before = re.search(rb'"width_px": \d+', content)
    assert before is not None

    with pytest.raises(ValueError):  # noqa: PT011 - several parsers, several messages
        load_record(content.replace(before[0], b'"width_px": ' + token))


def test_the_last_of_two_values_is_the_one_that_is_checked() -> None:
    """A key that stands twice in an object gives the value that is used, and that value is within the bounds."""
    content = dump_record(record())

    assert load_record(content.replace(b'"width_px":', b'"width_px": 0, "width_px":')) == record()
    with pytest.raises(ValueError, match="width_px"):
        load_record(content.replace(b'"height_px":', b'"width_px": 0, "height_px":'))


@pytest.mark.parametrize("code", [*iso_codes(), "XK", "EU", "ABCD1234"])
def test_every_country_of_the_standard_is_within_the_bounds(code: str) -> None:
    """What the pipeline itself knows of a country can be read back from its record."""
    assert load_record(dump_record(record(code))) == record(code)
