"""The distance between a replaced flag and its successor."""

from dataclasses import replace

from flag_pipeline.core.changes import image_distance
from flag_pipeline.images.features import describe_features, distance_bits
from flag_pipeline.images.inspection import DERIVED_VERSION
from flag_pipeline.images.models import Derived
from flag_pipeline.images.structure import Limits
from flag_pipeline_tests.records import stored, striped

OLD, NEW = striped("white", "black", "white"), striped("black", "white", "red", "blue")


def test_distance_is_that_of_the_pictures() -> None:
    """Equal ones have none."""
    images = stored("CN", OLD), stored("CN", NEW)
    expected = distance_bits(describe_features(OLD), describe_features(NEW))

    assert expected > 0
    assert image_distance((OLD, NEW), images, Limits()) == expected
    assert image_distance((OLD, OLD), (images[0], images[0]), Limits()) == 0


def test_described_image_is_not_decoded_again() -> None:
    """Its record's features count, even if the file would give others."""
    images = stored("CN", OLD), stored("CN", NEW)
    described = replace(images[1], derived=Derived(DERIVED_VERSION, describe_features(OLD), ""))

    assert image_distance((OLD, NEW), (images[0], described), Limits()) == 0


def test_damaged_or_too_large_old_image_has_no_distance() -> None:
    """The flag is still replaced."""
    images = stored("CN", OLD), stored("CN", NEW)

    assert image_distance((b"damaged", NEW), images, Limits()) is None
    assert image_distance((OLD, NEW), images, replace(Limits(), max_pixels=10)) is None
