"""What mkdocstrings runs while it reads the library."""

from __future__ import annotations

from typing import Any

from docstrings import as_markdown
from griffe import Extension, Object


class Markdown(Extension):
    """Hands docstrings to the pages of the API as Markdown."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rewrite the docstring of whatever has one."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
