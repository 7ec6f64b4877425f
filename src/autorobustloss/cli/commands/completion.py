"""Print the script that completes arl in a shell.

`arl --install-completion` puts it where the shell finds it.

examples:
  eval "$(arl completion bash)"
      for this shell only
  arl completion fish > ~/.config/fish/completions/arl.fish
"""

from typing import Literal

from cyclopts import App

app = App(name="completion")


@app.default
def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print.

    Args:
        shell: whose script
    """
    from autorobustloss.cli.app import app

    print(app.generate_completion(shell=shell))
