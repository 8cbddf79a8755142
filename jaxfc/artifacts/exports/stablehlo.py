"""A model as StableHLO, the compiler's own language, by `jax.export`: to be called where JAX is and nothing else."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import jax.export
from jaxtyping import DTypeLike

from jaxfc.artifacts.exports.traced import of_any_batch
from jaxfc.errors import unknown_name

if TYPE_CHECKING:
    from jaxfc.artifacts.predictor import Predictor

PLATFORMS = ("cpu", "cuda", "tpu", "rocm")


def stablehlo(
    predictor: "Predictor", platforms: Sequence[str] = ("cpu", "cuda", "tpu"), dtype: DTypeLike = "float32"
) -> bytes:
    """A model's or an ensemble's prediction for several platforms; see `Predictor.export`.

    Raises:
        ValueError: an unknown platform, or none.
        ImportError: the `flatbuffers` package is not installed.

    >>> from jaxfc import FCNet, Model, init, load
    >>> data, net = load("digits"), FCNet(64, (), 10)
    >>> contents = stablehlo(Model.of(net, *init(net, jax.random.key(0)), data))
    >>> jax.export.deserialize(bytearray(contents)).call(data.x_test[:3].astype("float32")).shape
    (3, 10)
    """
    platforms = (platforms,) if isinstance(platforms, str) else tuple(platforms)
    if not platforms:
        raise ValueError(f"platforms={platforms}: name at least one of {', '.join(PLATFORMS)}")
    for platform in platforms:
        if platform not in PLATFORMS:
            raise unknown_name("platform", platform, PLATFORMS)
    program, rows = of_any_batch(predictor, dtype)
    exported = jax.export.export(jax.jit(program), platforms=platforms)(rows)
    try:
        return bytes(exported.serialize())
    except ImportError as error:
        raise ImportError("JAX writes StableHLO by flatbuffers: pip install 'jaxfc[stablehlo]'") from error
