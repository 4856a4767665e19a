"""SVGs built from text: a flag, and attacks of every kind, each with the reason for which it is refused."""

RECTANGLE = '<path d="M0 0h6v4H0z"/>'
FRANCE = (
    '<path fill="#fff" d="M0 0h6v4H0z"/><path fill="#000091" d="M0 0h2v4H0z"/><path fill="#e1000f" d="M4 0h2v4H4z"/>'
)


def svg(inside: str = FRANCE, *, root: str = 'viewBox="0 0 6 4"', before: str = "") -> bytes:
    """An SVG with these elements."""
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f"{before}<svg {spaces} {root}>{inside}</svg>".encode()


def nested(inside: str, element: str, times: int) -> str:
    """The elements inside so many others."""
    return f"<{element}>" * times + inside + f"</{element}>" * times


def doubled(times: int, element: str, reference: str) -> str:
    """A chain of elements in which each one draws the one before it ten times."""
    links = (
        f'<{element} id="a{number}">{reference.format(f"#a{number - 1}") * 10}</{element}>'
        for number in range(1, times + 1)
    )
    return f'<{element} id="a0">{RECTANGLE}</{element}>{"".join(links)}'


def styled(css: str) -> bytes:
    """An SVG with this style sheet."""
    return svg(f"<style>{css}</style>{RECTANGLE}")


XHTML = '<a:{} xmlns:a="http://www.w3.org/1999/xhtml">alert(1)</a:{}>'
TURBULENCE = '<filter id="f"><feTurbulence baseFrequency=".01" numOctaves="9999"/></filter>'
MASK = f'<mask id="m">{RECTANGLE}</mask>'
# Each entity is ten of the one before it: a kilobyte becomes two gigabytes.
LAUGHS = "".join(f'<!ENTITY a{number} "{f"&a{number - 1};" * 10}">' for number in range(1, 10))
ENDLESS_PATTERN = f'<pattern id="p" width="1" height="1"><g fill="url(#p)">{RECTANGLE}</g></pattern>'

