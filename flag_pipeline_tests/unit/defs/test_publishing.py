"""What names become in the UI's Markdown."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from flag_pipeline.defs.publishing import escape_markdown

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def shown_in_a_table(cell: str) -> tuple[list[str], str]:
    """What kinds of things a Markdown table with that one cell shows, and the text of the cell."""
    tokens = MARKDOWN.parse(f"| name |\n|---|\n| {cell} |")
    assert [token.type for token in tokens].count("td_open") == 1
    inline = tokens[[token.type for token in tokens].index("td_open") + 1]
    children = inline.children or []
    return sorted({child.type for child in children}), "".join(child.content for child in children)


@pytest.mark.parametrize(
    "name",
    [
        "Côte d'Ivoire",
        'The "Gambia"',
        "a | b",
        "[x](javascript:alert(1))",
        "![x](http://evil.example/x.gif)",
        "<img src=x onerror=alert(1)>",
        "**bold** _it_ ~~no~~ `code`",
        "&lt;b&gt; &amp; &#60;",
        "<http://evil.example>",
        "ends in \\",
    ],
)
def test_name_is_shown_as_it_is(name: str) -> None:
    """It is text in one cell, without link, picture or HTML."""
    kinds, text = shown_in_a_table(escape_markdown(name))

    assert kinds == ["text"]
    assert text == name


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1))
@example("\u2028")
def test_any_text_is_nothing_but_text(text: str) -> None:
    """No markup in any text has an effect."""
    kinds, shown = shown_in_a_table(escape_markdown(text))

    assert set(kinds) <= {"text"}
    assert shown.split() == text.split()
