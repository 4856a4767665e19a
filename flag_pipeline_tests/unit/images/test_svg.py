"""SVGs: what is accepted, what is refused before it is drawn, and their sizes."""

import os
import random
import resource
import time
from collections import Counter
from pathlib import Path

import pytest

from flag_pipeline.core.presets import ANY_FORMAT
from flag_pipeline.errors import ImageError
from flag_pipeline.images.features import describe_features
from flag_pipeline.images.formats import check_end, read_structure
from flag_pipeline.images.inspection import inspect_image
from flag_pipeline.images.models import FlagImage
from flag_pipeline.images.structure import MAX_DECODING_S, Limits
from flag_pipeline.images.svg_renderer import SvgRenderer
from flag_pipeline_tests.svgs import EMPTY, FRANCE, MASK, NOT_DRAWN, RECTANGLE, REFUSED, svg

DOCTYPE = '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">'
EDITORS_DATA = """
<metadata><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><c:Work xmlns:c="http://creativecommons.org/ns#"
r:about=""/></r:RDF></metadata><s:namedview xmlns:s="http://sodipodi.sourceforge.net/DTD/sodipodi-0.dtd" onload="1"/>"""
TEXTS = '<g id="path(1)" class="a(b)" data-name="Layer (2)" aria-label="a (b)" xml:space="preserve"/>'


def inspect(content: bytes) -> FlagImage:
    """Inspect it as a fetched flag."""
    return inspect_image(content, formats=ANY_FORMAT, limits=Limits())


@pytest.mark.parametrize("attack", REFUSED)
def test_attack_is_refused_before_it_is_drawn(attack: str) -> None:
    """The reason is stated in one line, after a fraction of a second of processor time."""
    content, reason = REFUSED[attack]
    started_s = time.process_time()

    with pytest.raises(ImageError, match=reason):
        read_structure(content)

    assert time.process_time() - started_s < 1


@pytest.mark.parametrize("attack", NOT_DRAWN)
def test_attack_on_the_renderer_takes_no_longer_than_stated(attack: str) -> None:
    """The reader accepts it, and the process that draws it is killed, which ends its processor time and memory."""
    content, reason = NOT_DRAWN[attack]
    structure, renderer, before_s = read_structure(content), SvgRenderer(), cpu_of_ended_processes_s()

    with pytest.raises(ImageError, match=reason):
        renderer.draw(structure, (160, 120))

    assert 0 < cpu_of_ended_processes_s() - before_s < MAX_DECODING_S + 1
    assert renderer.draw(read_structure(svg()), (160, 120)).startswith(b"\x89PNG")
    renderer.close()


