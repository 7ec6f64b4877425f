"""Print the JSON Schema of what --json prints.

examples:
  arl schema train
  arl schema "losses show"
"""

from cyclopts import App

app = App(name="schema")


@app.default
def schema(*command: str) -> None:
    """Print.

    Args:
        command: list, losses list, losses show, train, bench, bench TABLE, search or labels (default: all)
    """
    import json

    from autorobustloss.cli.outcomes import OUTCOMES, schema

    found = schema(" ".join(command)) if command else {name: schema(name) for name in OUTCOMES}
    print(json.dumps(found, indent=1))
