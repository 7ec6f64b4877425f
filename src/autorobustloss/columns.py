"""Text that fits a width: tables in blocks, long names cut in their middle and told in full below, prose wrapped."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest

from autorobustloss.escape import clipped

WIDTH = 100
"""Columns that are printed at most, where a terminal has no fewer."""
GAP = "  "
HEAD = 28
"""Columns that a head above numbers takes at most."""

Rows = Sequence[Sequence[str]]


def cells(text: str) -> int:
    """Return how many columns of a terminal a text takes: wide characters two, those that combine none.

    >>> cells("gce"), cells("数字"), cells("e\\u0301")
    (3, 4, 1)
    """
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def cut(text: str, most: int) -> str:
    """Return a text that takes no more columns than `most`, its middle left out where it has to be."""
    length = min(len(text), most)
    while cells(found := clipped(text, length)) > most:
        length -= 1
    return found


def shortened(names: Iterable[str], most: int) -> dict[str, str]:
    """Return what stands for each name in so many columns; different names stay different.

    >>> shortened(["gce", "taylor(theta=[0.1, 0.2])", "taylor(theta=[0.3, 0.2])"], 12)
    {'gce': 'gce', 'taylor(theta=[0.1, 0.2])': 'taylo… 0.2])', 'taylor(theta=[0.3, 0.2])': 'tayl…0.2])~2'}
    """
    found: dict[str, str] = {}
    for name in sorted(dict.fromkeys(names), key=cells):  # those that stay whole come first
        text, number = cut(name, most), 1
        while text in found.values():
            number += 1
            text = cut(name, most - len(f"~{number}")) + f"~{number}"
        found[name] = text
    return found


def table(heads: Rows, rows: Rows, width: int = WIDTH, left: int = 1, together: int = 0) -> str:
    """Return rows as aligned columns that fit a width, in blocks one below the other where they have to be.

    heads: lines above the rows. left: how many columns are names: they are aligned to the left, and repeated in every
    block. The others are aligned to the right; so many of the last stay together. Names that are too long are cut, and
    told in full below.

    >>> print(table([["loss", "a", "b"]], [["ce", "1.0", "2.0"]], width=14))
    loss    a    b
    ce    1.0  2.0
    >>> print(table([["loss", "a", "b"]], [["ce", "1.0", "2.0"]], width=13))
    loss    a
    ce    1.0
    <BLANKLINE>
    loss    b
    ce    2.0
    """
    lines, short = [*heads, *rows], dict[str, str]()
    for line in heads:
        short |= shortened(line[left:], HEAD)
    columns = [
        [*(short[text] for text in column[: len(heads)]), *(cut(text, width // 2) for text in column[len(heads) :])]
        for column in zip(*(line[left:] for line in lines))
    ]
    widths = [_widest(column) for column in columns]
    room = width - sum(widths) - len(GAP) * (len(widths) + left - 1)
    names = _named(list(zip(*(line[:left] for line in lines))), max(room, 2 * width // 5 - len(GAP) * (left - 1)))
    taken = [_widest(column) for column in names]
    texts = []
    for block in _blocks(widths, width - sum(taken) - len(GAP) * (left - 1), together):
        shown = [_padded(column, w, False) for column, w in zip(names, taken)]
        shown += [_padded(columns[n], widths[n], True) for n in block]
        texts.append("\n".join(GAP.join(line).rstrip() for line in zip(*shown)))
    told = list(short.items())
    for whole, cut_ones in zip(zip(*(line[:left] for line in lines)), names):
        told += zip(whole, cut_ones)
    legend = "\n".join(dict.fromkeys(f"{text} is {name}" for name, text in told if text != name))
    return "\n\n".join([*texts, wrapped(legend, width)] if legend else texts)


def listing(pairs: Iterable[tuple[str, str]], width: int = WIDTH) -> str:
    """Return names with what is said of each beside it, both wrapped.

    >>> print(listing([("ce", "Cross-entropy.")], width=20))
    ce  Cross-entropy.
    """
    pairs = list(pairs)
    most = min(max((cells(name) for name, _ in pairs), default=0), 2 * width // 5)
    lines = []
    for name, about in pairs:
        beside = zip_longest(_lines(name, most), _lines(about, width - most - 2, ""), fillvalue="")
        lines += [f"{first}{' ' * (most - cells(first))}  {second}".rstrip() for first, second in beside]
    return "\n".join(lines)


def wrapped(text: str, width: int = WIDTH, indent: str = "  ") -> str:
    """Return a text, each line of it broken where a word would pass the width; what follows a break is indented."""
    return "\n".join("\n".join(_lines(line, width, indent)) for line in text.split("\n"))


def _lines(text: str, width: int, indent: str = "  ") -> list[str]:
    if cells(text) <= width:
        return [text]
    lead = text[: len(text) - len(text.lstrip())]
    found, line = [], lead
    for word in text.split():
        if line.strip() and cells(line) + 1 + cells(word) > width:
            found.append(line)
            line = lead + indent
        while cells(word) > width - cells(line):  # longer than a line
            part = word[: max(width - cells(line), 1)]
            while cells(line) + cells(part) > width and len(part) > 1:
                part = part[:-1]
            found.append(line + part)
            word, line = word[len(part) :], lead + indent
        line += f" {word}" if line.strip() else word
    return [*found, line]


def _blocks(widths: Sequence[int], room: int, together: int) -> list[list[int]]:
    """Return the numbers of columns in blocks that fit, each column with a gap before it."""
    first = len(widths) - together
    units = [*([n] for n in range(first)), *([[*range(first, len(widths))]] if together else [])]
    blocks: list[list[int]] = [[]]
    for unit in units:
        if blocks[-1] and sum(widths[n] + len(GAP) for n in [*blocks[-1], *unit]) > room:
            blocks.append([])
        blocks[-1] += unit
    return blocks


def _widest(column: Iterable[str]) -> int:
    return max(map(cells, column), default=0)


def _padded(column: Iterable[str], width: int, right: bool) -> list[str]:
    return [" " * (width - cells(text)) * right + text + " " * (width - cells(text)) * (not right) for text in column]


def _named(columns: Rows, room: int) -> list[list[str]]:
    """Return the columns of names, the widest of them cut until all fit."""
    widths = [_widest(column) for column in columns]
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    found: list[Callable[[str], str]] = [shortened(c, w).__getitem__ for c, w in zip(columns, widths)]
    return [list(map(short, column)) for short, column in zip(found, columns)]
