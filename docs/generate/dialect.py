"""What a code host reads as it stands and MkDocs does not, and links that only the site has."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection

ITEM = re.compile(r"((?:> )?)(?:[-*]|\d+\.) ")
FENCE = re.compile(r" {0,3}(`{3,})")


def lists_apart(text: str) -> str:
    """Return Markdown with an empty line before each list that follows a paragraph, code left alone.

    >>> lists_apart("Three:\\n- one\\n- two")
    'Three:\\n\\n- one\\n- two'
    """
    made: list[str] = []
    fence = ""
    for line in text.split("\n"):
        found, item, before = FENCE.match(line), ITEM.match(line), made[-1] if made else ""
        if found and not fence:
            fence = found[1]
        elif found and line.strip() == fence:
            fence = ""
        elif not fence and item and _is_text(before) and before.startswith(">") == line.startswith(">"):
            made += [] if _in_list(made) else [item[1].rstrip()]
        made.append(line)
    return "\n".join(made)


def _is_text(line: str) -> bool:
    """Return whether a line is one of a paragraph, not of a list, a table or code."""
    return bool(line.strip("> ")) and not ITEM.match(line) and not line.startswith((" ", "#", "|", "<!"))


def _in_list(lines: list[str]) -> bool:
    """Return whether the last paragraph began as an item of a list: its lines may go on without an indent."""
    for line in reversed(lines):
        if not line.strip("> "):
            return False
        if ITEM.match(line):
            return True
    return False


def names_linked(text: str, place: str, names: Collection[str]) -> str:
    """Return a page whose tables lead from the `name` of a loss or method to its page.

    place: where the page is, from docs/.
    """

    def lead(match: re.Match[str]) -> str:
        name = match[1]
        page = posixpath.relpath(f"losses/{name}.md", posixpath.dirname(place) or ".")
        return f"[`{name}`]({page})" if name in names else match[0]

    rows = [re.sub(r"(?<!\[)`([^`]+)`", lead, line) if line.startswith("|") else line for line in text.split("\n")]
    return "\n".join(rows)
