"""Small arrays that travel packed: the same results as one by one, whatever their number, shapes and dtypes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfc.cs231n import packing as module
from jaxfc.cs231n.classifiers.fc_net import FullyConnectedNet
from jaxfc.cs231n.packing import packing


def mixed(numbers, trees, y, mask):
    """A result of each kind: a number, arrays, a tree with None in it, and an empty array."""
    total = sum(jnp.sum(w, dtype=numbers.dtype) for w in jax.tree.leaves(trees))
    kept = None if mask is None else jnp.where(mask, trees[0]["w"], 0)
    return total * numbers[0], {"y": y + 1, "trees": trees}, (kept, numbers[1:1])


def arguments(rng, masked):
    trees = [{"w": rng.normal(size=(2, 3)), "b": rng.normal(size=3).astype(np.float32)}, {"w": rng.normal(size=())}]
    return rng.normal(size=4), trees, rng.integers(5, size=4), rng.random((2, 3)) < 0.5 if masked else None


@pytest.mark.parametrize("masked", [False, True])
def test_packed_results_are_those_of_single_arrays(masked, monkeypatch, compilations):
    packed, rng = packing(mixed), np.random.default_rng(0)
    for repeat in range(3):
        args = arguments(rng, masked)
        results = packed(*args)
        assert repeat == 0 or not compilations, "the same layout again compiles nothing"
        with monkeypatch.context() as patch:
            patch.setattr(module, "SMALL", 0)
            expected = packing(mixed)(*args)
        assert jax.tree.structure(results) == jax.tree.structure(expected)
        for got, wanted in zip(jax.tree.leaves(results), jax.tree.leaves(expected), strict=True):
            assert type(got) is np.ndarray
            assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
            assert got.flags.writeable
            np.testing.assert_allclose(got, wanted, rtol=1e-12)
        compilations.clear()
    assert not jax.config.jax_enable_x64


def test_other_shapes_are_another_layout():
    packed = packing(lambda x, y: (x + 1, y))
    for shape in ((2, 3), (3, 2), (6,), (0, 4)):
        x, y = np.arange(np.prod(shape), dtype=float).reshape(shape), np.ones(2, np.int32)
        out, same = packed(x, y)
        np.testing.assert_array_equal(out, x + 1)
        np.testing.assert_array_equal(same, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("normalization", [None, "batchnorm", "layernorm"])
def test_a_networks_loss_is_the_same_packed(normalization, dtype, monkeypatch):
    losses, x, y = [], np.random.default_rng(0).normal(size=(4, 6)), np.array([0, 1, 2, 0])
    for limit in (0, 10**6):
        monkeypatch.setattr(module, "SMALL", limit)
        np.random.seed(1)  # noqa: NPY002
        model = FullyConnectedNet([5, 4], 6, 3, 0.7, normalization, 0.1, 0.5, dtype, seed=2)
        loss, grads = model.loss(x, y)
        losses.append(loss)
        assert grads.keys() == model.params.keys()
        for name, grad in grads.items():
            assert (grad.dtype, grad.shape) == (model.params[name].dtype, model.params[name].shape)
            grad += 1  # each is the caller's own
        losses.append(model.loss(x, y)[0])
    np.testing.assert_allclose(losses[2:], losses[:2], rtol=1e-12 if dtype == np.float64 else 1e-6)
