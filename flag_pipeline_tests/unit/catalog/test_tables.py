"""The catalog's files: the same rows in each, typed, documented, and the same bytes for the same records."""

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flag_pipeline.catalog.history import CHANGES_SCHEMA
from flag_pipeline.catalog.renditions import RENDITIONS_SCHEMA, RenditionRow
from flag_pipeline.catalog.rows import CATALOG_SCHEMA, CatalogRow, catalog_rows, features_of, load_rows
from flag_pipeline.catalog.tables import VERSION_KEY, TableSchema, render_dictionary, render_parquet, render_table
from flag_pipeline.core.layout import CATALOG
from flag_pipeline.core.models import FlagChange, FlagRecord, LastFailure, RowStatus
from flag_pipeline.core.records import dump_record, load_record
from flag_pipeline.errors import ErrorKind
from flag_pipeline_tests.records import change_of, features_by_sha256, record_of, striped

CHINA, FRANCE = striped("#de2910", "#ffde00"), striped("blue", "white", "red")
FEATURES = features_by_sha256(CHINA, FRANCE)
DICTIONARY = Path(__file__).parents[3] / "docs" / "data_dictionary.md"


@pytest.fixture
def records() -> dict[str, FlagRecord]:
    """A good flag, a stale one, one that failed at once, one that the source lacks, and a name that is a formula."""
    failed = LastFailure(ErrorKind.TIMEOUT, "https://flags.example/fr.png timed out")
    return {
        "CN": record_of("CN", CHINA),
        "FR": record_of("FR", FRANCE, last_failure=failed),
        "DE": record_of("DE", last_failure=failed),
        "AQ": record_of("AQ", last_failure=LastFailure(ErrorKind.NOT_FOUND, "404")),
        "XK": record_of("XK", striped("blue"), name='=HYPERLINK("x"), "quoted"\u2028中'),
    }


@pytest.fixture
def files(records: dict[str, FlagRecord]) -> dict[str, bytes]:
    """The catalog's files by path."""
    return dict(render_table(CATALOG_SCHEMA, CATALOG, catalog_rows(["CN", "FR", "ZW"], records, FEATURES)))


def read_with_duckdb(path: Path, reader: str) -> list[dict[str, Any]]:
    """Read a file with a library that has not written it."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        result = connection.execute(f"SELECT * FROM {reader}", [str(path)])  # noqa: S608 - the tests' own words
        names = [column[0] for column in result.description or []]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def test_parquet_csv_and_json_agree_row_for_row(files: dict[str, bytes], tmp_path: Path) -> None:
    """Read by DuckDB, which wrote none of them, the three have the same rows, columns and values."""
    for path, content in files.items():
        (tmp_path / Path(path).name).write_bytes(content)

    parquet = read_with_duckdb(tmp_path / "catalog.parquet", "read_parquet(?)")
    table = read_with_duckdb(tmp_path / "catalog.csv", "read_csv(?, all_varchar = true, header = true)")
    objects = read_with_duckdb(tmp_path / "catalog.json", "read_json(?, auto_detect = true)")

    assert [row["code"] for row in parquet] == ["AQ", "CN", "DE", "FR", "XK", "ZW"]
    assert [in_words(row) for row in parquet] == [in_words(row) for row in objects] == [in_words(row) for row in table]


def in_words(row: dict[str, Any]) -> dict[str, str]:
    """A row with every cell as the CSV file would have it, its apostrophe against formulas taken away."""
    return {name: cell_in_words(name, cell) for name, cell in row.items()}


def cell_in_words(name: str, cell: Any) -> str:
    """One cell in the words of the CSV file."""
    if isinstance(cell, list):
        return " ".join(f"{colour['hex']}:{colour['share']}" for colour in cell)
    if name.endswith("_at") and cell:
        return datetime.fromisoformat(str(cell)).replace(tzinfo=UTC).isoformat()
    return "" if cell is None else str(cell).removeprefix("'")


@pytest.mark.parametrize("n_rows", [0, 1_000, 2_500])
def test_parquet_has_every_row_once(n_rows: int, tmp_path: Path) -> None:
    """It is written in parts, whose rows are all there and in order."""
    rows = catalog_rows([f"X{number:04}" for number in range(n_rows)], {}, {})
    path = tmp_path / "catalog.parquet"
    path.write_bytes(render_parquet(CATALOG_SCHEMA, rows))

    assert [row["code"] for row in read_with_duckdb(path, "read_parquet(?)")] == [row.code for row in rows]


def test_parquet_is_typed_and_has_the_schema_version(files: dict[str, bytes], tmp_path: Path) -> None:
    """Numbers are numbers, moments know their zone, and the file says which schema it follows."""
    path = tmp_path / "catalog.parquet"
    path.write_bytes(files["catalog/catalog.parquet"])

    with duckdb.connect() as connection:
        types = dict(
            connection.execute(
                "SELECT column_name, column_type FROM (DESCRIBE FROM read_parquet(?))", [str(path)]
            ).fetchall()
        )
        metadata = dict(connection.execute("SELECT key, value FROM parquet_kv_metadata(?)", [str(path)]).fetchall())

    assert types["width_px"] == "BIGINT"
    assert types["aspect_decimal"] == "DOUBLE"
    assert types["changed_at"] == "TIMESTAMP WITH TIME ZONE"
    assert types["colours"] == """STRUCT(hex VARCHAR, "share" DOUBLE)[]"""
    assert metadata[VERSION_KEY.encode()] == str(CATALOG_SCHEMA.version).encode()


def test_rows_say_how_each_country_stands(records: dict[str, FlagRecord]) -> None:
    """Status, aspect ratio and what has failed are told apart."""
    rows = {row.code: row for row in catalog_rows(["ZW"], records, {})}

    assert {code: row.status for code, row in rows.items()} == {
        "AQ": RowStatus.NOT_FOUND,
        "CN": RowStatus.OK,
        "DE": RowStatus.MISSING,
        "FR": RowStatus.STALE,
        "XK": RowStatus.OK,
        "ZW": RowStatus.MISSING,
    }
    assert [code for code, row in rows.items() if row.has_failed] == ["DE", "FR"]
    assert (rows["CN"].aspect_ratio, rows["CN"].aspect_decimal) == ("3:2", 1.5)
    assert rows["FR"].reason.startswith("timeout: ")


def test_the_same_records_give_the_same_bytes_in_any_order(records: dict[str, FlagRecord]) -> None:
    """Nothing but the records decides what the files are."""
    one = render_table(CATALOG_SCHEMA, CATALOG, catalog_rows(["FR", "CN"], records, {}))
    other = render_table(CATALOG_SCHEMA, CATALOG, catalog_rows(["CN", "FR"], dict(reversed(list(records.items()))), {}))

    assert list(one) == list(other)


def test_rows_come_back_from_json(files: dict[str, bytes], records: dict[str, FlagRecord]) -> None:
    """What builds on the catalog reads back just the rows that were written."""
    assert load_rows(files["catalog/catalog.json"]) == catalog_rows(["CN", "FR", "ZW"], records, FEATURES)


@pytest.mark.parametrize(
    "content",
    [
        *[b"not json", b'[{"code": "CN"}]', b"[1]", b"{}", b"null", b"\xff", b"1" * 5000],
        *[b"[" * 100_000, b'{"a":' * 100_000, b'[{"hex": 5}]', b'[{"hex": "#ffffff", "share": NaN}]'],
        b'[{"hex": "#ffffff", "share": 0.5}]',
    ],
)
def test_what_is_no_catalog_is_refused(content: bytes) -> None:
    """Files of another schema, and files that are nested too deeply, are a ValueError, not empty rows."""
    with pytest.raises(ValueError, match=r"."):
        load_rows(content)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("code", "../x"),
        ("name", "a\x1b[2J"),
        ("file", "../../etc/passwd"),
        ("file", "flags/CN-x.exe"),
        ("width_px", 0),
        ("width_px", 2**70),
        ("height_px", "1"),
        ("n_frames", True),
        ("size_bytes", -1),
        ("aspect_decimal", float("nan")),
        ("colours", None),
        ("colours", [{"hex": "red", "share": 0.1}]),
        ("colours", [[]]),
        ("phash", "x"),
        ("sha256", ["a"]),
        ("status", "fine"),
        ("changed_at", "2026-01-01T00:00:00"),
        ("changed_at", []),
        ("reason", {}),
    ],
)
def test_cell_out_of_bounds_is_refused(files: dict[str, bytes], column: str, value: object) -> None:
    """A catalog with a cell that this program cannot have written is a ValueError, whatever the cell's type."""
    rows = json.loads(files["catalog/catalog.json"])
    rows[1][column] = value

    with pytest.raises(ValueError, match=r"."):
        load_rows(json.dumps(rows).encode())


