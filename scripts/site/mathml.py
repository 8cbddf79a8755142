"""An mkdocs hook: writes equations as MathML, which browsers render by themselves, without a script or a font."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

# What pymdownx.arithmatex leaves, in its generic form: \(…\) in a line, \[…\] as a block.
EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """Replace every equation of a page, those of docstrings among them."""
    return EQUATION.sub(_mathml, content)


def _mathml(equation: re.Match) -> str:
    kind, latex = equation.groups()
    latex = html.unescape(latex).strip()
    mathml = convert(latex, display="inline" if kind == "span" else "block")
    if "\\" in mathml:  # a command that the converter does not know, left as it was
        raise ValueError(f"cannot write this equation as MathML: {latex}")
    return mathml if kind == "span" else f'<div class="equation">{mathml}</div>'
