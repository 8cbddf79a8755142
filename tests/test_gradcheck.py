"""The gradient check itself: it passes what is right, and names what is wrong."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized

import jaxfc
from jaxfc import gradcheck, layers
from jaxfc.gradcheck import check_vjp, compare
from jaxfc.gradcheck.report import cancellation_floor, difference_floor, output_size, relative_errors
from jaxfc.gradcheck.twin import plain_twin
from jaxfc.layers import differentiable


def plain_affine(x, w, b):
    return x @ w + b[None, :]


def right(cache, dout):
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)


def affine(backward=right, forward=lambda x, w, b: (plain_affine(x, w, b), (x, w))):
    function = jax.custom_vjp(plain_affine)
    function.defvjp(forward, backward)
    return function


def wrong_in(which, change):
    """The affine layer, one of its gradients changed."""

    def backward(cache, dout):
        gradients = list(right(cache, dout))
        gradients[which] = change(gradients[which])
        return tuple(gradients)

    return affine(backward)


@pytest.fixture(scope="module")
def inputs():
    generator = np.random.default_rng(0)
    return tuple(jnp.asarray(generator.normal(size=shape), jnp.float32) for shape in ((4, 5), (5, 3), (3,)))


def complaint(f, *args, **options):
    with pytest.raises(AssertionError) as raised:
        check_vjp(f, *args, **options)
    return str(raised.value)


def test_every_layer_passes():
    rows = gradcheck.check_layers(seed=1)
    assert all(row.passed for row in rows), gradcheck.table(rows)
    assert all(row.autodiff is not None for row in rows)
    names = {row.function for row in rows}
    assert {"affine", "batchnorm", "layernorm", "dropout", "softmax_loss", "svm_loss", "relu", "gelu"} <= names
    assert f"{len(rows)} of {len(rows)} passed" in gradcheck.table(rows)


@pytest.mark.parametrize("x64", [False, True])
def test_a_right_layer_passes_and_the_process_keeps_its_settings(inputs, x64):
    with jax.enable_x64(x64), jax.default_matmul_precision("bfloat16"):
        report = jaxfc.gradcheck.check_vjp(affine(), *inputs)
        assert jax.config.jax_enable_x64 == x64
        assert jax.config.jax_default_matmul_precision == "bfloat16"
        with pytest.raises(AssertionError):
            check_vjp(wrong_in(0, lambda dx: 2 * dx), *inputs)
        assert jax.config.jax_enable_x64 == x64
    assert [(row.argument, row.shape) for row in report.rows] == [("x", (4, 5)), ("w", (5, 3)), ("b", (3,))]
    assert all(row.autodiff < 1e-14 and row.difference < 1e-8 and not row.hint for row in report.rows)
    assert "3 of 3 passed" in str(report)


@pytest.mark.parametrize("error", [1e-8, 1e-3])
def test_the_one_wrong_entry_is_named(inputs, error):
    f = wrong_in(1, lambda dw: dw.at[2, 1].multiply(1 + error))
    message = complaint(f, *inputs)
    assert "plain_affine: the hand-written gradient by w is wrong in 1 of 15 entries, most in w[2, 1]" in message
    by_x, by_w, by_b = compare(f, *inputs).rows
    assert by_x.passed
    assert by_b.passed
    assert (by_w.difference > gradcheck.DIFFERENCE_TOLERANCE) == (error == 1e-3)  # where float64's differences end
    entry = by_w.worst
    assert entry.index == (2, 1)
    assert entry.hand == pytest.approx((1 + error) * entry.autodiff, rel=1e-14)
    assert repr(entry.hand) in message
    assert repr(entry.autodiff) in message
    assert by_w.autodiff == pytest.approx(error / (2 + error), rel=1e-6)


def test_a_wrong_scale_is_recognized(inputs):
    assert "It is 0.25 times what it should be" in complaint(wrong_in(1, lambda dw: dw / 4), *inputs)


def test_a_rule_that_ignores_the_cotangent_is_found():
    loss = jax.custom_vjp(lambda x: jnp.sum(x**2))
    loss.defvjp(lambda x: (jnp.sum(x**2), x), lambda x, dout: (2 * x,))
    assert float(jax.grad(loss)(jnp.ones(2))[0]) == 2  # jax.grad passes 1, and so hides it
    assert "wrong in 3 of 3" in complaint(loss, jnp.arange(1.0, 4))


def test_a_sum_over_the_batch_that_was_forgotten_is_a_wrong_shape(inputs):
    message = complaint(affine(lambda cache, dout: (*right(cache, dout)[:2], dout)), *inputs)
    assert "float64[4,3]" in message
    assert "float64[3]" in message


def test_a_wrong_type_is_named(inputs):
    message = complaint(wrong_in(1, lambda dw: dw.astype(jnp.float32)), *inputs)
    assert "returns float32 for w" in message


def test_a_gradient_of_none_is_named(inputs):
    assert "return None" in complaint(wrong_in(2, lambda db: None), *inputs)


def test_a_gradient_that_is_not_a_number_fails(inputs):
    (row, *_) = compare(wrong_in(0, lambda dx: dx.at[1, 2].set(jnp.nan)), *inputs).rows
    assert not row.passed
    assert (row.off, row.worst.index, row.autodiff) == (1, (1, 2), np.inf)


def test_a_forward_rule_of_another_value_is_found(inputs):
    f = affine(forward=lambda x, w, b: (plain_affine(x, w, 2 * b), (x, w)))
    assert "the forward rule of plain_affine returns" in complaint(f, *inputs)


def test_a_wrong_reference_is_found(inputs):
    assert "the plain twin" in complaint(affine(), *inputs, reference=lambda x, w, b: x @ w - b[None, :])
    assert "float64[3, 4]" in complaint(affine(), *inputs, reference=lambda x, w, b: plain_affine(x, w, b).T)
    check_vjp(affine(), *inputs, reference=plain_affine)

    def other_gradient(x, w, b):
        return plain_affine(x, w, jax.lax.stop_gradient(b))

    message = complaint(affine(), *inputs, reference=other_gradient)
    assert "by b is wrong in 3 of 3" in message


@pytest.mark.parametrize(
    "wrap",
    [
        jax.jit,
        lambda f: lambda *args: f(*args),
        lambda f: functools.partial(f),
        lambda f: jax.jit(lambda *args: jax.jit(f)(*args)),
        lambda f: lambda *args: {"a": f(*args), "b": (f(*args) ** 2, jnp.arange(3))},
    ],
)
@pytest.mark.parametrize("wrong", [False, True])
def test_the_plain_twin_is_found_through_what_wraps_a_layer(inputs, wrap, wrong):
    f = wrong_in(2, lambda db: db * (1 + 1e-8)) if wrong else affine()
    *others, by_b = compare(wrap(f), *inputs).rows
    assert all(row.passed for row in others)
    assert by_b.passed != wrong
    assert by_b.autodiff is not None


def test_where_a_rule_cannot_be_taken_out_differences_are_compared(inputs):
    def repeated(f):
        return lambda x, w, b: jax.lax.scan(lambda sum, _: (sum + f(x, w, b), None), 0 * (x @ w), None, length=2)[0]

    report = check_vjp(repeated(affine()), *inputs)
    assert all(row.autodiff is None for row in report.rows)
    assert "only differences" in str(report)
    assert "by x is wrong" in complaint(repeated(wrong_in(0, lambda dx: 1.001 * dx)), *inputs)
    # jaxfc's own layers differentiate plainly anywhere.
    assert all(row.autodiff is not None for row in check_vjp(repeated(layers.affine), *inputs).rows)
    assert check_vjp(jnp.sin, inputs[0]).rows[0].autodiff is None  # its own twin: no second opinion


def test_pytrees_labels_keys_and_other_constants():
    def loss(params, x, y, key, name, negated=None):
        hidden = layers.dropout(layers.ACTIVATIONS[name](x @ params["w"][0]), 0.5, key)
        return {"loss": layers.softmax_loss(hidden + params["b"][None, :], y), "right": y, "negated": negated}

    generator = np.random.default_rng(1)
    params = {"w": [generator.normal(size=(5, 3))], "b": generator.normal(size=3).astype(np.float32), "scale": 2.0}
    x, y = generator.normal(size=(4, 5)), jnp.array([0, 2, 1, 1])
    report = check_vjp(loss, params, x, y, jax.random.key(0), "tanh")
    assert [row.argument for row in report.rows] == ["params['b']", "params['w'][0]", "x"]
    report = check_vjp(loss, params, x, y, jax.random.key(0), "tanh", argnums=-4)
    assert [row.argument for row in report.rows] == ["x"]


def test_constants_and_aux():
    generator = np.random.default_rng(2)
    x, vector = generator.normal(size=(6, 3)), np.abs(generator.normal(size=3))
    arguments = (x, vector, vector, vector, vector)
    check_vjp(layers.batchnorm, *arguments, argnums=(0, 1, 2), has_aux=True)
    assert "leave it out by argnums" in complaint(layers.batchnorm_test, *arguments)
    assert "slope" in complaint(layers.leaky_relu, x, 0.2, argnums=(0, 1))
    check_vjp(layers.leaky_relu, x, 0.2)

    def loss(x, rate):
        assert type(rate) is float  # a constant arrives as it was
        return rate * layers.tanh(x)

    check_vjp(loss, x, 0.5, argnums=0)


def test_a_kink_within_the_step_fails_and_is_recognized():
    assert "kink" in complaint(layers.relu, jnp.array([1.0, 1e-6]))
    check_vjp(layers.relu, jnp.array([1.0, 1e-4]))


def test_entries_that_cancel_to_nothing_pass():
    softmax = differentiable(
        lambda x: (jax.nn.softmax(x), jax.nn.softmax(x)), lambda dout, p: p * (dout - jnp.sum(dout * p))
    )
    report = check_vjp(lambda x: 1e3 * jnp.sum(softmax(x)), jnp.linspace(-2, 3, 7))
    assert report.rows[0].hint == "too small for differences"


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_check_holds_at_any_scale(scale):
    x = scale * jnp.linspace(1, 2, 5)
    check_vjp(lambda x: layers.l2_penalty(x, 1.0), x)
    wrong = differentiable(layers.l2_penalty_forward, lambda dout, cache: 1.001 * dout * cache[1] * cache[0])
    (row,) = compare(lambda x: wrong(x, 1.0), x).rows
    assert row.off == 5
    assert row.difference == pytest.approx(5e-4, rel=0.1)


class MyLayer(chex.TestCase):
    """The check inside of chex's variants."""

    @chex.variants(with_jit=True, without_jit=True, with_device=True)
    @parameterized.parameters((2, 3), (1, 1))
    def test_affine(self, batch, units):
        x, w, b = jnp.ones((batch, 4)), jnp.full((4, units), 0.5), jnp.arange(1.0, 1 + units)
        report = check_vjp(self.variant(affine()), x, w, b)
        assert all(row.autodiff is not None for row in report.rows)
        with pytest.raises(AssertionError, match=r"w\[3, 0\]"):
            check_vjp(self.variant(wrong_in(1, lambda dw: dw.at[3, 0].multiply(1.001))), x, w, b)


