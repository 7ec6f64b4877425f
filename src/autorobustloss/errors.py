"""Every error this library raises on purpose: what was got, what was expected, what to try."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ARLError(Exception):
    """Base of every error of this library; the command line prints it without a traceback."""


class ConfigError(ARLError, ValueError):
    """A setting is wrong: a value out of range, a spec that does not parse, fields that contradict.

    got, meant: the name that is wrong and the one that was probably meant, where that is all that is wrong.
    """

    got = meant = ""


class UnknownNameError(ConfigError):
    """A name that no registry knows; the message lists the nearest known ones."""


class LossInputError(ARLError, ValueError):
    """Logits, targets or weights that a loss cannot take: shape, dtype, range."""


class UnsupportedArgumentError(ARLError, TypeError):
    """A loss or method was asked for something it cannot honour (never ignored silently)."""


class DataError(ARLError, ValueError):
    """A data file is missing, truncated, mislabelled or mis-shaped; the message names it and the remedy."""


class DataWarning(UserWarning):
    """A data set that can be meant, but probably is not; the message says what differs and what to do."""


class SlowStartWarning(UserWarning):
    """A loss starts with far less than cross-entropy's gradient; the message says how much less and what to try."""


class CardError(ARLError, ValueError):
    """A loss card is broken, tampered with, or of a version this library does not read."""


class StoreError(ARLError, RuntimeError):
    """The result store cannot be opened, read or written."""


class RunFolderError(ARLError, RuntimeError):
    """A run folder holds a run with another configuration; the message shows the difference."""


class WorkerError(ARLError, RuntimeError):
    """A job failed with an exception, or a worker process died; finished results are in the store."""


class ClusterError(ARLError, RuntimeError):
    """A cluster cannot be used: it does not answer, its head died, or its nodes are unlike this machine."""


class MissingDependencyError(ARLError, ImportError):
    """An optional package is absent; the message gives the install line."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Build the error for a name that is not registered, with a suggestion when one is near.

    >>> str(unknown_name("loss", "gec", ["ce", "gce"]))
    "unknown loss 'gec'; did you mean 'gce'? Known: ce, gce"
    """
    names = sorted(known)
    name = name if len(name) <= 100 else name[:97] + "..."
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    error = UnknownNameError(f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}")
    error.got, error.meant = (name, near[0]) if near else ("", "")
    return error
