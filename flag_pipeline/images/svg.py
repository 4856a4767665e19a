"""Reads the structure of an SVG, and refuses what is more than a drawing.

Browsers run an SVG's scripts and load what it refers to, and a few hundred bytes can take minutes to draw. So only
listed elements are accepted, references stay inside the file, and costs are counted before drawing.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple
from xml.parsers import expat

from flag_pipeline.errors import ImageError
from flag_pipeline.images.structure import Structure

# The size if a caller asks for none: a thumbnail.
RENDERED_PX = (160, 120)

# The largest numbers in flag-icons 7.5: 915 elements, 2,383 attributes, 48 layers and 14 levels, with references.
MAX_ELEMENTS, MAX_ATTRIBUTES, MAX_LAYERS, MAX_LEVELS, MAX_STYLE_CHARS = 10_000, 50_000, 200, 50, 20_000

_SVG, _XLINK_HREF = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink href"
_XML_BASE = "http://www.w3.org/XML/1998/namespace base"
# Browsers ignore the data of editors and licences, but not XHTML and MathML.
_W3C, _RDF = "http://www.w3.org/", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_ENCODINGS = {None, "utf-8", "us-ascii"}

# No text, because it looks different on each machine.
_ELEMENTS = frozenset(
    "circle clipPath defs desc ellipse g line linearGradient marker mask metadata path pattern polygon polyline "
    "radialGradient rect stop style svg symbol title use".split()
)
_LAYER_ELEMENTS = frozenset({"clipPath", "marker", "mask", "pattern", "svg", "symbol"})
_LAYER_ATTRIBUTES = frozenset({"clip-path", "filter", "isolation", "mask", "mix-blend-mode", "opacity"})
_LAYER_PROPERTY = re.compile(rf"(?<![\w-])(?:{'|'.join(_LAYER_ATTRIBUTES)})\s*:")
# Their values are no CSS.
_TEXT_ATTRIBUTE = re.compile(r"(?:class|id|lang|role|version|(?:aria|data)-.*)")
# Before a parenthesis, backwards; and behind it a reference to an element. Both are tried once per parenthesis: a
# search would try every character of a long word again.
_NAME_BACKWARDS = re.compile(r"[\w-]*")
_REFERENCE = re.compile(r"""\s*(["']?)#([^\s"'()]+)\1\s*\)""")
_FUNCTIONS = frozenset(
    "calc hsl hsla icc-color matrix rgb rgba rotate scale scalex scaley skewx skewy translate translatex "
    "translatey".split()
)

_LENGTH = re.compile(r"\s*\+?(\d{1,9}(?:\.\d{0,99})?|\.\d{1,99})(px|pt|pc|mm|cm|in|)\s*")
_PX_PER_UNIT = {"": 1, "px": 1, "pt": 4 / 3, "pc": 16, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96}
_SIDES_PX = (0.001, 65_535)
# Smaller drawings get 10 or 100 times their size: rounding to whole pixels would change the aspect ratio.
_MIN_LONG_SIDE_PX = 100


def read_svg(content: bytes) -> Structure:
    """See `ImageFormat.read`.

    The size is `width` and `height` in CSS pixels, or that of the `viewBox`.
    """
    scan = _Scan()
    scan.parse(content)
    scan.check_costs()
    size = _size(scan.root)
    return Structure(
        "svg",
        size,
        n_pixels=RENDERED_PX[0] * RENDERED_PX[1],
        n_frames=1,
        size_bytes=len(content),
        drawing=content,
        box=(0, 0, *size),
    )


class _Cost(NamedTuple):
    elements: int
    layers: int
    levels: int


@dataclass(slots=True)
class _Node:
    """An element.

    Attributes:
        references: ids of the elements drawn with it, as often as stated.
        cost: with all that it contains and refers to, None until computed.
    """

    is_layer: bool = False
    children: list["_Node"] = field(default_factory=list)
    references: list[tuple[str, int]] = field(default_factory=list)
    cost: _Cost | None = None


class _Scan:
    """One parser's handlers and findings."""

    def __init__(self) -> None:
        self.root: dict[str, str] = {}
        self._open = [_Node()]
        self._by_id: dict[str, _Node] = {}
        self._n_elements = self._n_attributes = 0
        self._style: list[str] = []
        self._parser = expat.ParserCreate("utf-8", " ")

    def parse(self, content: bytes) -> None:
        """Read all elements. Raises ImageError."""
        parser = self._parser
        parser.buffer_text = True
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = self._doctype
        parser.SkippedEntityHandler = self._entity
        parser.ProcessingInstructionHandler = self._instruction
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        try:
            parser.Parse(content, True)
        except expat.ExpatError as exc:
            raise ImageError(f"the svg is damaged: {exc}") from exc

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if (encoding and encoding.lower()) not in _ENCODINGS:
            raise ImageError(f"the svg is in {encoding:.40}: only UTF-8 is accepted")

    def _doctype(self, _name: str, _system: str | None, _public: str | None, has_declarations: int) -> None:
        if has_declarations:
            raise ImageError("the svg declares entities, or other parts of a document type")

    def _entity(self, name: str, _is_parameter: bool) -> None:  # noqa: FBT001 - expat's signature
        raise ImageError(f"the svg has an unknown entity {name[:40]}")

    def _instruction(self, target: str, _data: str) -> None:
        raise ImageError(f"the svg has a processing instruction {target[:40]}")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        namespace, _, local = name.rpartition(" ")
        self._n_elements += 1
        self._n_attributes += len(attributes)
        _bound(self._n_elements, MAX_ELEMENTS, "elements")
        _bound(self._n_attributes, MAX_ATTRIBUTES, "attributes")
        _bound(len(self._open), MAX_LEVELS, "levels of elements")
        if len(self._open) == 1:
            if name != f"{_SVG} svg":
                raise ImageError("the svg does not begin with an element svg of the namespace of SVG")
            self.root = attributes
        if self._parser.CharacterDataHandler is not None:
            raise ImageError("the svg has an element inside its CSS")
        node = _Node()
        self._open[-1].children.append(node)
        self._open.append(node)
        if namespace == _SVG:
            self._read_element(local, attributes, node)
        elif namespace.startswith(_W3C) and namespace != _RDF:
            raise ImageError(f"the svg has an element {local[:40]} of {namespace[:80]}")

    def _read_element(self, local: str, attributes: Mapping[str, str], node: _Node) -> None:
        if local not in _ELEMENTS:
            raise ImageError(
                f"the svg has an element {local[:40]}: only shapes, gradients, patterns and masks are drawn"
            )
        # The root's layer is the picture.
        node.is_layer = len(self._open) > 2 and local in _LAYER_ELEMENTS  # noqa: PLR2004
        node.is_layer |= not _LAYER_ATTRIBUTES.isdisjoint(attributes)
        node.is_layer |= bool(_LAYER_PROPERTY.search(attributes.get("style", "")))
        self._by_id.setdefault(attributes.get("id", ""), node)
        n_vertices = max(len(attributes.get(name, "")) for name in ("d", "points")) // 4 + 1
        for name, value in attributes.items():
            is_marker = name.startswith("marker-") or (name == "style" and "marker" in value)
            times = n_vertices if is_marker else 1
            node.references.extend((reference, times) for reference in _references(name, value))
        if local == "style":
            self._parser.CharacterDataHandler = self._style.append

    def _end(self, name: str) -> None:
        self._open.pop()
        if name == f"{_SVG} style":
            self._parser.CharacterDataHandler = None

    def check_costs(self) -> None:
        """Raise ImageError if too much is drawn, repetitions included."""
        style = "".join(self._style)
        _bound(len(style), MAX_STYLE_CHARS, "characters of CSS")
        if "@" in style:
            raise ImageError("the svg has a rule with @ in its CSS")
        elements, layers, levels = self._cost(self._open[0], 0)
        # CSS selects any elements, so all of them count.
        in_style = [self._cost_of(reference, 0) for reference in {*_css_references(style)}]
        elements *= 1 + sum(cost.elements for cost in in_style)
        layers = elements if _LAYER_PROPERTY.search(style) else layers + sum(cost.layers for cost in in_style)
        _bound(elements, MAX_ELEMENTS, "elements, with those that are drawn again")
        _bound(layers, MAX_LAYERS, "groups with opacity, masks, patterns or clip paths")
        _bound(max(levels, *(cost.levels for cost in in_style), 0), MAX_LEVELS, "levels of elements")

    def _cost_of(self, reference: str, above: int) -> _Cost:
        node = self._by_id.get(reference)
        return _Cost(0, 0, 0) if node is None else self._cost(node, above)

    def _cost(self, node: _Node, above: int) -> _Cost:
        """Return the cost of a node *above* levels below the first; circular references have no end."""
        if node.cost is None:
            _bound(above, MAX_LEVELS, "levels of elements")
            parts = [(self._cost(child, above + 1), 1) for child in node.children]
            parts += [(self._cost_of(reference, above + 1), times) for reference, times in node.references]
            node.cost = _Cost(
                1 + sum(cost.elements * times for cost, times in parts),
                node.is_layer + sum(cost.layers * times for cost, times in parts),
                1 + max((cost.levels for cost, _ in parts), default=0),
            )
        return node.cost


def _bound(number: int, most: int, what: str) -> None:
    if number > most:
        raise ImageError(f"the svg has more than {most:,} {what}")


def _references(name: str, value: str) -> Iterable[str]:
    """Return the ids in an attribute's value. Raises ImageError if it runs or loads something."""
    if name in {"href", _XLINK_HREF}:
        if not value.startswith("#"):
            raise ImageError(f"the svg refers to {value[:40]!r}, which is not in the file")
        return [value[1:]]
    if name == _XML_BASE or name.lower().startswith("on"):
        raise ImageError(f"the svg has an attribute {name.rpartition(' ')[2][:40]}")
    return () if " " in name or _TEXT_ATTRIBUTE.fullmatch(name) else _css_references(value)


def _css_references(css: str) -> Iterator[str]:
    if "\\" in css:
        raise ImageError("the svg has a backslash in its CSS")
    for before, behind in pairwise(css.split("(")):
        name = _NAME_BACKWARDS.match(before.rstrip()[::-1])
        function = name[0][::-1].lower() if name else ""
        reference = _REFERENCE.match(behind + "(")
        if function == "url" and reference:
            yield reference[2]
        elif function not in _FUNCTIONS:
            raise ImageError(f"the svg has '{function[:40]}(', which is no colour and no part of the file")


def _size(root: Mapping[str, str]) -> tuple[int, int]:
    width, height = _length(root.get("width")), _length(root.get("height"))
    if width is None or height is None:
        box_width, box_height = _view_box(root.get("viewBox", ""))
        width, height = (
            width or (height * box_width / box_height if height else box_width),
            height or (width * box_height / box_width if width else box_height),
        )
    smallest, largest = _SIDES_PX
    if not (smallest <= min(width, height) and max(width, height) <= largest):
        raise ImageError(f"the svg of {width:g}x{height:g} has a side below {smallest} or above {largest} pixels")
    factor = 10 ** max(0, math.ceil(math.log10(_MIN_LONG_SIDE_PX / max(width, height))))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _length(text: str | None) -> float | None:
    # These leave the size to the `viewBox`.
    if text is None or text.strip() in {"", "auto", "100%"}:
        return None
    found = _LENGTH.fullmatch(text)
    if found is None or not float(found[1]):
        raise ImageError(f"the svg has a size of {text[:40]!r}, which is no number of pixels")
    return float(found[1]) * _PX_PER_UNIT[found[2]]


def _view_box(text: str) -> tuple[float, float]:
    try:
        _, _, width, height = map(float, re.split(r"\s*,\s*|\s+", text.strip()))
    except ValueError as exc:
        raise ImageError("the svg states no size: it has neither a viewBox nor a width and a height") from exc
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise ImageError(f"the svg has a viewBox of {text[:80]!r}")
    return width, height
