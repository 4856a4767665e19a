"""What is kept of replaced flags."""

import pytest

from flag_pipeline.catalog.history import CHANGES_SCHEMA, change_rows, changes_since, load_changes, picture_paths
from flag_pipeline.catalog.tables import render_json
from flag_pipeline.core.changes import describe_change, latest_changes
from flag_pipeline.core.models import FlagRecord
from flag_pipeline_tests.records import change_of, record_of, stored, striped

OLD, NEW = striped("red", "white"), striped("red", "gold", "red")


def test_a_change_says_what_was_and_what_is() -> None:
    """Hashes, sizes, distance and where the old flag is kept, named by its content."""
    before, after = stored("CN", OLD), stored("CN", NEW)

    change = describe_change("CN", before, after, distance_bits=7)

    assert (change.old_sha256, change.new_sha256) == (before.sha256, after.sha256)
    assert change.old_file == f"history/CN/{before.sha256}.png"
    assert change.distance_bits == 7


def test_a_lost_flag_has_no_file_and_no_distance() -> None:
    """The change is listed although another program has overwritten the old file."""
    change = describe_change("CN", stored("CN", OLD), stored("CN", NEW), distance_bits=None)

    assert (change.old_file, change.distance_bits) == ("", None)


@pytest.mark.parametrize(("keep", "minutes"), [(0, []), (1, [3]), (2, [2, 3]), (9, [1, 2, 3])])
def test_retention_keeps_the_newest(keep: int, minutes: list[int]) -> None:
    """So many changes are kept as the setting says."""
    changes = tuple(change_of("CN", minute) for minute in (1, 2, 3))

    assert [change.changed_at.minute for change in latest_changes(changes, keep=keep)] == minutes


def test_rows_are_newest_first() -> None:
    """Rows of all countries are sorted together, and those of one moment by code."""
    records = {
        "CN": FlagRecord("CN", changes=(change_of("CN", 1), change_of("CN", 3))),
        "BR": FlagRecord("BR", changes=(change_of("BR", 3),)),
    }

    assert [(row.code, row.changed_at.minute) for row in change_rows(records)] == [("BR", 3), ("CN", 3), ("CN", 1)]


def test_fresh_changes_are_those_that_the_table_lacks() -> None:
    """Against the table before, against none, and against one that cannot be read."""
    changes = [change_of("CN", 2), change_of("CN", 1)]
    table = render_json(CHANGES_SCHEMA, changes[1:])

    assert load_changes(table) == changes[1:]
    assert changes_since(changes, table) == changes[:1]
    assert changes_since(changes, None) == changes
    assert changes_since(changes, b'[{"old": "schema"}]') == changes
    assert changes_since(changes, b"[" * 100_000) == changes
    assert changes_since(changes, table.replace(b'"code": "CN"', b'"code": ["CN"]')) == changes
    assert changes_since(changes, table.replace(b'"old_file": "', b'"old_file": "/etc/')) == changes
    assert changes_since(changes, render_json(CHANGES_SCHEMA, changes)) == []


def test_pictures_are_found_by_country_and_content() -> None:
    """The flag that is shown now, and the kept ones."""
    record = record_of("CN", NEW)
    assert record.image is not None
    change = change_of("CN", 1)
    records = {"CN": FlagRecord("CN", image=record.image, changes=(change,)), "DE": FlagRecord("DE")}

    assert picture_paths(records) == {
        ("CN", change.old_sha256): change.old_file,
        ("CN", record.image.sha256): record.image.file,
    }