@pytest.mark.parametrize(
    ("error", "match", "f", "args", "options"),
    [
        (TypeError, r"\(int, float\)", lambda x, y: x, (1, 2.0), {}),
        (TypeError, "no arguments", lambda: 1.0, (), {}),
        (TypeError, "x is complex", layers.tanh, (np.ones(2) + 1j,), {}),
        (TypeError, "no array of floats", lambda x: jnp.argmax(x), (np.ones(2),), {}),
        (TypeError, "float32", lambda x: layers.tanh(x.astype(jnp.float32)), (np.ones(2),), {}),
        (ValueError, "returns nan", lambda x: layers.tanh(x) / 0, (np.zeros(2),), {}),
        (ValueError, "argnums=1", layers.tanh, (np.ones(2),), {"argnums": 1}),
        (ValueError, "seed=-1", layers.tanh, (np.ones(2),), {"seed": -1}),
        (ValueError, "step=0", layers.tanh, (np.ones(2),), {"step": 0.0}),
        (ValueError, "difference_tolerance=nan", layers.tanh, (np.ones(2),), {"difference_tolerance": np.nan}),
    ],
)
def test_what_cannot_be_checked_is_named(error, match, f, args, options):
    with pytest.raises(error, match=match):
        check_vjp(f, *args, **options)


