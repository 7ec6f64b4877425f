"""Docstrings of this library as Markdown, on the pages of the losses and of the API."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

NAMED = re.compile(r"((?:\*{0,2}\w+)(?:, \*{0,2}\w+)*): (.*)")
"""A line that says what a parameter, or `Source`, is."""


def as_markdown(text: str) -> str:
    """Return a docstring with examples as code blocks and parameters as a list; the rest is Markdown as it stands.

    >>> print(as_markdown("Double.\\n\\nx: a number,\\n    any.\\n\\n>>> double(2)\\n4"))
    Double.
    <BLANKLINE>
    - **x**: a number,
      any.
    <BLANKLINE>
    ```pycon
    >>> double(2)
    4
    ```
    """
    return "\n\n".join(_block(block) for block in re.split(r"\n\s*\n", text.strip("\n")))


def _block(block: str) -> str:
    lines = block.splitlines()
    if lines[0].startswith(">>> "):
        return "\n".join(["```pycon", *lines, "```"])
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
    return "`".join(re.sub(r"([*<\[\]])", r"\\\1", part) if i % 2 == 0 else part for i, part in enumerate(parts))


def source(text: str) -> str:
    """Return the source that a docstring names, in one line; "" for none."""
    found = re.search(r"^Source: (.*(?:\n(?!Raises |`|\s*$|[a-zα-ω_]+: ).*)*)", text, re.M)
    return " ".join(found[1].split()) if found else ""


class Markdown(Extension):
    """Hands docstrings to the pages of the API as Markdown."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rewrite the docstring of whatever has one."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
