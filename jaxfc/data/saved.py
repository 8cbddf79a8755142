"""How an encoding is kept in a file: its arrays as tensors, and what is static of it, if anything, in the metadata."""

from collections.abc import Mapping
from typing import Any

from jaxfc.data.columns import Column, Columns
from jaxfc.data.encoder import Cycle, Layout, Table
from jaxfc.data.normalizer import Encoding, Normalizer
from jaxfc.data.pooled import Pooled, Pooling
from jaxfc.description import describe

# What a file's metadata may name.
KNOWN = (Normalizer, Column, Columns, Layout, Cycle, Table, Pooling)


def layout_of(encoding: Encoding) -> Any:
    """What is static of an encoding, as JSON has it; None of a `Normalizer`, which is its two arrays.

    >>> import numpy as np
    >>> layout_of(Normalizer(np.zeros(2, "f"), np.float32(1))) is None
    True
    """
    return describe(getattr(encoding, "layout", None))


def encoding_like(layout: Any, tensors: Mapping[str, Any], prefix: str, members: int | None = None) -> Encoding:
    """The shapes of an encoding that a file has.

    Args:
        layout: what is static of it, restored; None for a `Normalizer`.
        tensors: the file's tensors, by whose shapes a `Normalizer` goes.
        prefix: what their names begin with.
        members: how many are stacked, if they are.

    >>> import numpy as np
    >>> encoding_like(None, {"n.mean": np.zeros(2), "n.scale": np.ones(2)}, "n.").num_features
    2
    """
    if isinstance(layout, Pooling):
        return Pooled(layout, encoding_like(None, tensors, f"{prefix}normalizer."))
    if layout is None:
        return Normalizer(tensors[f"{prefix}mean"], tensors[f"{prefix}scale"])
    return layout.like(members)