def test_a_tracer_is_named():
    with pytest.raises(TypeError, match="x is a tracer"):
        jax.jit(lambda x: check_vjp(layers.tanh, x))(jnp.ones(2))


def test_an_empty_array_passes():
    assert check_vjp(layers.tanh, jnp.ones((0, 3))).rows[0].autodiff == 0


def test_the_twin_computes_the_same(inputs):
    def f(x, w, b):
        return (
            layers.dropout(layers.layernorm(layers.affine(x, w, b), b, b), 0.5, jax.random.key(3))
            * jnp.arange(3.0)[None, :]
        )

    (out,) = plain_twin(f, *inputs)(*inputs)
    np.testing.assert_allclose(out, f(*inputs), rtol=1e-5)  # it is one program, and rounds as such
    assert plain_twin(plain_affine, *inputs) is None


@pytest.mark.usefixtures("x64")
def test_numerical_vjp_of_a_linear_map_is_its_transpose():
    w, dout = jnp.arange(6.0).reshape(2, 3), jnp.array([1.0, -2.0, 0.5])
    (dx,) = gradcheck.numerical_vjp(lambda x: x @ w, (jnp.ones(2),), dout)
    np.testing.assert_allclose(dx, w @ dout, rtol=1e-9)


def test_relative_errors():
    errors = relative_errors([1.0, 1.0, 0.0, np.nan], [1.0, 3.0, 1e-9, 1.0], floor=1e-8)
    np.testing.assert_array_equal(errors, [0, 0.5, 0.1, np.inf])


def test_floors():
    assert output_size([np.array([3.0, 0.5])], [np.array([1.0, -4.0])]) == 5
    assert cancellation_floor(1.0, [np.array([0.0, -30.0, np.inf])]) == pytest.approx(3e-3)
    assert cancellation_floor(1e6, [np.zeros((0, 2)), np.ones(1)]) == 10
    np.testing.assert_allclose(difference_floor(1.0, np.array([1e-5, 1e-3]), 1e-6), [3.55e-4, 3.55e-6], rtol=1e-2)
