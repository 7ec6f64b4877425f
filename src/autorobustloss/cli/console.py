"""The console of Rich, for help and progress."""

from __future__ import annotations

from rich.console import Console


class LastingConsole(Console):
    """A console that says nothing more where its reader went away; Rich would end the process."""

    def on_broken_pipe(self) -> None:
        """Be quiet from now on."""
        self.quiet = True
