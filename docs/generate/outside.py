"""Files outside of docs/ that pages link to: each becomes a page that shows it, so that the site is whole by itself."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)]*)?\))")
LANGUAGES = {".py": "python", ".sh": "bash", ".yaml": "yaml", ".toml": "toml", ".json": "json", "": "docker"}
PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Pages at the top of the repository that the site shows as its own."""


def shown(path: str) -> str:
    """Return the page, from docs/, that shows a file of the repository."""
    return PAGES.get(path) or f"files/{path}.md"


def is_shown(path: str) -> bool:
    """Return whether a file is no page of docs/ itself but is shown by one."""
    if path.startswith("docs/") and not path.startswith("docs/generate/"):
        return Path(path).suffix in (".py", ".toml")
    return (ROOT / path).is_file() and (path in PAGES or Path(path).suffix in LANGUAGES)


def links(text: str, page: str) -> set[str]:
    """Return the files of the repository that a page, a path from its top folder, links to and that are shown."""
    found = {posixpath.normpath(posixpath.join(posixpath.dirname(page), link)) for _, link, _ in LINK.findall(text)}
    return {path for path in found if is_shown(path)}


def relinked(text: str, page: str, place: str) -> str:
    """Return a page's text with its links for the site.

    page: its path in the repository, which its links start from. place: where the site has it, from docs/.
    """

    def lead(match: re.Match[str]) -> str:
        before, link, after = match.groups()
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
        inside = shown(target) if is_shown(target) else posixpath.relpath(target, "docs")
        return f"{before}{posixpath.relpath(inside, posixpath.dirname(place) or '.')}{after}"

    return LINK.sub(lead, text)


def page_of(path: str) -> str:
    """Return the text of the page that shows a file."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if path in PAGES:
        return relinked(text, path, PAGES[path])
    fence = "`" * 4
    return f"---\nsearch: {{exclude: true}}\n---\n\n# {path}\n\n{fence}{LANGUAGES[Path(path).suffix]}\n{text}{fence}\n"
