"""What a flag looks like, in numbers."""

import pytest

from flag_pipeline.core.colours import ColourFamily, colour_family, hex_of, rgb_of
from flag_pipeline.core.look import describe_look, distance_bits
from flag_pipeline_tests.records import striped


def test_stripes_are_the_dominant_colours() -> None:
    """Two stripes, two colours, half each, in a fixed order."""
    look = describe_look(striped("#ffffff", "#d00000"))

    assert {(colour.hex, colour.share) for colour in look.colours} == {("#ffffff", 0.5), ("#d00000", 0.5)}
    assert (look.mode, look.n_frames) == ("RGB", 1)
    assert look == describe_look(striped("#ffffff", "#d00000"))


def test_shades_of_one_family_count_as_one_colour() -> None:
    """A red that is shaded is one red, named after its most frequent shade."""
    look = describe_look(striped("#e00000", "#e00000", "#d80000", "#008000"))

    assert [(colour.hex, colour.share) for colour in look.colours] == [("#e00000", 0.75), ("#008000", 0.25)]


def test_a_see_through_picture_has_no_colours() -> None:
    """What cannot be seen is not counted."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(buffer, "PNG")

    assert describe_look(buffer.getvalue()).colours == ()


def test_hash_is_near_for_the_same_picture_and_far_for_another() -> None:
    """Twice the size and another format change few bits; turning the flag upside down changes many."""
    one = striped("black", "red", "gold", size=(60, 36))
    larger = striped("black", "red", "gold", size=(120, 72), kind="GIF")
    reverse = striped("gold", "red", "black", size=(60, 36))

    assert len(describe_look(one).phash) == 16
    assert distance_bits(one, one) == 0
    assert distance_bits(one, larger) <= 4
    assert distance_bits(one, reverse) > distance_bits(one, larger)


@pytest.mark.parametrize(
    ("code", "family"),
    [
        ("#de2910", ColourFamily.RED),
        ("#c8102e", ColourFamily.RED),
        ("#ff8200", ColourFamily.ORANGE),
        ("#ffce00", ColourFamily.YELLOW),
        ("#009246", ColourFamily.GREEN),
        ("#75aadb", ColourFamily.LIGHT_BLUE),
        ("#0a1172", ColourFamily.BLUE),
        ("#8d1b8d", ColourFamily.PURPLE),
        ("#7a4a1a", ColourFamily.BROWN),
        ("#000000", ColourFamily.BLACK),
        ("#443e31", ColourFamily.BLACK),
        ("#999999", ColourFamily.GREY),
        ("#f4f4f4", ColourFamily.WHITE),
    ],
)
def test_colours_have_the_names_people_use(code: str, family: ColourFamily) -> None:
    """The colours of real flags get the word one would look for."""
    assert colour_family(rgb_of(code)) is family
    assert hex_of(rgb_of(code)) == code
