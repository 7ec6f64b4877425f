"""Write the HTML page of a run folder.

One self-contained page of a search's or benchmark's run folder: tables,
pictures, the learned loss, configuration, provenance. It needs no other file
and no network.
"""

from typing import Annotated

from cyclopts import App, Parameter

app = App(name="report", help=__doc__, help_epilogue="")


@app.default
def report(
    folder: Annotated[str, Parameter(help="a run folder, such as runs/NAME")],
    /,
    *,
    out: Annotated[str | None, Parameter(help="where to write the page (default: report.html in the folder)")] = None,
) -> int:
    """Write the page."""
    from autorobustloss.cli.report import run

    return run(folder, out)