def cpu_of_ended_processes_s() -> float:
    """Processor time of the processes that this one has started and waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_drawing_without_a_visible_pixel_is_refused() -> None:
    """What resvg leaves out would be an empty picture."""
    with pytest.raises(ImageError, match="the svg is damaged: it draws nothing"):
        inspect(EMPTY)


@pytest.mark.parametrize(
    "content",
    [
        svg(),
        b"\xef\xbb\xbf" + svg(),
        svg(before=f'<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n<!-- Drawn (by hand) -->\n{DOCTYPE}\n'),
        svg(before="<!---->" * 100_000),
        svg().replace(b"<svg xmlns=", b"<s:svg xmlns:s=").replace(b"</svg", b"</s:svg").replace(b"<path", b"<s:path"),
        svg(EDITORS_DATA + FRANCE),
        svg(TEXTS + FRANCE),
        svg('<style type="text/css">.a{fill:#f00} .b{fill:url(#g)} .c{clip-path:url("#c")}</style>'
            f'<linearGradient id="g"><stop/></linearGradient><clipPath id="c">{RECTANGLE}</clipPath>'
            '<path class="a b c" d="M0 0h6v4H0z"/>'),
        svg(f"""{MASK}<g mask="url( '#m' )" transform="translate(1 1) matrix(1 0 0 1 0 0)">{RECTANGLE}</g>{FRANCE}"""),
        svg(f'<defs><g id="a">{RECTANGLE}</g></defs><use xlink:href="#a" style="fill:rgb(9,9,9);opacity:.9"/>'),
        svg('<use href="#missing"/>' + FRANCE),
    ],
)  # fmt: skip
def test_drawing_is_accepted_and_kept_unchanged(content: bytes) -> None:
    """Comments, document types, data of editors, CSS, gradients, masks and repetitions are usual."""
    image = inspect(content)

    assert (image.format, image.content, image.width_px, image.height_px) == ("svg", content, 600, 400)
    assert image.derived.thumbnail.startswith("data:image/webp;base64,")
    check_end(content, read_structure(content))


@pytest.mark.parametrize(
    "content",
    [
        svg().decode().encode("utf-16"),
        b"<!DOCTYPE html><html><body>" + svg() + b"</body></html>",
        b"<html>" + svg() + b"</html>",
        b"<svgs/>",
        b"<!-- <svg -->",
        b"<?" * 400_000,
        b"<!DOCTYPE svg " * 60_000,
        b"<!DOCTYPE svg [" + b"]" * 900_000,
        b"<!--" * 200_000,
    ],
)
def test_anything_else_is_no_svg(content: bytes) -> None:
    """The first element decides, however long it takes to come; only UTF-8 is read."""
    with pytest.raises(ImageError, match=r"^not a whole image \(gif, jpeg, png, svg, webp\)$"):
        inspect(content)


@pytest.mark.parametrize(
    ("root", "size"),
    [
        ('viewBox="0 0 640 480"', (640, 480)),
        ('viewBox="5,17 , 62\n38"', (620, 380)),
        ('viewBox="0 0 3 2"', (300, 200)),
        ('viewBox="0 0 1.5 1"', (150, 100)),
        ('viewBox="0 0 .0015 .001"', (150, 100)),
        ('viewBox="0 0 10000 1"', (10_000, 1)),
        ('viewBox="0 0 6 4" width="900" height="600"', (900, 600)),
        ('viewBox="0 0 6 4" width="900px"', (900, 600)),
        ('viewBox="0 0 6 4" height=" 600.4 "', (901, 600)),
        ('viewBox="0 0 6 4" width="100%" height="auto"', (600, 400)),
        ('width="4in" height="1in"', (384, 96)),
        ('width="25.4mm" height="5.08cm"', (96, 192)),
        ('width="75pt" height="12.5pc"', (100, 200)),
    ],
)
def test_size_is_in_pixels(root: str, size: tuple[int, int]) -> None:
    """A stated size comes first, then the `viewBox`; small ones are multiplied by ten to keep the aspect ratio."""
    assert read_structure(svg(root=root)).size_shown == size


def test_features_are_those_of_the_drawing() -> None:
    """France has three colours, each a third, and one frame."""
    features = describe_features(svg())

    assert (features.mode, features.n_frames) == ("RGBA", 1)
    assert sorted(round(colour.share, 1) for colour in features.colours) == [0.3, 0.3, 0.3]


def test_mutated_svgs_are_accepted_or_refused() -> None:
    """Four hundred damaged SVGs, the same ones each time: nothing but a broken contract is raised."""
    chance, counts = random.Random(21), Counter[str]()  # noqa: S311 - repeatable, not secret
    originals = [svg(), svg(EDITORS_DATA + FRANCE), svg(f"{MASK}<g mask='url(#m)'>{RECTANGLE}</g>{FRANCE}")]
    for _ in range(400):
        content = bytearray(chance.choice(originals))
        for _ in range(chance.choice((1, 1, 3))):
            content[chance.randrange(len(content))] = chance.choice(b"<>/&\"'#(\0 a9\xff")
        try:
            counts[inspect(bytes(content)).format] += 1
        except ImageError:
            counts["refused"] += 1

    assert set(counts) == {"svg", "refused"}


@pytest.mark.skipif("REAL_SVGS" not in os.environ, reason="REAL_SVGS names a folder of real SVGs; .ci/run has one")
@pytest.mark.timeout(300)
def test_real_svgs_are_accepted() -> None:
    """All of a folder that others have drawn."""
    files = sorted(Path(os.environ["REAL_SVGS"]).rglob("*.svg"))

    assert len(files) > 500
    for file in files:
        assert inspect(file.read_bytes()).format == "svg", file.name
