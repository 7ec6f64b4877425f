"""Run `arl` as `python -m autorobustloss`."""

from autorobustloss.cli.main import entry_point

entry_point()
