"""Write the HTML page of run folders.

One self-contained page of a search, a benchmark or an examination of labels:
what it shows in a sentence, formulas, pictures, tables, configuration, and the
commands that make it again. It needs no other file and no network. Several run
folders are one page, one after the other.

examples:
  arl report runs/NAME
      writes runs/NAME/report.html
  arl report runs/NAME --watch
      while it runs: the page loads itself again, until the run is finished
  arl report runs/ONE runs/OTHER --out both.html
"""

from typing import Annotated

from cyclopts import App, Parameter

app = App(name="report")


@app.default
def report(folder: str, /, *more: Annotated[str, Parameter()], out: str | None = None, watch: bool = False) -> int:
    """Write the page.

    Args:
        folder: a run folder, such as runs/NAME
        more: other run folders, to be shown on the same page
        out: where to write the page (default: report.html in the folder)
        watch: write it again while the run goes on
    """
    from autorobustloss.cli.report import run

    return run((folder, *more), out, watch)
