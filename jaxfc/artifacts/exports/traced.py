"""A model's whole prediction as one program: preprocessing, network, and what its outputs mean."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.export
import numpy as np
from jaxtyping import DTypeLike

from jaxfc.errors import unknown_name

if TYPE_CHECKING:
    from jaxfc.artifacts.predictor import Predictor

INPUTS = ("float32", "uint8", "float64")


def input_type(dtype: DTypeLike) -> np.dtype:
    """The type of the rows that an exported program takes.

    Raises:
        ValueError: none of `INPUTS`; or float64, and JAX's 64-bit mode is off.

    >>> input_type("uint8")
    dtype('uint8')
    """
    name = getattr(dtype, "name", None) or (dtype if isinstance(dtype, str) else np.dtype(dtype).name)
    if name not in INPUTS:
        raise unknown_name("type of inputs", name, INPUTS)
    if name == "float64" and not jax.config.jax_enable_x64:
        raise ValueError("float64 inputs need JAX's 64-bit mode: jax.config.update('jax_enable_x64', True)")
    return np.dtype(name)


def of_any_batch(predictor: "Predictor", dtype: DTypeLike) -> tuple[Callable[[Any], Any], jax.ShapeDtypeStruct]:
    """The function from rows to predictions, and the rows it takes: `(batch, features)`, of a batch of any size.

    Raises:
        ValueError: as `input_type`.

    >>> from jaxfc import FCNet, Model, init, load
    >>> data, net = load("digits"), FCNet(64, (), 10)
    >>> model = Model.of(net, *init(net, jax.random.key(0)), data)
    >>> of_any_batch(model, "float32")[1].shape
    (batch, 64)
    """
    (batch,) = jax.export.symbolic_shape("batch")
    rows = jax.ShapeDtypeStruct((batch, predictor.num_features), input_type(dtype))

    def program(x: Any) -> Any:
        try:
            return predictor._predictions(x, None)
        except TypeError as error:
            if "_DimExpr" not in str(error):
                raise
            raise TypeError(
                f"{type(predictor.net).__name__} or its task takes its batch's size for a number, and an exported "
                f"program's batch has any size: write x.shape[0] for len(x), and make no int of it ({error})"
            ) from error

    return program, rows
