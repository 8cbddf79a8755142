"""Losses: weights, extreme scores, soft targets, bad arguments. Their gradients are compared in `test_layers.py`."""

import jax
import jax.numpy as jnp
import naive
import numpy as np
import optax
import pytest
import sklearn.metrics

from jaxfc import layers

LABELS = jnp.arange(6) % 4
NUMBERS = jax.random.normal(jax.random.key(1), (6, 4))
LOSSES = [
    (layers.softmax_loss, LABELS),
    (layers.softmax_loss, jax.nn.softmax(NUMBERS)),
    (layers.svm_loss, LABELS),
    (layers.sigmoid_loss, NUMBERS > 0),
    (layers.squared_loss, NUMBERS),
    (layers.huber_loss, NUMBERS),
    (layers.quantile_loss, NUMBERS),
]


@pytest.mark.parametrize(("loss", "y"), LOSSES)
def test_an_example_of_weight_0_has_no_influence(loss, y):
    scores = jax.random.normal(jax.random.key(0), (6, 4))
    weights = jnp.array([1.0, 1, 1, 1, 0, 0])
    value, gradient = jax.value_and_grad(loss)(scores, y, weights)
    np.testing.assert_allclose(value, loss(scores[:4], y[:4]), rtol=1e-6)
    np.testing.assert_array_equal(gradient[4:], 0)
    nothing, gradient = jax.value_and_grad(loss)(scores, y, jnp.zeros(6))
    assert nothing == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize(("loss", "y"), LOSSES)
def test_targets_have_no_gradient(loss, y):
    gradient = jax.grad(loss, argnums=1, allow_int=True)(jnp.ones((6, 4)), y)
    assert gradient.dtype == jax.dtypes.float0 or not gradient.any()


@pytest.mark.parametrize(("loss", "y"), LOSSES)
def test_bfloat16_scores_are_summed_in_float32(loss, y):
    scores, y = jnp.tile(NUMBERS.astype(jnp.bfloat16), (200, 1)), jnp.concatenate([y] * 200)
    value, gradient = jax.value_and_grad(loss)(scores, y)
    assert (value.dtype, gradient.dtype) == (jnp.float32, jnp.bfloat16)
    np.testing.assert_allclose(value, loss(scores.astype(jnp.float32), y), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("loss", "y"), LOSSES)
def test_weights_of_another_shape_are_named(loss, y):
    with pytest.raises(ValueError, match=r"weights \(6, 1\); need \(6,\)"):
        loss(jnp.zeros((6, 4)), y, jnp.ones((6, 1)))


def test_extreme_scores_neither_overflow_nor_vanish():
    scores = jnp.array([[1e4, 0.0], [0.0, -1e4]])
    value, gradient = jax.value_and_grad(layers.softmax_loss)(scores, jnp.array([1, 0]))
    assert value == 5e3
    np.testing.assert_array_equal(gradient, [[0.5, -0.5], [0, 0]])
    value, gradient = jax.value_and_grad(layers.sigmoid_loss)(scores, jnp.array([[0, 1], [1, 1]]))
    np.testing.assert_allclose(value, (1e4 + 2 * np.log(2) + 1e4) / 4, rtol=1e-6)
    np.testing.assert_array_equal(gradient, np.array([[1, -0.5], [-0.5, -1]]) / 4)


def test_uniform_scores_lose_the_logarithm_of_the_number_of_classes():
    np.testing.assert_allclose(layers.softmax_loss(jnp.zeros((3, 10)), jnp.arange(3)), np.log(10), rtol=1e-6)
    np.testing.assert_allclose(layers.svm_loss(jnp.zeros((3, 10)), jnp.arange(3)), 9)


