"""Write the HTML page of a run folder.

One self-contained page of a search's or benchmark's run folder: tables,
pictures, the learned loss, configuration, provenance. It needs no other file
and no network.
"""

from cyclopts import App

app = App(name="report")


@app.default
def report(folder: str, /, *, out: str | None = None) -> int:
    """Write the page.

    Args:
        folder: a run folder, such as runs/NAME
        out: where to write the page (default: report.html in the folder)
    """
    from autorobustloss.cli.report import run

    return run(folder, out)
