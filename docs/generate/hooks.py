"""What MkDocs runs while it builds the site: pages made of the code, formulas as MathML, links out of docs/.

make docs          # into site/
make docs-serve    # and again at every change of a page
"""

from __future__ import annotations

import re
from typing import Any

import api
import dialect
import outside
import torch
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import losses
from autorobustloss.report.formula import to_mathml

LINKED = ("choose.md", "learned-losses.md")
"""Pages whose tables link to those of the losses."""
MEASURED = r"(evidence|benchmark)/(?!README|PROTOCOL|first-verdict|second-search|second-verdict)"
"""Pages of thousands of numbers, which nobody searches for."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the generated pages to the navigation, and the fence of formulas."""
    torch.set_num_threads(1)  # more of them wait for each other on small arrays, and pictures take ten times as long
    for section in config.nav or []:
        if "Losses" in section:
            section["Losses"] += [{name: losses.path(name)} for name in losses.names()]
        if "API" in section:
            section["API"] = [{title: path} for path, (title, _) in api.pages().items()]
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {}).setdefault("custom_fences", [])
    fences.append({"name": "math", "class": "math", "format": formula})
    return config


def formula(source: str, *_: Any, **__: Any) -> str:
    """Return LaTeX as MathML, in a box that scrolls."""
    return f'<div class="formula" tabindex="0">{to_mathml(source)}</div>'


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of losses, API and files that pages link to."""
    made = {losses.path(name): losses.page(name) for name in losses.names()}
    made["losses/index.md"] = losses.index()
    made |= {path: text for path, (_, text) in api.pages().items()}
    linked = set(outside.PAGES)
    for file in files.documentation_pages():
        linked |= outside.links(file.content_string, f"docs/{file.src_uri}")
    for path in sorted(linked):
        linked |= (
            outside.links((outside.ROOT / path).read_text(encoding="utf-8"), path) if path in outside.PAGES else set()
        )
    made |= {outside.shown(path): outside.page_of(path) for path in sorted(linked)}
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files of the repository to the pages that show them, and names of losses to theirs."""
    place = page.file.src_uri
    if not page.file.generated_by:
        markdown = outside.relinked(markdown, f"docs/{place}", place)
    if place in LINKED:
        markdown = dialect.names_linked(markdown, place, losses.names())
    if re.match(MEASURED, place):
        page.meta["search"] = {"exclude": True}
    return dialect.lists_apart(markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Name the search for who hears the page: the theme leaves its dialog without one."""
    return output.replace('role="dialog">', 'role="dialog" aria-label="Search">')
