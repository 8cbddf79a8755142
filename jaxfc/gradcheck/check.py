"""A hand-written VJP beside autodiff and centred differences."""

import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from jaxfc.errors import check_number
from jaxfc.gradcheck.report import (
    AUTODIFF_TOLERANCE,
    DIFFERENCE_TOLERANCE,
    Report,
    cancellation_floor,
    compare_gradients,
    complaint,
    difference_floor,
    output_size,
    relative_errors,
)
from jaxfc.gradcheck.twin import plain_twin
from jaxfc.layers.vjp import plain_autodiff

STEP = 1e-5


def check_vjp(f: Callable, *args: Any, **options: Any) -> Report:
    """Raise unless the hand-written VJP of `f` at `args` agrees with autodiff and with centred differences.

    Every entry of every gradient is compared, in float64 and at full matrix-product precision, whatever the process's
    settings; these are left as they were. Small arrays do: each entry costs two evaluations of `f`. Where `f` has a
    kink, as relu at 0, pass values further from it than the step: a difference would reach over it.

    Args:
        f: the function, made by `jax.custom_vjp` or `jaxfc.layers.differentiable`, or of such functions; from any
            pytrees to any pytree.
        *args: its arguments. Arrays of floats, in pytrees too, are cast to float64 and differentiated; integers, keys,
            Python's numbers and everything else are constants. (What `f` closes over is used as it is.)
        **options: the keyword arguments of `compare`.

    Returns:
        The report of what was compared.

    Raises:
        AssertionError: a gradient is wrong in value, shape or type, or the forward rule or the twin returns another
            value than `f`. The message names the worst entry, and what each of the three ways gives for it.
        TypeError: an argument is complex or a tracer (the check runs outside of `jit`), no argument is an array of
            floats, or `f` returns no array of floats or casts to another type than float64.
        ValueError: an option is out of range, or `f` is not finite at `args`.

    >>> import jax, jax.numpy as jnp
    >>> @jax.custom_vjp
    ... def scale(x, w):
    ...     return x * w[None, :]
    >>> def forward(x, w):
    ...     return scale(x, w), (x, w)
    >>> def backward(cache, dy):
    ...     x, w = cache
    ...     return dy * w[None, :], (dy * x).sum(axis=0)
    >>> scale.defvjp(forward, backward)
    >>> report = check_vjp(scale, jnp.ones((4, 3)), jnp.arange(3.0))
    >>> [(row.argument, row.shape, row.passed) for row in report.rows]
    [('x', (4, 3), True), ('w', (3,), True)]
    """
    report = compare(f, *args, **options)
    if not report.passed:
        raise AssertionError(complaint(report))
    return report


def compare(
    f: Callable,
    *args: Any,
    reference: Callable | None = None,
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    seed: int = 0,
    step: float = STEP,
    autodiff_tolerance: float = AUTODIFF_TOLERANCE,
    difference_tolerance: float = DIFFERENCE_TOLERANCE,
) -> Report:
    """Compare as `check_vjp` does, and return the report also where a gradient is wrong.

    Args:
        f: the function.
        *args: its arguments.
        reference: the plain twin, a function of the same arguments. By default it is `f` with the hand-written rules
            taken out; where that cannot be (inside `lax.scan`, say), differences are all there is to compare with.
        argnums: the positions of the arguments to differentiate, among which Python's floats may be; by default,
            those of all arrays of floats.
        has_aux: `f` returns `(out, aux)`, and `aux` is a constant.
        seed: of the cotangent.
        step: $h$; times $|x_i|$ for an entry above 1.
        autodiff_tolerance: the greatest relative error allowed against autodiff.
        difference_tolerance: and against differences.

    Returns:
        The report.

    Raises:
        AssertionError: shapes, types or forward values differ, so that gradients cannot be compared.
        TypeError: as `check_vjp`.
        ValueError: as `check_vjp`.

    >>> from jaxfc.layers import tanh
    >>> report = compare(tanh, jnp.array([0.5, -1.0]))
    >>> report.passed, report.rows[0].argument
    (True, 'x')
    """
    check_number("seed", seed, low=0, high=2**31 - 1)
    tolerances = (autodiff_tolerance, difference_tolerance)
    for option, value in zip(("step", "autodiff_tolerance", "difference_tolerance"), (step, *tolerances), strict=True):
        check_number(option, value, low=0, exclude="low")
    name = getattr(f, "__name__", type(f).__name__)
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        arguments, rebuild = _split(f, args, argnums)
        values = tuple(arguments.values())

        def of_values(function: Callable) -> Callable:
            """The function of the differentiated arrays alone, to a list of the arrays of floats that it returns."""

            def outputs(*values: Array) -> list[Array]:
                out = function(*rebuild(values))
                return [leaf for leaf in jax.tree.leaves(out[0] if has_aux else out) if _has_type(leaf, jnp.floating)]

            return outputs

        mine = of_values(f)
        out = _evaluate(mine, *values)
        _check_output(name, out)
        dout = _cotangent(out, seed)
        hand = _vjp_by_hand(name, mine, arguments, out, dout)
        twin = of_values(reference) if reference else plain_twin(mine, *values)
        automatic = _vjp_of_twin(name, twin, values, out, dout) if twin else (None,) * len(values)
        numerical = _evaluate(lambda *values: numerical_vjp(mine, values, dout, step), *values)
        steps = [np.asarray(_steps(value, step)) for value in values]
    size = output_size(out, dout)
    floor = cancellation_floor(size, automatic if twin else hand)
    rows = []
    for argument, h, *gradients in zip(arguments, steps, hand, automatic, numerical, strict=True):
        floors = (floor, difference_floor(size, h, difference_tolerance))
        rows.append(compare_gradients(name, argument, *gradients, floors, tolerances))
    return Report(tuple(rows))


