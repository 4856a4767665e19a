"""The catalog's rows and files."""

import csv
import io
from dataclasses import replace

import pytest

from flag_pipeline.catalog.rows import CATALOG_SCHEMA, CatalogRow, catalog_rows
from flag_pipeline.catalog.tables import render_csv
from flag_pipeline.core.models import FlagRecord, LastFailure, RowStatus
from flag_pipeline.errors import ErrorKind
from flag_pipeline_tests.samples import record

NOT_FOUND = LastFailure(ErrorKind.NOT_FOUND, "the source has none")
TIMED_OUT = LastFailure(ErrorKind.TIMEOUT, "it timed out")


def row(record_: FlagRecord | None, code: str = "CN") -> CatalogRow:
    """The row of one country."""
    return catalog_rows([code], {code: record_} if record_ else {}, {})[0]


@pytest.mark.parametrize(
    ("stored", "status", "reason"),
    [
        (record(), RowStatus.OK, ""),
        (replace(record(), last_failure=TIMED_OUT), RowStatus.STALE, "timeout: it timed out"),
        (replace(record(), last_failure=NOT_FOUND), RowStatus.NOT_FOUND, "not_found: the source has none"),
        (FlagRecord("CN", last_failure=NOT_FOUND), RowStatus.NOT_FOUND, "not_found: the source has none"),
        (FlagRecord("CN", last_failure=TIMED_OUT), RowStatus.MISSING, "timeout: it timed out"),
        (FlagRecord("CN"), RowStatus.MISSING, ""),
        (None, RowStatus.MISSING, ""),
    ],
)
def test_status_says_how_a_country_stands(stored: FlagRecord | None, status: RowStatus, reason: str) -> None:
    """The status depends on the stored files and on how the latest attempt ended."""
    assert (row(stored).status, row(stored).reason) == (status, reason)


def test_country_that_was_never_fetched_has_its_name_from_the_standard() -> None:
    """The rest of its cells is empty."""
    never = row(None, "CI")

    assert (never.name, never.alpha_3, never.file, never.size_bytes, never.fetched_at) == (
        "Côte d'Ivoire",
        "CIV",
        "",
        None,
        None,
    )


@pytest.mark.parametrize(
    ("source_url", "licence", "named", "aspect_ratio"),
    [
        ("embedded:/cn/cn.gif", "CC BY-SA 4.0", "OpenMoji", ""),
        ("https://www.fluentpython.com/data/flags/cn/cn.gif", "public domain", "CIA World Factbook", "13:8"),
        ("https://flagcdn.com/w320/cn.png", "terms at https://flagpedia.net/download/api", "flagcdn", "13:8"),
        ("https://mirror.example/w320/cn.png", "", "", "13:8"),
        ("https://flags.example/cn.gif", "", "", "13:8"),
    ],
)
def test_licence_is_that_of_the_source(source_url: str, licence: str, named: str, aspect_ratio: str) -> None:
    """A preset has one and a server of the user none; a drawing in one ratio for all flags has no ratio of its flag."""
    stored = record()
    assert stored.image is not None
    cells = row(replace(stored, image=replace(stored.image, source_url=source_url)))

    assert (cells.licence, cells.aspect_ratio) == (licence, aspect_ratio)
    assert named in cells.attribution
    assert bool(cells.attribution) is bool(licence)
    assert (cells.aspect_decimal is None) is (aspect_ratio == "")


def test_rows_are_sorted_and_include_what_is_no_partition_any_more() -> None:
    """A stored country keeps its row when the partitions change."""
    rows = catalog_rows(["FR", "AD"], {"CN": record()}, {})

    assert [row.code for row in rows] == ["AD", "CN", "FR"]


def name_cell(name: str) -> str:
    """What the CSV file has for a country of that name."""
    country = record().country
    assert country is not None
    named = replace(record(), country=replace(country, name=name))
    [cells] = csv.DictReader(io.StringIO(render_csv(CATALOG_SCHEMA, [row(named)]).decode(), newline=""))
    return cells["name"]


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@SUM(A1)", '=cmd|" /C calc"!A0', "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20SUM(A1)"]
)
def test_spreadsheet_runs_no_formula(name: str) -> None:
    """Such a cell starts with an apostrophe."""
    assert name_cell(name) == f"'{name}"


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("x;=1+1", "x;'=1+1"),
        ("x; @A1;-1", "x;' @A1;'-1"),
        ("a;b-c", "a;b-c"),
        ('a;"=HYPERLINK(A1);', "a;'\"=HYPERLINK(A1);"),
        ('"=1+1"', '\'"=1+1"'),
        ('x, " =1', "x,' \" =1"),
        ("x\t=1", "x\t'=1"),
        ("x;\t=1", "x;'\t'=1"),
        ("x\n-1\r\n@A1", "x\n'-1\r\n'@A1"),
        ("\t=1", "'\t'=1"),
        ("\rx", "'\rx"),
        ("x;\uff1d1", "x;'\uff1d1"),
        ("\ufe661", "'\ufe661"),
        ("\ufeff=1", "'\ufeff=1"),
        ("Côte d'Ivoire, the", "Côte d'Ivoire, the"),
        ("Korea (Rep.); a-b", "Korea (Rep.); a-b"),
    ],
)
def test_formula_behind_a_separator_is_none_either(name: str, cell: str) -> None:
    """A program that takes another character for the separator, or ignores quotes, sees several cells in a name."""
    assert name_cell(name) == cell
