"""A Markdown extension: writes equations as MathML, which browsers render by themselves, without a script or a font."""

import html
import re

from latex2mathml.converter import convert
from markdown import Extension, Markdown
from markdown.postprocessors import Postprocessor

# What pymdownx.arithmatex leaves, in its generic form: \(…\) in a line, \[…\] as a block.
EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
LAST = 0  # of Markdown's own postprocessors the last, which brings back what is kept from it, has 10


class MathML(Extension):
    """Replaces every equation of a page, those of docstrings among them."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Come after everything else."""
        md.postprocessors.register(_Equations(md), "mathml", LAST)


class _Equations(Postprocessor):
    def run(self, text: str) -> str:
        return EQUATION.sub(_mathml, text)


def _mathml(equation: re.Match) -> str:
    kind, latex = equation.groups()
    latex = html.unescape(latex).strip()
    mathml = convert(latex, display="inline" if kind == "span" else "block")
    if "\\" in mathml:  # a command that the converter does not know, left as it was
        raise ValueError(f"cannot write this equation as MathML: {latex}")
    return mathml if kind == "span" else f'<div class="equation">{mathml}</div>'


def makeExtension(**options: object) -> MathML:
    """What Markdown calls to get the extension."""
    return MathML(**options)
