"""What can be wrong with a catalog as a whole."""

from datetime import UTC, datetime

from flag_pipeline.catalog.audit import changed_codes, unaccounted, unexpected_duplicates
from flag_pipeline.catalog.rows import CatalogRow, catalog_rows
from flag_pipeline.core.models import FlagRecord, LastFailure, StoredImage
from flag_pipeline.errors import ErrorKind
from flag_pipeline.fetching.models import Validators

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def rows(**hashes: str) -> list[CatalogRow]:
    """Catalog rows of countries with these flags."""
    return catalog_rows(hashes, {code: FlagRecord(code, image=image(sha256)) for code, sha256 in hashes.items()}, {})


def image(sha256: str, url: str = "https://flags.example/x") -> StoredImage:
    """A stored flag with that hash from that address."""
    return StoredImage("flags/x.gif", "gif", 16, 11, 350, sha256, url, NOW, NOW, Validators())


def test_countries_without_a_flag_are_named_unless_the_source_lacks_them() -> None:
    """FR was never fetched and the source lacks DE: only FR is unaccounted for."""
    records = {"DE": FlagRecord("DE", last_failure=LastFailure(ErrorKind.NOT_FOUND, "404"))}

    assert unaccounted(catalog_rows(["DE", "FR"], records, {}), ["DE", "FR"]) == ["FR"]


def test_known_shared_flags_are_no_duplicates() -> None:
    """Norway's flag flies over Bouvet Island; that Italy and Mexico have one image is worth a warning."""
    assert unexpected_duplicates(rows(NO="a", BV="a", IT="b", MX="b", FR="c")) == [["IT", "MX"]]


def test_drawings_of_the_default_source_may_be_alike() -> None:
    """Romania and Chad differ in a shade of blue; from another source, one image for both is worth a warning."""
    urls = {"RO": "embedded:/ro/ro.gif", "TD": "embedded:/td/td.gif"}
    records = {code: FlagRecord(code, image=image("a", url)) for code, url in urls.items()}

    assert unexpected_duplicates(catalog_rows(records, records, {})) == []
    assert unexpected_duplicates(rows(RO="a", TD="a")) == [["RO", "TD"]]


def test_changed_codes_are_those_whose_hash_is_another() -> None:
    """A new country has not changed, and one without a flag neither."""
    assert changed_codes(rows(FR="new", DE="same", US="first"), {"FR": "old", "DE": "same", "BR": "gone"}) == ["FR"]