@pytest.mark.parametrize("loss", [layers.softmax_loss, layers.svm_loss])
def test_bad_labels_are_named(loss):
    scores = jnp.zeros((2, 3))
    with pytest.raises(ValueError, match="label 3 is out of range"):
        loss(scores, jnp.array([0, 3]))
    with pytest.raises(ValueError, match="label -1 is out of range"):
        loss(scores, jnp.array([-1, 0]))
    with pytest.raises(ValueError, match=r"y \(3,\)"):
        loss(scores, jnp.array([0, 1, 2]))
    with pytest.raises(ValueError, match="not empty"):
        loss(jnp.zeros((0, 3)), jnp.zeros(0, int))


def test_unsigned_labels_do_not_wrap_around_where_there_are_more_classes_than_they_count():
    scores = jax.random.normal(jax.random.key(0), (3, 300))
    y = np.array([0, 43, 255])
    for loss in (layers.softmax_loss, layers.svm_loss):
        small, large = (jax.value_and_grad(loss)(scores, jnp.asarray(y, dtype)) for dtype in ("uint8", "int32"))
        np.testing.assert_array_equal(small[0], large[0])
        np.testing.assert_array_equal(small[1], large[1])


class TestSoftTargets:
    scores = jax.random.normal(jax.random.key(0), (5, 3))

    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_one_hot_rows_are_labels(self, smoothing):
        y = jnp.array([0, 2, 1, 1, 0])
        hard, soft = (
            jax.value_and_grad(layers.softmax_loss)(self.scores, targets, None, smoothing)
            for targets in (y, jax.nn.one_hot(y, 3))
        )
        np.testing.assert_allclose(soft[0], hard[0], rtol=1e-6)
        np.testing.assert_allclose(soft[1], hard[1], rtol=1e-5, atol=1e-7)

    @pytest.mark.usefixtures("x64")
    def test_rows_that_do_not_quite_sum_to_1_have_the_gradient_of_their_loss(self):
        scores, y = (jnp.asarray(np.random.default_rng(seed).uniform(size=(5, 3))) for seed in range(2))
        got = jax.jit(jax.grad(layers.softmax_loss))(scores, y)  # under `jit`, where sums are not checked
        np.testing.assert_allclose(got, jax.grad(naive.softmax_loss)(scores, y), rtol=1e-10)

    def test_what_is_no_distribution_is_named(self):
        good = jnp.full((5, 3), 1 / 3)
        with pytest.raises(ValueError, match=r"row 2 sum to 0\.75, not 1"):
            layers.softmax_loss(self.scores, good.at[2].set(0.25))
        with pytest.raises(ValueError, match=r"target of -0\.5 is out of range"):
            layers.softmax_loss(self.scores, good.at[2].set(jnp.array([1.0, 0.5, -0.5])))
        with pytest.raises(ValueError, match="target of nan"):
            layers.softmax_loss(self.scores, good.at[2].set(jnp.nan))
        with pytest.raises(ValueError, match=r"y \(5, 2\)"):
            layers.softmax_loss(self.scores, jnp.ones((5, 2)))
        with pytest.raises(TypeError, match="labels must be integers"):
            layers.softmax_loss(self.scores, jnp.ones(5))
        with pytest.raises(ValueError, match=r"need \(batch, classes\) and \(batch,\)"):
            layers.svm_loss(self.scores, good)


class TestSigmoidLoss:
    @pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float32"])
    def test_equals_the_mean_of_scikit_learns_log_losses(self, dtype):
        scores, y = np.asarray(NUMBERS), np.arange(24).reshape(6, 4) % 3 == 0
        p, weights = 1 / (1 + np.exp(-scores)), np.arange(1.0, 7)
        expected = np.mean([sklearn.metrics.log_loss(y[:, k], p[:, k], sample_weight=weights) for k in range(4)])
        np.testing.assert_allclose(
            layers.sigmoid_loss(NUMBERS, jnp.asarray(y, dtype), jnp.asarray(weights, jnp.float32)), expected, rtol=1e-5
        )

    def test_bad_targets_are_named(self):
        with pytest.raises(ValueError, match="target of 2 is out of range"):
            layers.sigmoid_loss(jnp.zeros((2, 3)), jnp.full((2, 3), 2))
        with pytest.raises(ValueError, match=r"scores \(2, 3\), y \(2,\)"):
            layers.sigmoid_loss(jnp.zeros((2, 3)), jnp.zeros(2, int))
        with pytest.raises(TypeError, match="y has type complex64"):
            layers.sigmoid_loss(jnp.zeros((2, 3)), jnp.zeros((2, 3), complex))
        with pytest.raises(ValueError, match="not empty"):
            layers.sigmoid_loss(jnp.zeros((0, 3)), jnp.zeros((0, 3)))


