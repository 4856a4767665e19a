"""The settings of a source."""

from flag_pipeline.core.config import SourceSettings
from flag_pipeline.fetching.config import LARGEST_BODY_BYTES
from flag_pipeline.stores.store import MAX_FILE_BYTES


def test_largest_body_can_be_stored() -> None:
    """The store accepts every body that FLAG_MAX_BODY_BYTES can allow."""
    assert LARGEST_BODY_BYTES <= MAX_FILE_BYTES


def test_codes_include_extra_ones_and_leave_out_missing_ones() -> None:
    """The codes are ISO 3166-1 and the extra ones without those that the source lacks, sorted."""
    codes = SourceSettings(source="fluentpython").codes(["XK"])

    assert len(codes) == 194 + 1
    assert codes == sorted(codes)
    assert "XK" in codes
    assert "AQ" not in codes
