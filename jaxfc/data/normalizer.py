"""The affine map from stored inputs to network inputs, and two ways to fit it."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, DTypeLike, Float, Num

from jaxfc.data.arrays import Rows, as_stored, blurred_column
from jaxfc.data.file_rows import blocks


@runtime_checkable
class Encoding(Protocol):
    """The contract of what turns stored rows into network inputs: a pytree, called inside the compiled step.

    One whose structure is more than a `Normalizer`'s keeps it in `layout`, a named tuple. Unless its arrays are those
    of a `Normalizer`, `layout.like(members)` makes it of `jax.ShapeDtypeStruct`s, stacked for so many members of an
    ensemble, which is what a file is read into.

    >>> isinstance(Normalizer(np.float32([1, 2]), np.float32(0.5)), Encoding)
    True
    """

    @property
    def takes_missing(self) -> bool:
        """Whether a stored number may be NaN, which stands for a missing value."""

    @property
    def num_features(self) -> int:
        """How many numbers a stored row has."""

    @property
    def num_inputs(self) -> int:
        """How many the network takes of it."""

    def __call__(self, x: Any, dtype: DTypeLike = None) -> Array:
        """Turn a batch into `(batch, num_inputs)` of `dtype`."""


class Normalizer(NamedTuple):
    r"""The affine map from stored inputs to network inputs, $z = (x - \mathrm{mean}) \cdot \mathrm{scale}$.

    `mean` has shape `(features,)`; `scale` is a scalar or has shape `(features,)`. A pytree: it is
    an argument of the compiled step, and saved with the model.

    >>> import numpy as np
    >>> Normalizer(np.float32([1, 2]), np.float32(0.5))(np.uint8([[3, 2]]))
    Array([[1., 0.]], dtype=float32)
    """

    mean: Float[Array | np.ndarray, " features"]
    scale: Float[Array | np.ndarray, ""] | Float[Array | np.ndarray, " features"]

    @property
    def takes_missing(self) -> bool:
        """Whether NaN may stand for a missing value: it may not."""
        return False

    @property
    def num_features(self) -> int:
        """How many numbers a stored row has."""
        return self.mean.shape[-1]

    @property
    def num_inputs(self) -> int:
        """How many the network takes of it: as many."""
        return self.num_features

    def __call__(self, x: Num[Array | np.ndarray, "batch features"], dtype: DTypeLike = None) -> Array:
        """Normalize a batch, into `dtype` (by default that of `mean`)."""
        import jax.numpy as jnp

        from jaxfc.layers.common import wider

        x, mean = jnp.asarray(x), jnp.asarray(self.mean)
        dtype = dtype or mean.dtype
        # In bfloat16 the years 2012 to 2019 are one number before the mean is subtracted.
        wide = wider(x.dtype, dtype)
        scale = jnp.asarray(self.scale, wide)
        scale = scale if scale.ndim == 0 else scale[None, :]
        return ((x.astype(wide) - mean.astype(wide)[None, :]) * scale).astype(dtype)


def centred(x: Rows) -> Normalizer:
    """Subtract the mean row (for images, the mean image), as the CS231n assignment does; scale 1.

    >>> import numpy as np
    >>> centred(np.uint8([[0, 10], [2, 30]])).mean
    array([ 1., 20.], dtype=float32)
    """
    x = as_stored(x)
    return Normalizer(_mean(x).astype(_dtype(x)), np.float32(1))


def standardized(x: Rows, *, per_feature: bool) -> Normalizer:
    """Subtract each feature's mean and divide by the standard deviation, of each feature or of all.

    A feature that never varies is left at zero rather than divided by zero.

    >>> import numpy as np
    >>> x = np.float32([[0, 10], [2, 30]])
    >>> print(standardized(x, per_feature=True)(x))
    [[-1. -1.]
     [ 1.  1.]]
    """
    x = as_stored(x)
    mean, dtype = _mean(x), _dtype(x)
    # Block by block: a float64 copy of all rows would take eight times the memory of uint8 ones.
    first, varies, variance = np.asarray(x[:1]), False, 0
    for block in blocks(x):
        varies |= (block != first).any(axis=0)
        variance += np.square(block.astype(np.float64) - mean).sum(axis=0)
    variance = np.where(varies, variance / len(x), 0)
    deviation = np.sqrt(variance if per_feature else variance.mean())
    return Normalizer(mean.astype(dtype), dtype(1) / np.where(deviation > 0, deviation, 1).astype(dtype))


def _mean(x: Rows) -> np.ndarray:
    mean = sum(block.sum(axis=0, dtype=np.float64) for block in blocks(x)) / len(x)
    return mean if x.dtype == np.float64 else mean.astype(np.float32)


def _dtype(x: Rows) -> type[np.floating]:
    """Return float64 for rows that float32 cannot hold, whose mean it cannot hold either."""
    return np.float64 if x.dtype == np.float64 and blurred_column(x) is not None else np.float32
