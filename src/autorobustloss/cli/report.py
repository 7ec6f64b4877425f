"""`arl report`: one self-contained page of a run folder."""

from __future__ import annotations

import os
from pathlib import Path

from autorobustloss.errors import ConfigError
from autorobustloss.report.page import PAGE, folder_page
from autorobustloss.runs.run_folder import CONFIG, replace_file


def run(folder: str, out: str | None) -> int:
    """Write the page."""
    if not os.path.isfile(Path(folder) / CONFIG):
        raise ConfigError(f"got {folder}, expected a run folder (one with a config.json), such as runs/NAME")
    text = folder_page(Path(folder))
    target = Path(out) if out else Path(folder) / PAGE
    write = Path.write_bytes if out else replace_file  # what is given may be /dev/stdout
    try:
        write(target, text.encode())
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}; try another --out FILE") from None
    print(target)
    return 0
