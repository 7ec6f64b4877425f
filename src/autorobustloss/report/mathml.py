"""The LaTeX that losses are written out in, as MathML: formulas in a page, without a library or a script."""

from __future__ import annotations

import re
from html import escape

from autorobustloss.errors import ConfigError

SIGNS = {
    **{"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "varepsilon": "ε", "epsilon": "ϵ", "theta": "θ"},
    **{"lambda": "λ", "mu": "μ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ"},
}
OPERATORS = {"cdot": "·", "leq": "≤", "geq": "≥", "to": "→", "ldots": "…", "cdots": "⋯", "times": "×", "|": "∥"}
FUNCTIONS = ("log", "exp", "min", "max", "softmax")
UNDER = ("sum", "min", "max", "prod")
"""What has its index below it and not beside it."""
SPACES = {",": "0.17em", ";": "0.28em", " ": "0.33em", "quad": "1em", "qquad": "2em", "!": "0"}
THIN = f'<mspace width="{SPACES[","]}"/>'
ACCENTS = {"hat": "^", "bar": "¯", "tilde": "~"}
TOKEN = re.compile(r"\\(?:[a-zA-Z]+|.)|\d+(?:\.\d+)?|\S|(\s)")


def to_mathml(latex: str) -> str:
    r"""Return LaTeX for math mode as a `<math>` element, which holds the LaTeX too; every text in it is escaped.

    It knows what `latex()` of our losses writes: fractions, indices, sums, accents, brackets that grow, Greek letters.
    Raises ConfigError for a command that it does not know, and for brackets that do not close.

    >>> to_mathml(r"-\frac{1}{C} p_y").partition("<annotation")[0].partition("<mo>")[2]
    '−</mo><mfrac><mrow><mn>1</mn></mrow><mrow><mi>C</mi></mrow></mfrac><msub><mi>p</mi><mi>y</mi></msub></mrow>'
    """
    content = _Parser(latex).whole()
    note = f'<annotation encoding="application/x-tex">{escape(latex)}</annotation>'
    return f'<math display="block"><semantics>{content}{note}</semantics></math>'


class _Parser:
    """Reads tokens from left to right; each method returns the MathML of what it read."""

    def __init__(self, latex: str) -> None:
        self.latex = latex
        self.tokens = [m[0] for m in TOKEN.finditer(latex)]
        self.place = 0

    def whole(self) -> str:
        content = self.row()
        if self.place < len(self.tokens):
            raise self.error(self.tokens[self.place])
        return content

    def error(self, token: str) -> ConfigError:
        return ConfigError(f"got {token!r} in the formula {self.latex!r:.200}, expected LaTeX that `latex()` writes")

    def next(self) -> str:
        while self.place < len(self.tokens) and self.tokens[self.place].isspace():
            self.place += 1
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self) -> str:
        token = self.next()
        if not token:
            raise self.error("the end")
        self.place += 1
        return token

    def row(self) -> str:
        """Read up to a bracket that closes what was opened outside."""
        parts: list[str] = []
        while (token := self.next()) and token not in ("}", r"\right"):
            if token[1:] in FUNCTIONS and parts and not parts[-1].endswith(("</mo>", "/>")):
                parts.append(THIN)
            parts.append(self.scripted())
        return f"<mrow>{''.join(parts)}</mrow>"

    def scripted(self) -> str:
        """Read an atom and what is above and below, or beside, it."""
        token = self.next()
        atom, scripts = self.atom(), {}
        while (sign := self.next()) in ("_", "^"):
            self.take()
            if sign in scripts:
                raise self.error(sign)
            scripts[sign] = self.atom()
        name = token[1:]
        kind = ("munder", "mover") if name in UNDER else ("msub", "msup")
        for sign, tag in zip("_^", kind):
            if set(scripts) == {sign}:
                atom = f"<{tag}>{atom}{scripts[sign]}</{tag}>"
        if len(scripts) == 2:
            tag = "munderover" if name in UNDER else "msubsup"
            atom = f"<{tag}>{atom}{scripts['_']}{scripts['^']}</{tag}>"
        wide = name in FUNCTIONS and self.next() not in ("(", r"\left", "")
        return atom + (THIN if wide else "")

    def atom(self) -> str:
        token = self.take()
        if token == "{":
            content = self.row()
            if self.take() != "}":
                raise self.error(token)
            return content
        if token.startswith("\\"):
            return self.command(token[1:])
        if token[0].isdigit():
            return f"<mn>{token}</mn>"
        if token.isalpha():
            return f"<mi>{escape(token)}</mi>"
        if token in "}^_&%$#~":
            raise self.error(token)
        stretchy = ' stretchy="false"' if token in "()[]|" else ""
        return f"<mo{stretchy}>{escape('−' if token == '-' else token)}</mo>"

    def command(self, name: str) -> str:
        if name == "frac":
            return f"<mfrac>{self.atom()}{self.atom()}</mfrac>"
        if name == "sqrt":
            return f"<msqrt>{self.atom()}</msqrt>"
        if name in ACCENTS:
            return f'<mover accent="true">{self.atom()}<mo stretchy="false">{ACCENTS[name]}</mo></mover>'
        if name == "left":
            opening, content = self.take(), self.row()
            if self.take() != r"\right":
                raise self.error(r"\left")
            return f"<mrow><mo>{escape(opening)}</mo>{content}<mo>{escape(self.take())}</mo></mrow>"
        if name in ("mathrm", "text"):
            return self.words()
        if name in SPACES:
            return f'<mspace width="{SPACES[name]}"/>'
        if name in ("sum", "prod"):
            return f"<mo>{'∑' if name == 'sum' else '∏'}</mo>"
        for tag, known in (("mi", SIGNS), ("mo", OPERATORS)):
            if name in known:
                return f"<{tag}>{known[name]}</{tag}>"
        if name in FUNCTIONS:
            return f"<mi>{name}</mi>"
        raise self.error(f"\\{name}")

    def words(self) -> str:
        """Read a text in braces as it is; a backslash before a space is a space."""
        if self.take() != "{":
            raise self.error("a text without braces")
        start = self.place
        while self.place < len(self.tokens) and self.tokens[self.place] != "}":
            self.place += 1
        text = "".join(" " if t == "\\ " else t for t in self.tokens[start : self.place])
        self.take()
        return f"<mtext>{escape(text)}</mtext>"