def numerical_vjp(f: Callable, args: tuple[Array, ...], dout: Any, step: float = STEP) -> tuple[Array, ...]:
    r"""VJP by centred differences, $\sum_j dy_j \frac{f_j(x + h e_i) - f_j(x - h e_i)}{2h}$ for each entry $i$.

    Args:
        f: a function of arrays, to any pytree of arrays.
        args: the arrays.
        dout: the cotangent, a pytree like what `f` returns.
        step: $h$; times $|x_i|$ for an entry above 1.

    Returns:
        An array of each argument's shape.

    >>> numerical_vjp(jnp.square, (jnp.array([1.0, 3.0]),), jnp.ones(2), step=0.25)
    (Array([2., 6.], dtype=float32),)
    """

    def by(which: int) -> Array:
        x = args[which]
        steps = _steps(x, step).ravel()

        def entry(i: Array) -> Array:
            h = steps[i]
            shift = jnp.where(jnp.arange(x.size) == i, steps, 0).reshape(x.shape)
            right, left = (f(*args[:which], x + s, *args[which + 1 :]) for s in (shift, -shift))
            changes = jax.tree.map(lambda d, r, l: jnp.sum(d * (r - l)), dout, right, left)
            return jax.tree.reduce(operator.add, changes) / (2 * h)

        # In blocks: all entries at once would need memory for as many evaluations of f.
        return lax.map(entry, jnp.arange(x.size), batch_size=256).reshape(x.shape) if x.size else x

    return tuple(by(which) for which in range(len(args)))


def _steps(x: Array, step: float) -> Array:
    return step * jnp.maximum(1, jnp.abs(x))


# ---------------------------------------------------------------------------------------------------
# The function and its twin
# ---------------------------------------------------------------------------------------------------


def _has_type(leaf: Any, kind: type) -> bool:
    """Whether a leaf is an array of numbers of a kind."""
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, kind)


def _split(f: Callable, args: tuple, argnums: Any) -> tuple[dict[str, Array], Callable]:
    """Return the arrays to differentiate, by name and in float64, and what puts others like them among `args`."""
    positions = range(len(args)) if argnums is None else np.atleast_1d(argnums).tolist()
    if any(not -len(args) <= position < len(args) for position in positions):
        raise ValueError(f"argnums={argnums!r}: {len(args)} arguments were passed")
    chosen = {position % len(args) for position in positions}
    parameters = _parameters(f, len(args))
    paths, structure = jax.tree_util.tree_flatten_with_path(args)
    leaves, names = [], {}
    for i, (path, leaf) in enumerate(paths):
        position, name = path[0].idx, parameters[path[0].idx] + jax.tree_util.keystr(path[1:])
        if isinstance(leaf, jax.core.Tracer):
            raise TypeError(f"{name} is a tracer: the check compares numbers, so call it outside of jit, grad and vmap")
        if _has_type(leaf, jnp.complexfloating):
            raise TypeError(f"{name} is complex: only gradients by real numbers are compared")
        array, number = _has_type(leaf, jnp.floating), isinstance(leaf, float) and argnums is not None
        wanted = position in chosen and (array or number)
        if wanted:
            names[i] = name
        if wanted or array:
            leaf = jnp.asarray(np.asarray(leaf, np.float64))
        leaves.append(leaf)
    if not names:
        given = ", ".join(type(arg).__name__ for arg in args) or "no arguments"
        raise TypeError(f"nothing to differentiate among ({given}): pass arrays of floats, as jnp.asarray(x, float) is")

    def rebuild(values: Sequence[Array]) -> tuple:
        replaced = dict(zip(names, values, strict=True))
        return jax.tree.unflatten(structure, [replaced.get(i, leaf) for i, leaf in enumerate(leaves)])

    return {name: leaves[i] for i, name in names.items()}, rebuild


