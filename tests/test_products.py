"""Matrix products in the forms that a CPU multiplies fast: right numbers, and the fast ones in compiled programs."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfc import Classification, FCNet, ResidualNet, init_state
from jaxfc.data import Normalizer
from jaxfc.layers import precision
from jaxfc.layers.products import IN_CACHE, _sums_by_product, column_sums, laid_out, product, product_nt, product_tn
from jaxfc.optim import adam
from jaxfc.training.step import take_step

SHAPES = ((1, 1, 1), (5, 3, 2), (40, 300, 7), (33, 100, 100), (128, 640, 384), (130, 257, 31), (64, 1, 64))


def factors(*shapes, dtype):
    rng = np.random.default_rng(sum(shapes, ()))
    return [jnp.asarray(rng.integers(-8, 9, shape), dtype) for shape in shapes]  # sums are exact


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("k", "m", "n"), SHAPES)
def test_products_are_those_of_numpy(k, m, n, dtype):
    a, b, right = factors((k, m), (k, n), (n, m), dtype=dtype)
    wide = [np.asarray(each, np.float64) for each in (a, b, right)]
    for function, args, expected in (
        (product, (a.T, b), wide[0].T @ wide[1]),
        (product_tn, (a, b), wide[0].T @ wide[1]),
        (product_nt, (a, right), wide[0] @ wide[2].T),
    ):
        out = jax.jit(function)(*args)
        assert out.dtype == jnp.float32
        np.testing.assert_array_equal(out, expected)


def test_products_of_a_population_are_those_of_its_members():
    x, dy, w = factors((40, 300), (6, 40, 70), (6, 300, 70), dtype="float32")
    for function, args, axes in ((product_tn, (x, dy), (None, 0)), (product_nt, (dy, w), (0, 0))):
        together = jax.jit(jax.vmap(function, axes))(*args)
        for i in range(6):
            alone = function(*(arg if axis is None else arg[i] for arg, axis in zip(args, axes, strict=True)))
            np.testing.assert_array_equal(together[i], alone)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_sums_by_the_matrix_unit_are_sums(dtype):
    (x,) = factors((130, 7), dtype=dtype)
    expected = np.asarray(x, np.float64).sum(axis=0)
    for sums in (column_sums(x), _sums_by_product(jnp.float32, x)):
        assert sums.dtype == jnp.float32
        np.testing.assert_array_equal(sums, expected)


def test_sums_are_products_on_a_tpu_alone_and_in_all_digits():
    traced = jax.jit(column_sums).trace(jax.ShapeDtypeStruct((130, 7), jnp.float32))
    on_tpu, on_gpu = (traced.lower(lowering_platforms=(name,)).as_text() for name in ("tpu", "cuda"))
    assert "dot_general" in on_tpu
    assert "precision = [HIGHEST, HIGHEST]" in on_tpu
    assert "dot_general" not in on_gpu


@pytest.mark.parametrize("shape", [(3, 5), (512, 96), (512, 257), (300, 2048), (1000, 10)])
def test_what_is_laid_out_is_the_transposition(shape):
    (x,) = factors(shape, dtype="bfloat16")
    np.testing.assert_array_equal(jax.jit(laid_out)(x), x.T)


def test_large_matrices_are_transposed_in_two_steps_and_small_ones_in_one():
    def transpositions(rows, columns):
        x = jax.ShapeDtypeStruct((rows, columns), jnp.float32)
        return jax.jit(laid_out).lower(x).as_text().count("stablehlo.transpose")

    assert transpositions(32, 64) == 1
    assert IN_CACHE < 512 * 512 * 4
    assert transpositions(512, 512) == 2
    assert transpositions(512, 509) == 1  # a prime: no blocks


# ---------------------------------------------------------------------------------------------------
# Compiled programs
# ---------------------------------------------------------------------------------------------------

DOT = re.compile(r"= (\w+)\[([\d,]+)\]\S* dot\(%(\S+), %(\S+)\), (.*?)(?:, metadata|$)", re.MULTILINE)
LARGE = 2**20  # multiplications, of a member: what is ten columns wide, such as a head, may be widened


def products_of(text):
    """Every large product in a compiled program: its computation, types of result and factors, dimensions."""
    for body in re.split(r"\n(?=%|ENTRY)", text):
        name = body.split(" ", 1)[0].lstrip("%")
        types = dict(re.findall(r"%(\S+) = (\w+\[[\d,]*\])", body))
        for result, shape, left, right, how in DOT.findall(body):
            contracted = [int(d) for d in re.search(r"lhs_contracting_dims={(\d+)}", how).groups()]
            sizes = [int(d) for d in re.search(r"\[(.*)\]", types[left]).group(1).split(",")]
            rows_and_columns = [int(d) for d in shape.split(",")][-2:]
            if np.prod(rows_and_columns) * sizes[contracted[0]] >= LARGE:
                yield name, result, (types[left].split("[")[0], types[right].split("[")[0]), how


def assert_all_fast(text):
    """Assert that every large product has factors in bfloat16, row by row, and is multiplied by the fast library."""
    fast = set(re.findall(r'calls=%(\S+?),.*?"__ynn_fusion"', text))
    found = list(products_of(text))
    assert found
    for name, result, types, how in found:
        assert result == "f32", how
        assert types == ("bf16", "bf16"), how
        batch = len(re.findall(r"lhs_batch_dims", how))
        assert f"lhs_contracting_dims={{{1 + batch}}}" in how, how
        assert f"rhs_contracting_dims={{{batch}}}" in how, how
        assert name in fast, name
    return len(found)


@pytest.fixture
def bfloat16_cpu():
    if jax.default_backend() != "cpu" or not precision.FLAGS & precision.cpu_flags():
        pytest.skip("no CPU with instructions for bfloat16 (AVX512-BF16 or AMX)")
    if jax.__version_info__ < (0, 10, 1):
        pytest.skip("before jaxlib 0.10.1 a program does not tell which library multiplies")


NETWORKS = (
    FCNet(640, (256, 128), 10, normalization="batchnorm", dropout_keep_ratio=0.5, compute_dtype="bfloat16", reg=1e-4),
    ResidualNet(640, 256, 1, 10, expansion=2, compute_dtype="bfloat16"),
)


@pytest.mark.usefixtures("bfloat16_cpu")
@pytest.mark.parametrize(
    ("net", "members"),
    [(NETWORKS[0], None), (NETWORKS[0], 3), (NETWORKS[1], None)],
    ids=["plain", "population", "residual"],
)
def test_every_large_product_of_a_step_is_a_fast_one(net, members):
    def step(state, x, y):
        return take_step(net, adam, state, x, y, Normalizer(jnp.zeros(640), jnp.ones(())), task=Classification())

    def begin(key):
        return init_state(net, adam, key)

    keys = jax.random.key(0) if members is None else jax.random.split(jax.random.key(0), members)
    state = jax.eval_shape(begin if members is None else jax.vmap(begin), keys)
    x, y = jax.ShapeDtypeStruct((256, 640), jnp.uint8), jax.ShapeDtypeStruct((256,), jnp.int32)
    function = step if members is None else jax.vmap(step, (0, None, None))
    # Each layer's forward product and its two backward ones, but for that of the first layer's inputs.
    assert assert_all_fast(jax.jit(function).lower(state, x, y).compile().as_text()) >= 5


@pytest.mark.usefixtures("bfloat16_cpu")
@pytest.mark.parametrize("net", NETWORKS, ids=["plain", "residual"])
def test_every_large_product_of_a_prediction_is_a_fast_one(net):
    params, stats = jax.eval_shape(net.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((1000, 640), jnp.float32)
    text = jax.jit(lambda *args: net.apply(*args)[0]).lower(params, stats, x).compile().as_text()
    assert assert_all_fast(text) >= 2


# ---------------------------------------------------------------------------------------------------
# Processors without instructions for bfloat16
# ---------------------------------------------------------------------------------------------------


def test_where_bfloat16_is_slow_a_network_computes_in_its_parameters_type_and_says_so_once(monkeypatch):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: False)
    precision._say_once.cache_clear()
    net = FCNet(4, (8,), 3, compute_dtype="bfloat16")
    with pytest.warns(UserWarning, match="bfloat16.*no instructions"):
        assert net.dtype == jnp.float32
    assert net.dtype == jnp.float32  # without another warning, which would be an error here
    assert FCNet(4, (8,), 3, param_dtype="bfloat16").dtype == jnp.bfloat16
    text = jax.jit(lambda *a: net.apply(*a)[0]).lower(*net.init(jax.random.key(0)), jnp.ones((2, 4))).as_text()
    assert "bf16" not in text


def test_flags_are_read_from_the_system(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor : 0\nmodel name : any\nflags\t\t: fpu avx512_bf16 sse\n\nprocessor : 1\nflags : fpu\n")
    assert precision.cpu_flags(file) == {"fpu", "avx512_bf16", "sse"}
    file.write_text("nothing of the kind\n")
    assert precision.cpu_flags(file) == set()
