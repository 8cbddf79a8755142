"""A griffe extension: shows a docstring's examples as code. They stand there without a heading of their own."""

import re
from typing import Any

from griffe import Extension, Object

EXAMPLE = re.compile(r"^>>> .*?(?=\n\n|\Z)", re.DOTALL | re.MULTILINE)
FLAGS = re.compile(r" *# doctest: .*")


class Examples(Extension):
    """Fences every paragraph that begins with `>>>`, and leaves out what is said to doctest alone."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the object's docstring."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(_fenced, obj.docstring.value)


def _fenced(example: re.Match) -> str:
    return f"```pycon\n{FLAGS.sub('', example[0])}\n```"