# What the reader refuses before anything is drawn.
REFUSED = {
    "script": (svg("<script>alert(1)</script>"), "an element script"),
    "script of XHTML": (svg(XHTML.format("script", "script")), "an element script of http://www.w3.org/1999/xhtml"),
    "frame of XHTML": (svg(XHTML.format("iframe", "iframe")), "an element iframe of"),
    "handler": (svg('<path onclick="alert(1)" d="M0 0h6v4H0z"/>'), "an attribute onclick"),
    "handler at the root": (svg(root='viewBox="0 0 6 4" onload="alert(1)"'), "an attribute onload"),
    "handler in capitals": (svg('<g ONLOAD="alert(1)"/>'), "an attribute ONLOAD"),
    "foreign object": (svg("<foreignObject/>"), "an element foreignObject"),
    "image": (svg('<image href="data:image/png;base64,AAAA"/>'), "an element image"),
    "link": (svg('<a href="#x"/>'), "an element a:"),
    "animation": (svg('<set attributeName="href" to="javascript:alert(1)"/>'), "an element set"),
    "text": (svg("<text>Flag</text>"), "an element text"),
    "filter": (svg(f'{TURBULENCE}<path filter="url(#f)" d="M0 0h6v4H0z"/>'), "an element filter"),
    "filter in CSS": (svg('<path style="filter:blur(9999px)" d="M0 0h6v4H0z"/>'), r"'blur\('"),
    "image of another host": (svg('<image href="https://evil.example/x.png"/>'), "an element image"),
    "other file": (svg('<use xlink:href="https://evil.example/x.svg#a"/>'), "'https://evil.example/x.svg#a'"),
    "script as a reference": (svg('<use href="javascript:alert(1)"/>'), "'javascript:alert"),
    "data as a reference": (svg('<use href="data:image/svg+xml;base64,AAAA#a"/>'), "refers to 'data:"),
    "other base": (svg('<g xml:base="https://evil.example/"/>'), "an attribute base"),
    "other paint": (svg('<path fill="url(https://evil.example/#a)" d="M0 0h6v4H0z"/>'), r"'url\('"),
    "paint in capitals": (svg('<path fill="URL( https://evil.example/#a )"/>'), r"'url\('"),
    "picture in a style": (svg("<path style=\"cursor:image-set('https://evil.example')\"/>"), r"'image-set\('"),
    "escape in a style": (svg('<path style="fill:u\\72l(https://evil.example)"/>'), "a backslash"),
    "long words in a style": (svg(f'<path style="{"a" * 900_000}!("/>'), r"'\('"),
    "long spaces in a style": (svg(f'<path style="{" " * 900_000}!("/>'), r"'\('"),
    "parentheses in a style": (svg(f'<path style="{"url(#a" * 100_000}"/>'), r"'url\('"),
    "import": (styled('@import "https://evil.example/x.css";'), "a rule with @"),
    "font": (styled('@font-face{src:"https://evil.example/x"}'), "a rule with @"),
    "escape in CSS": (styled('\\40import "https://evil.example/x.css";'), "a backslash"),
    "paint in CSS": (styled("path{fill:url('https://evil.example/x')}"), r"'url\('"),
    "data in CSS": (styled("path{fill:url(data:image/svg+xml;base64,AAAA)}"), r"'url\('"),
    "CSS around CSS": (svg('<style><style/>@import "https://evil.example/x.css";</style>'), "inside its CSS"),
    "style sheet": (svg(before='<?xml-stylesheet href="https://evil.example/x.css"?>'), "instruction xml-stylesheet"),
    "entity": (svg("&a;", before='<!DOCTYPE svg [<!ENTITY a "b">]>'), "declares entities"),
    "billion laughs": (svg("&a9;", before=f'<!DOCTYPE svg [<!ENTITY a0 "ha">{LAUGHS}]>'), "declares entities"),
    "external entity": (svg(before='<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]>'), "declares entities"),
    "unknown entity": (svg("&a;", before='<!DOCTYPE svg SYSTEM "x.dtd">'), "an unknown entity a"),
    "encoding": (svg(before='<?xml version="1.0" encoding="UTF-7"?>'), "is in UTF-7"),
    "other bytes": (svg("<title>\ufffd</title>").replace("\ufffd".encode(), b"\xff"), "is damaged"),
    "not closed": (svg()[:-6], "is damaged: no element found"),
    "more behind it": (svg() + b"<script/>", "is damaged: junk after document element"),
    "zeros behind it": (svg() + b"\0", "is damaged"),
    "no namespace": (b'<svg viewBox="0 0 6 4"/>', "does not begin with an element svg"),
    "other root": (b'<svg xmlns="http://www.w3.org/1999/xhtml"/>', "does not begin with an element svg"),
    "elements": (svg("<g/>" * 250_000), "more than 10,000 elements"),
    "attributes": (svg("<g " + " ".join(f"a{n}=''" for n in range(60_000)) + "/>"), "more than 50,000 attributes"),
    "levels": (svg(nested("", "g", 60_000)), "more than 50 levels"),
    "layers": (svg('<g opacity=".5"><path d="M0 0h6v4H0z"/></g>' * 4000), "more than 200 groups"),
    "layers in a style": (svg('<g style="mix-blend-mode:hue"/>' * 4000), "more than 200 groups"),
    "layers in CSS": (svg("<style>g{opacity:.5}</style>" + "<g/>" * 4000), "more than 200 groups"),
    "masks": (svg(MASK + f"<g mask='url(#m)'>{RECTANGLE}</g>" * 300), "more than 200 groups"),
    "masks in CSS": (svg(f"<style>g{{mask:url(#m)}}</style>{MASK}" + "<g/>" * 3000), "more than 200 groups|10,000"),
    "masks of masks": (svg(doubled(6, "mask", '<g mask="url({})"/>')), "that are drawn again"),
    "uses of uses": (svg(doubled(6, "g", '<use xlink:href="{}"/>')), "that are drawn again"),
    "uses without end": (svg('<g id="a"><use href="#a"/></g>'), "more than 50 levels"),
    "uses in a circle": (svg('<use id="a" href="#b"/><use id="b" href="#a"/>'), "more than 50 levels"),
    "patterns without end": (svg(f'{ENDLESS_PATTERN}<path fill="url(#p)" d="M0 0h6v4H0z"/>'), "more than 50 levels"),
    "masks without end": (svg(f'<mask id="m" mask="url(#m)">{RECTANGLE}</mask>'), "more than 50 levels"),
    "markers": (
        svg(f'<marker id="m">{RECTANGLE}</marker><path marker-mid="url(#m)" d="M0 0{"l9 9 -8-8" * 9000}"/>'),
        "that are drawn again",
    ),
    "markers in a style": (
        svg(f'<marker id="m">{RECTANGLE}</marker><path style="marker:url(#m)" d="M0 0{"l9 9 -8-8" * 9000}"/>'),
        "that are drawn again",
    ),
    "gradients in CSS": (
        svg(f'<style>path{{fill:url(#g)}}</style><linearGradient id="g">{"<stop/>" * 200}</linearGradient>' * 2),
        "that are drawn again",
    ),
    "long CSS": (styled("g " * 40_000 + "{fill:red}"), "characters of CSS"),
    "no size": (svg(root=""), "states no size"),
    "no height": (svg(root='width="6"'), "states no size"),
    "cut viewBox": (svg(root='viewBox="0 0 6"'), "states no size"),
    "long viewBox": (svg(root=f'viewBox="{"0 " * 400_000}"'), "states no size"),
    "empty viewBox": (svg(root='viewBox="0 0 0 4"'), "a viewBox of"),
    "endless viewBox": (svg(root='viewBox="0 0 inf 4"'), "a viewBox of"),
    "huge viewBox": (svg(root='viewBox="0 0 1e9 1e9"'), "a side below 0.001 or above 65535"),
    "far too large": (svg(root='width="99999" height="1"'), "a side below 0.001 or above 65535"),
    "far too narrow": (svg(root='viewBox="0 0 6 1e-9"'), "a side below 0.001 or above 65535"),
    "zero width": (svg(root='width="0" height="4"'), "a size of '0'"),
    "negative width": (svg(root='width="-6" height="4"'), "a size of '-6'"),
    "width in letters": (svg(root='width="6em" height="4em"'), "a size of '6em'"),
}

# What only the renderer can know. The first two take seconds, the third one gigabytes.
SLOW = svg('<path stroke="red" stroke-dasharray=".00003" d="M0 0h6v4H0z"/>' * 20)
SLOW_NAMESPACES = svg(root='viewBox="0 0 6 4" ' + " ".join(f'xmlns:a{number}="u{number}"' for number in range(40_000)))
LARGE = svg(
    '<pattern id="p" width="1" height="1" patternUnits="userSpaceOnUse" patternTransform="scale(1000000)">'
    f'{RECTANGLE}</pattern><path fill="url(#p)" d="M0 0h6v4H0z"/>'
)
NOT_DRAWN = {
    "dashes": (SLOW, "takes more than 2 s to draw"),
    "namespaces": (SLOW_NAMESPACES, "takes more than 2 s to draw"),
    "large pattern": (LARGE, "cannot be read: .* ended with -6"),
}
EMPTY = svg("")
ATTACKS = {**REFUSED, **NOT_DRAWN, "nothing": (EMPTY, "it draws nothing")}