def _parameters(f: Callable, count: int) -> list[str]:
    """What `f` calls its first positional arguments."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):  # of a builtin, say
        parameters = ()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [*names, *(f"argument {i}" for i in range(len(names), count))]


# ---------------------------------------------------------------------------------------------------
# What is compared
# ---------------------------------------------------------------------------------------------------


def _cotangent(out: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """Numbers of size 0.5 to 1.5 and either sign: none so small that an error would hide behind it."""
    generator = np.random.default_rng(seed)
    return [np.asarray(generator.uniform(0.5, 1.5, y.shape) * generator.choice((-1, 1), y.shape)) for y in out]


def _evaluate(f: Callable, *values: Array) -> Any:
    return jax.tree.map(np.asarray, jax.jit(f)(*values))


def _vjp(f: Callable, values: tuple[Array, ...], dout: list[np.ndarray]) -> tuple[list, tuple]:
    """What `f` returns under differentiation, and its VJP."""

    def run(*values: Array) -> tuple[list, tuple]:
        out, vjp = jax.vjp(f, *values)
        return out, vjp([jnp.asarray(d) for d in dout])

    return _evaluate(run, *values)


def _check_output(name: str, out: list[np.ndarray]) -> None:
    if not out:
        raise TypeError(f"{name} returns no array of floats: nothing has a gradient")
    for y in out:
        if y.dtype != np.float64:
            raise TypeError(
                f"{name} returns {y.dtype} from float64: it casts, and less than float64 cannot certify a gradient; "
                "take the type from the arguments"
            )
        if not np.all(np.isfinite(y)):
            raise ValueError(f"{name} returns {y[~np.isfinite(y)][0]} at these arguments: choose others")


def _vjp_by_hand(
    name: str, f: Callable, arguments: dict[str, Array], out: list[np.ndarray], dout: list[np.ndarray]
) -> tuple[np.ndarray, ...]:
    try:
        forward, gradients = _vjp(f, tuple(arguments.values()), dout)
    except (TypeError, ValueError) as error:  # JAX's, where a rule returns what does not fit
        raise AssertionError(f"differentiating {name} fails: {error}") from error
    _check_values(f"the forward rule of {name}", forward, out)
    for argument, gradient in zip(arguments, gradients, strict=True):
        if gradient.dtype != np.float64:
            raise AssertionError(
                f"the backward rule of {name} returns {gradient.dtype} for {argument}, a float64 array"
            )
    return gradients


def _vjp_of_twin(
    name: str, twin: Callable, values: tuple[Array, ...], out: list[np.ndarray], dout: list[np.ndarray]
) -> tuple[np.ndarray, ...]:
    with plain_autodiff():
        types = jax.eval_shape(twin, *values)
        returned, expected = ([f"{y.dtype}{list(y.shape)}" for y in each] for each in (types, out))
        if returned != expected:
            raise AssertionError(f"the plain twin of {name} returns {returned}, not {expected}")
        forward, gradients = _vjp(twin, values, dout)
    _check_values(f"the plain twin of {name}", forward, out)
    return gradients


def _check_values(what: str, out: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for y, right in zip(out, expected, strict=True):
        errors = relative_errors(y, right, floor=1e-4 * max(1e-2, np.max(np.abs(right), initial=0)))
        if errors.max(initial=0) > AUTODIFF_TOLERANCE:
            at = np.unravel_index(np.argmax(errors), errors.shape)
            place = f" at {list(map(int, at))}" if at else ""
            raise AssertionError(f"{what} returns {float(y[at])!r}, not {float(right[at])!r}{place}")