@pytest.mark.parametrize(
    ("schema", "row_type"),
    [(CATALOG_SCHEMA, CatalogRow), (CHANGES_SCHEMA, FlagChange), (RENDITIONS_SCHEMA, RenditionRow)],
)
def test_data_dictionary_has_every_column(schema: TableSchema, row_type: type) -> None:
    """The documentation, the schema and the rows name the same columns; names are unique."""
    names = [column.name for column in schema.columns]

    assert set(names) == {field.name for field in dataclasses.fields(row_type)}
    assert len(set(names)) == len(names)
    assert render_dictionary(schema) in DICTIONARY.read_text()
    assert f"schema version {schema.version}" in DICTIONARY.read_text()


def test_schema_file_describes_the_table(files: dict[str, bytes]) -> None:
    """The schema beside the table describes its columns."""
    document = json.loads(files["catalog/schema.json"])

    assert document["schema_version"] == CATALOG_SCHEMA.version
    assert [column["name"] for column in document["columns"]] == [column.name for column in CATALOG_SCHEMA.columns]


def test_features_are_taken_from_the_catalog_before(files: dict[str, bytes]) -> None:
    """The features of equal bytes are taken over, and other bytes have none yet."""
    assert features_of(load_rows(files["catalog/catalog.json"])) == FEATURES


def test_records_with_a_history_come_back(records: dict[str, FlagRecord]) -> None:
    """A record is read back equal, or a refresh would rewrite it every time."""
    record = dataclasses.replace(records["CN"], changes=(change_of("CN", 1), change_of("CN", 2)))

    assert load_record(dump_record(record)) == record


def test_records_of_earlier_versions_are_still_read(records: dict[str, FlagRecord]) -> None:
    """A record without the newer fields, and with two that are no longer kept, loads."""
    document = json.loads(dump_record(records["CN"]))
    del document["changes"]
    for name in ("first_seen_at", "n_changes", "derived"):
        del document["image"][name]
    document["image"]["look"] = {"mode": "RGB", "n_frames": 1, "colours": [], "phash": "0" * 16}

    document["image"]["thumbnail"] = "data:image/png;base64,AAAA"

    record = load_record(json.dumps(document).encode())

    assert record.image is not None
    row = catalog_rows([], {"CN": record}, {})[0]
    assert (row.phash, row.colours, row.n_changes, row.first_seen_at) == ("", (), 0, record.image.changed_at)
