"""Text of a stranger, such as the name of a data set, as each kind of output shows it: data, never code.

One function for each format: `visible` for a terminal or a picture, `markdown`, `latex`, `csv_cell`; HTML pages are
made by a template that escapes what is `visible`.
"""

from __future__ import annotations

import re

LONGEST_LABEL = 60
"""Characters of a name in a picture."""


def visible(text: str) -> str:
    """Return the text in one line, with characters that a terminal would obey, or no file could hold, spelled out.

    >>> visible("a\\x1b[2J\\nb")
    'a\\\\x1b[2J\\\\nb'
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def message(text: str) -> str:
    """Return a text of several lines as a terminal may show it: each line `visible`, and its middle cut if very long.

    >>> message("one\\ntwo\\r")
    'one\\ntwo\\\\r'
    """
    return "\n".join(clipped(visible(line), 2000) for line in text.split("\n"))


def clipped(text: str, length: int = LONGEST_LABEL) -> str:
    """Return a long text without its middle.

    >>> clipped("abcdefghij", 5)
    'ab…ij'
    """
    if len(text) <= length:
        return text
    left = (length - 1) // 2
    return f"{text[:left]}…{text[len(text) - (length - 1 - left) :]}"


def markdown(text: str) -> str:
    """Return the text for a line, or a cell of a table, of Markdown.

    Signs that could start HTML become entities, those that Markdown itself reads get a backslash.

    >>> print(markdown("<b>|*x*[y](z) label_smoothing"))
    &lt;b&gt;\\|\\*x\\*\\[y](z) label_smoothing
    """
    plain = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[|~$]|(?<![^\W_])_|_(?![^\W_])|^[#+-])", r"\\\1", plain)


_LATEX = {
    **{c: rf"\{c}" for c in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"},
    **{"`": r"\textasciigrave{}", "'": r"\textquotesingle{}", "[": "{[}", "]": "{]}"},
    **{"±": r"$\pm$", "×": r"$\times$", "†": r"$^\dagger$", "‡": r"$^\ddagger$", "–": "--"},
    **{"χ": r"$\chi$", "²": r"$^2$", "α": r"$\alpha$", "∞": r"$\infty$", "·": r"$\cdot$", "…": r"\dots{}"},
}  # fmt: skip


def latex(text: str) -> str:
    """Return the text for the body of a LaTeX document.

    Brackets are in braces, because after the end of a row, `\\\\`, LaTeX would read one as a distance.

    >>> latex(r"50 % of a_b")
    '50 \\\\% of a\\\\_b'
    """
    return "".join(_LATEX.get(c, c) for c in visible(text))


def csv_cell(text: str) -> str:
    """Return the text for a cell of a CSV file: an apostrophe before what a spreadsheet takes for a formula.

    >>> csv_cell("=1+1"), csv_cell("nce+mae")
    ("'=1+1", 'nce+mae')
    """
    shown = visible(text)
    return f"'{shown}" if shown.lstrip(" '\"").startswith(("=", "+", "-", "@")) else shown