class TestRegression:
    outputs, y, weights = NUMBERS, jnp.cos(7 * NUMBERS), jnp.arange(1.0, 7)

    def test_squared_loss_equals_scikit_learns(self):
        expected = sklearn.metrics.mean_squared_error(self.y, self.outputs, sample_weight=self.weights)
        np.testing.assert_allclose(layers.squared_loss(self.outputs, self.y, self.weights), expected, rtol=1e-5)

    @pytest.mark.parametrize("delta", [0.3, 1.0, 100.0])
    def test_huber_loss_equals_optax(self, delta):
        expected = optax.huber_loss(self.outputs, self.y, delta=delta).mean()
        np.testing.assert_allclose(layers.huber_loss(self.outputs, self.y, delta=delta), expected, rtol=1e-5)

    def test_quantile_loss_equals_scikit_learns_with_all_quantiles_of_a_target_side_by_side(self):
        q, y = (0.1, 0.8), self.y[:, :2]
        expected = np.mean(
            [
                sklearn.metrics.mean_pinball_loss(
                    y[:, k], self.outputs[:, 2 * k + i], sample_weight=self.weights, alpha=q[i]
                )
                for k in range(2)
                for i in range(2)
            ]
        )
        for quantiles in (q, list(q), np.array(q, np.float32), jnp.array(q)):
            got = layers.quantile_loss(self.outputs, y, self.weights, quantiles)
            np.testing.assert_allclose(got, expected, rtol=1e-5)

    def test_the_best_constant_is_the_quantile(self):
        y = jnp.arange(1.0, 100)[:, None]
        gradient = jax.grad(lambda c: layers.quantile_loss(jnp.full((99, 1), c), y, quantiles=(0.8,)))
        assert gradient(79.5) < 0 < gradient(80.5)

    def test_what_is_met_exactly_has_no_gradient(self):
        for loss in (layers.squared_loss, layers.huber_loss, layers.quantile_loss):
            np.testing.assert_array_equal(jax.grad(loss)(self.y, self.y), 0)

    @pytest.mark.parametrize("loss", [layers.squared_loss, layers.huber_loss, layers.quantile_loss])
    def test_bad_targets_are_named(self, loss):
        with pytest.raises(ValueError, match=r"outputs \(6, 4\), y \(6,\)"):
            loss(self.outputs, self.y[:, 0])
        with pytest.raises(ValueError, match="not empty"):
            loss(jnp.zeros((0, 1)), jnp.zeros((0, 1)))
        with pytest.raises(TypeError, match="y has type bool"):
            loss(self.outputs, self.y > 0)
        np.testing.assert_allclose(loss(self.outputs, jnp.ones((6, 4), int)), loss(self.outputs, jnp.ones((6, 4))))

    @pytest.mark.parametrize("delta", [0, -1.0, float("nan")])
    def test_a_delta_that_is_not_positive_is_named(self, delta):
        with pytest.raises(ValueError, match=f"delta={delta}"):
            layers.huber_loss(self.outputs, self.y, delta=delta)

    @pytest.mark.parametrize("quantiles", [(0.5, 1.0), (0.0,), (float("nan"),), np.array([-0.1])])
    def test_a_quantile_out_of_range_is_named(self, quantiles):
        with pytest.raises(ValueError, match=r"must be numbers in \(0, 1\)"):
            layers.quantile_loss(jnp.zeros((6, len(quantiles))), self.y[:, :1], quantiles=quantiles)
