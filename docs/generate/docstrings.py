"""Docstrings of this library as Markdown, on the pages of the losses and of the API."""

from __future__ import annotations

import re
from itertools import zip_longest

NAMED = re.compile(r"((?:\*{0,2}\w+)(?:, \*{0,2}\w+)*): (.*)")
"""A line that says what a parameter, or `Source`, is."""


def as_markdown(text: str) -> str:
    """Return a docstring with examples as code blocks and parameters as a list; the rest is Markdown as it stands.

    >>> print(as_markdown("Double.\\n\\nx: a number,\\n    any.\\nRaises ConfigError for x < 0."))
    Double.
    <BLANKLINE>
    - **x**: a number,
      any.
    <BLANKLINE>
    Raises ConfigError for x &lt; 0.
    """
    return "\n\n".join(_block(block) for block in re.split(r"\n\s*\n", text.strip("\n")))


def _block(block: str) -> str:
    lines = block.splitlines()
    if lines[0].startswith(">>> "):
        return "\n".join(["```pycon", *(re.sub(r"\s*# doctest:.*", "", line) for line in lines), "```"])
    if all(line.startswith("    ") for line in lines):
        return "\n".join(["```text", *(line[4:] for line in lines), "```"])
    made: list[str] = []
    listed = False
    for line in lines:
        found = NAMED.fullmatch(line)
        ends = not made or listed or made[-1].endswith((".", ":", ")"))
        if found and ends and len(found[1]) < 60:
            made += [""] if made and not listed else []
            made.append(f"- **{_plain(found[1])}**: {_plain(found[2])}")
            listed = True
        elif listed and line.startswith("    "):
            made.append("  " + _plain(line.strip()))
        else:
            made += [""] if listed else []
            made.append(_plain(line))
            listed = False
    return "\n".join(made)


def _plain(text: str) -> str:
    """Return a text outside of `code` without what Markdown would take for markup."""
    parts = text.split("`")
    plain = (re.sub(r"([*\[\]])", r"\\\1", part).replace("<", "&lt;") for part in parts[::2])
    return "`".join(piece for pair in zip_longest(plain, parts[1::2]) for piece in pair if piece is not None)


SOURCE = re.compile(r"^Source: (.*(?:\n(?!Raises |`|\s*$|[a-zα-ω_]+: ).*)*)\n?", re.M)


def source(text: str) -> str:
    """Return the source that a docstring names, in one line; "" for none."""
    found = SOURCE.search(text)
    return " ".join(found[1].split()) if found else ""


def without_source(text: str) -> str:
    """Return a docstring without that."""
    return SOURCE.sub("", text)
