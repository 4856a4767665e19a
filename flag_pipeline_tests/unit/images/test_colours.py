"""Names of colours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flag_pipeline.images.colours import ColourFamily, Rgb, blended_from, colour_family, hex_of, rgb_of

CHANNELS = st.integers(0, 255)


@pytest.mark.parametrize(
    ("code", "family"),
    [
        ("#de2910", ColourFamily.RED),
        ("#c8102e", ColourFamily.RED),
        ("#8d1b3d", ColourFamily.RED),
        ("#dd635d", ColourFamily.RED),
        ("#ff8200", ColourFamily.ORANGE),
        ("#ff4e12", ColourFamily.ORANGE),
        ("#ffce00", ColourFamily.YELLOW),
        ("#fdb913", ColourFamily.YELLOW),
        ("#009246", ColourFamily.GREEN),
        ("#b1cc33", ColourFamily.GREEN),
        ("#75aadb", ColourFamily.LIGHT_BLUE),
        ("#a0b0e0", ColourFamily.LIGHT_BLUE),
        ("#0a1172", ColourFamily.BLUE),
        ("#2d2a4a", ColourFamily.BLUE),
        ("#8d1b8d", ColourFamily.PURPLE),
        ("#7a4a1a", ColourFamily.BROWN),
        ("#5a3719", ColourFamily.BROWN),
        ("#000000", ColourFamily.BLACK),
        ("#231f1e", ColourFamily.BLACK),
        ("#3f3f3f", ColourFamily.BLACK),
        ("#999999", ColourFamily.GREY),
        ("#f4f4f4", ColourFamily.WHITE),
    ],
)
def test_colours_have_the_names_people_use(code: str, family: ColourFamily) -> None:
    """Colours of real flags have their common names."""
    assert colour_family(rgb_of(code)) is family
    assert hex_of(rgb_of(code)) == code


@given(st.tuples(CHANNELS, CHANNELS, CHANNELS))
def test_any_colour_has_a_name(rgb: Rgb) -> None:
    """A grey has no other name than black, grey and white."""
    assert colour_family(rgb) in ColourFamily
    assert colour_family((rgb[0],) * 3) in {ColourFamily.BLACK, ColourFamily.GREY, ColourFamily.WHITE}


@pytest.mark.parametrize(
    ("rgb", "others", "edge_of"),
    [
        ((255, 140, 140), [(255, 255, 255), (255, 0, 0)], (255, 255, 255)),
        ((255, 100, 100), [(255, 255, 255), (255, 0, 0)], (255, 0, 0)),
        ((128, 100, 10), [(200, 0, 0), (0, 0, 0), (255, 204, 0)], (0, 0, 0)),
        ((0, 146, 70), [(255, 255, 255), (206, 43, 55)], None),
        ((0, 0, 0), [(255, 255, 255), (206, 43, 55)], None),
        ((128, 128, 128), [(0, 0, 0)], None),
    ],
)
def test_a_mixture_belongs_to_the_nearer_colour(rgb: Rgb, others: list[Rgb], edge_of: Rgb | None) -> None:
    """A colour beside or beyond the line between two others is no mixture of them."""
    assert blended_from(rgb, others) == edge_of
