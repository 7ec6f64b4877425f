"""One self-contained HTML page of sections; `page.html.j2` says how it looks, `page.css` and `page.js` are put into it.

Nothing is loaded from elsewhere: the page's own policy forbids it, and lets no script run but the one that it holds.
Pictures that lie in a run folder are shown by <img>, where no script that a stranger's may hold is run. The template
escapes every text.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from autorobustloss.benchmark import render
from autorobustloss.escape import visible
from autorobustloss.report import sheets
from autorobustloss.report.conclusion import Conclusion

HERE = Path(__file__).parent

Section = tuple[str, str, tuple[Any, ...]]
"""A heading, the macro of the template that shows the section, and what that is called with."""


@dataclass(frozen=True)
class Report:
    """What a page says of one run: a title, what it shows in a sentence (None for nothing to say), and sections."""

    title: str
    conclusion: Conclusion | None
    sections: tuple[Section, ...]


def page(reports: Sequence[Report], refresh: int = 0) -> str:
    """Return a whole HTML page of these reports; refresh: after how many seconds it loads itself again, 0 for never."""
    templates = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (Markup((HERE / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    policy = f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    title = reports[0].title if len(reports) == 1 else f"{len(reports)} runs"
    names: dict[str, Any] = {"tables": render, "sheets": sheets, "style": style, "script": script}
    template = templates.get_template("page.html.j2")
    return template.render(title=title, reports=reports, policy=policy, refresh=refresh, **names)


def _hash(text: str) -> str:
    """Return what a policy calls an inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _visible(value: Any) -> Any:
    """Spell out control characters in a text that the template shows, but not in what is markup already."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
