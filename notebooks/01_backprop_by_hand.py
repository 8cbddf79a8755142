# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: kernelspec,jupytext,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Backpropagation by hand
#
# A network is trained by walking down the gradient of its loss. `jax.grad` computes that gradient; this notebook
# derives it with pen and paper, layer by layer, from one affine layer to the whole network, and then asks a question
# that is as important: how do you know that what you derived is right?
#
# 1. Each layer: its equation, its gradient, the code of both in `jaxfc.layers`, and two checks.
# 2. The whole network, forwards and backwards by hand, against `jax.grad`.
# 3. Why finite differences in float32 cannot certify a gradient, and in float64 can.
# 4. A layer of your own, and its test.

# %%
try:
    import chex

    import jaxfc
except ImportError:
    # %pip install -q chex git+https://github.com/jaxfc/jaxfc
    import chex

    import jaxfc

import jax

print(f"jaxfc {jaxfc.__version__}, JAX {jax.__version__}; devices: {', '.join(map(str, jax.devices()))}")

# %% [markdown]
# The environment variable `JAXFC_NOTEBOOK=quick` makes everything small, to see in under a minute that all cells work.
# The data are the handwritten digits that come with jaxfc; nothing is downloaded.
#
# Gradients are compared in float64 here, and at full precision of matrix products: many accelerators multiply float32
# matrices with far fewer digits unless told otherwise.

# %%
import ast
import inspect
import os

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display

from jaxfc import layers
from jaxfc.gradcheck import check_vjp

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "highest")

# %matplotlib inline
plt.rcParams |= {
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.alpha": 0.35,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
BLUE, ORANGE, RED, GREY = "#2166ac", "#e08214", "#c0202a", "#777777"

QUICK = os.environ.get("JAXFC_NOTEBOOK") == "quick"
generator = np.random.default_rng(0)


def draw(*shape):
    """Normal random numbers in float64."""
    return jnp.asarray(generator.normal(size=shape))


def show(*functions):
    """Show functions' code, without their docstrings."""
    blocks = []
    for function in functions:
        source = inspect.getsource(function)
        definition = ast.parse(source).body[0]
        lines = source.splitlines()
        if ast.get_docstring(definition):
            docstring = definition.body[0]
            del lines[docstring.lineno - 1 : docstring.end_lineno]
        blocks.append("\n".join(lines))
    display(Markdown("\n".join(["```python", "\n\n\n".join(blocks), "```"])))


# %% [markdown]
# ## What travels backwards
#
# Let $L$ be the loss, a single number, and write $dx$ for the array of all $\partial L / \partial x_i$, which has the
# shape of $x$. A layer $y = f(x)$ somewhere in the network does not know the loss. But suppose that somebody hands it
# $dy$: how much the loss changes with each of its *outputs*. Then the chain rule gives how much it changes with each of
# its *inputs*,
#
# $$dx_i = \sum_j dy_j \, \frac{\partial y_j}{\partial x_i} ,$$
#
# and that is what the layer before it needs to be handed. Start at the end, where $dL = 1$, and go through the layers
# from last to first: the whole gradient is there when you arrive.
#
# The sum is a vector times the matrix of all $\partial y_j / \partial x_i$, a **vector-Jacobian product**, VJP. The
# matrix itself is never made. For an affine layer from 3072 to 100 units and a batch of 100 it would have 3 billion
# entries; the product with it is one line, as we are about to see.
#
# So a layer is two functions here: `<name>_forward` returns its output and a cache of what will be needed again, and
# `<name>_backward` takes $dy$ and the cache and returns the gradients by each input. `jaxfc.layers.differentiable` joins
# the two by `jax.custom_vjp` into a function `<name>`, which JAX differentiates by our rule and not by its own.
#
# Two checks follow each derivation. The first is made with [chex](https://chex.readthedocs.io): the layer against a
# *twin*, the same function in a line or two of plain JAX, which `jax.grad` differentiates without our help.


# %%
def agree(layer, twin, *inputs):
    """Raise unless a layer and its twin have the same values, and the same gradients of a randomly weighted sum."""
    dy = draw(*layer(*inputs).shape)

    def gradients(f):
        return jax.grad(lambda inputs: jnp.sum(dy * f(*inputs)))(inputs)

    chex.assert_trees_all_close(layer(*inputs), twin(*inputs), rtol=1e-12, atol=1e-12)
    chex.assert_trees_all_close(gradients(layer), gradients(twin), rtol=1e-10, atol=1e-12)


# %% [markdown]
# The second is `jaxfc.gradcheck.check_vjp`. It finds the twin by itself (the same program with the hand-written rules
# taken out), and besides estimates every entry of the gradient by a centred difference, which knows nothing of
# derivatives at all. It raises an `AssertionError` where an entry differs, and returns a table where none does.
#
# ## Affine: $y = x w + b$
#
# With $x$ a batch of rows, $y_{nj} = \sum_k x_{nk} w_{kj} + b_j$. Ask of each input where it occurs in that sum:
#
# - $x_{nk}$ occurs in row $n$ of the output only, in every column $j$, with the factor $w_{kj}$;
# - $w_{kj}$ occurs in column $j$ only, in every row $n$, with the factor $x_{nk}$;
# - $b_j$ occurs in column $j$, in every row, with the factor 1.
#
# Multiply each occurrence by the $dy_{nj}$ of its place and sum:
#
# $$dx_{nk} = \sum_j dy_{nj} w_{kj}, \qquad dw_{kj} = \sum_n x_{nk}\, dy_{nj}, \qquad db_j = \sum_n dy_{nj} .$$
#
# Those sums are matrix products,
#
# $$dx = dy\, w^T, \qquad dw = x^T dy, \qquad db = \sum_n dy_n .$$
#
# Two things to remember, because they come back in every layer: what is *shared* by the rows of a batch (here $w$ and
# $b$) has its gradient *summed* over them; and a gradient has the shape of what it is the gradient by, which leaves
# only one way to write those products.

# %%
show(layers.affine_forward, layers.affine_backward)

# %% [markdown]
# (The `astype`s let weights in float32 be used with activations in bfloat16; `product_tn(a, b)` is $a^T b$ and
# `product_nt(a, b)` is $a b^T$, with the transposed factor laid out in memory such that a CPU multiplies it fast.)

# %%
x, w, b = draw(6, 5), draw(5, 3), draw(3)
agree(layers.affine, lambda x, w, b: x @ w + b, x, w, b)
print(check_vjp(layers.affine, x, w, b))

# %% [markdown]
# Against autodiff, the same to the last bits of float64. Against differences, to nine digits and more: that is what a
# difference can do, and the subject of the third part.
#
# ## Activations: $y = a(x)$, entry by entry
#
# $y_i$ depends on $x_i$ alone, so the sum has one term:
#
# $$dx_i = dy_i\, a'(x_i) .$$
#
# What is left is to differentiate functions of one variable. Some derivatives are cheapest from the output, and then
# that is what the cache holds: $\tanh' = 1 - \tanh^2$, and for the logistic function $\sigma' = \sigma (1 - \sigma)$.
# For ReLU, $\max(x, 0)$, the derivative is 1 right of 0 and 0 left of it.

# %%
show(layers.relu_forward, layers.relu_backward, layers.tanh_forward, layers.tanh_backward)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), sharex=True)
grid = jnp.linspace(-4, 4, 401)
for name, activation in layers.ACTIVATIONS.items():
    style = "--" if name == "leaky_relu" else "-"
    left.plot(grid, activation(grid), style, label=name)
    right.plot(grid, jax.vmap(jax.grad(activation))(grid), style, label=name)
left.set(title="$a(x)$", xlabel="$x$", ylim=(-1.2, 3))
right.set(title="$a'(x)$, by the hand-written rules", xlabel="$x$", ylim=(-0.2, 1.25))
left.legend()
plt.show()

# %% [markdown]
# At 0, ReLU has a kink and no derivative. Training is not bothered; any number between 0 and 1 does, and 0 is the usual
# choice. A check is: a centred difference that reaches over the kink measures ½. So check at points that are further
# from a kink than the step of the difference, $10^{-5}$.

# %%
away_from_zero = jnp.where(x >= 0, x + 0.01, x - 0.01)
for activation in layers.ACTIVATIONS.values():
    check_vjp(activation, away_from_zero)
print(f"right, away from 0: {', '.join(layers.ACTIVATIONS)}")

try:
    check_vjp(layers.relu, jnp.array([1.0, -1.0, 1e-6]))
except AssertionError as error:
    print("\nAnd with a value within the step:\n")
    print(error)

# %% [markdown]
# ## Batch normalization
#
# Each feature is centred and scaled by the mean and variance that it has in the batch, and then by two learned numbers.
# Features do not meet, so one column is enough to think about, $x_1 \dots x_N$:
#
# $$\mu = \frac1N \sum_n x_n, \quad v = \frac1N \sum_n (x_n - \mu)^2, \quad s = \frac1{\sqrt{v + \epsilon}}, \quad
#   \hat x_n = s\,(x_n - \mu), \quad y_n = \gamma \hat x_n + \beta .$$
#
# The last step is an affine layer with one weight: $d\beta = \sum_n dy_n$, $\; d\gamma = \sum_n dy_n \hat x_n$,
# $\; d\hat x_n = \gamma\, dy_n$.
#
# The rest is where rows meet: each $x_m$ moves $\mu$ and $v$, and through them every $\hat x_n$. With
#
# $$\frac{\partial \mu}{\partial x_m} = \frac1N, \qquad
#   \frac{\partial v}{\partial x_m} = \frac2N (x_m - \mu) = \frac{2 \hat x_m}{N s}, \qquad
#   \frac{\partial s}{\partial v} = -\frac12 s^3$$
#
# (in $\partial v / \partial x_m$ the path through $\mu$ drops out, because $\sum_n (x_n - \mu) = 0$), the product rule
# on $\hat x_n = s\,(x_n - \mu)$ gives three terms:
#
# $$\frac{\partial \hat x_n}{\partial x_m}
#   = s\,\Bigl(\delta_{nm} - \frac1N\Bigr) + (x_n - \mu) \Bigl(-\frac12 s^3\Bigr) \frac{2 \hat x_m}{N s}
#   = s\,\Bigl(\delta_{nm} - \frac1N - \frac1N \hat x_n \hat x_m\Bigr) .$$
#
# Multiply by $d\hat x_n$ and sum over $n$. The sums that appear are $d\beta$ and $d\gamma$, which we have already:
#
# $$dx_m = \frac{\gamma s}{N} \bigl(N\, dy_m - d\beta - \hat x_m\, d\gamma\bigr) .$$

# %%
show(layers.batchnorm_forward, layers.batchnorm_backward)


# %%
def plain_batchnorm(x, gamma, beta):
    """Batch normalization as it is defined."""
    return gamma * (x - x.mean(axis=0)) / jnp.sqrt(x.var(axis=0) + 1e-5) + beta


gamma, beta = draw(5), draw(5)
running = (jnp.zeros(5), jnp.ones(5))  # running averages, for test time: constants
agree(lambda *inputs: layers.batchnorm(*inputs, *running)[0], plain_batchnorm, x, gamma, beta)
print(check_vjp(layers.batchnorm, x, gamma, beta, *running, argnums=(0, 1, 2), has_aux=True))

# %% [markdown]
# The formula says something that is worth seeing. Shift all $x_n$ of a feature by the same amount, or stretch them
# about their mean, and $\hat x$ stays as it is: in those two directions the loss cannot change. So $dx$ must have no
# part along them. It does not: what the formula subtracts from $dy$ is its mean, and its component along $\hat x$.

# %%
dy = draw(*x.shape)
_, cache = layers.batchnorm_forward(x, gamma, beta, *running, eps=0.0)
dx, _, _ = layers.batchnorm_backward(dy, cache)
centred = x - x.mean(axis=0)
print(f"sum of dx, for each feature:          {np.abs(dx.sum(axis=0)).max():.0e}")
print(f"sum of dx (x - mean), likewise:       {np.abs((dx * centred).sum(axis=0)).max():.0e}")
print(f"to compare with, the greatest of dx:  {np.abs(dx).max():.1f}")

# %% [markdown]
# A consequence for networks: a bias that is added right before batch normalization has gradient 0. It shifts.
#
# ## Layer normalization
#
# The same, turned by a quarter: mean and variance are taken over the features of each row, so that rows do not meet.
# The derivation above holds with rows and columns exchanged, but for one thing: $\gamma$ now varies along the sum, and
# cannot be taken out of it. With $d\hat x = \gamma\, dy$, and a bar for the mean over a row,
#
# $$dx = s\,\bigl(d\hat x - \overline{d\hat x} - \hat x\, \overline{d\hat x\, \hat x}\bigr),$$
#
# while $\gamma$ and $\beta$ are still shared by the rows, and their gradients summed over them.

# %%
show(layers.layernorm_backward)


# %%
def plain_layernorm(x, gamma, beta):
    """Layer normalization as it is defined."""
    centred = x - x.mean(axis=1, keepdims=True)
    return gamma * centred / jnp.sqrt(x.var(axis=1, keepdims=True) + 1e-5) + beta


agree(layers.layernorm, plain_layernorm, x, gamma, beta)
print(check_vjp(layers.layernorm, x, gamma, beta))

# Turned by a quarter, and with gamma 1 and beta 0, it is batch normalization.
ones, zeros = jnp.ones(6), jnp.zeros(6)
turned, _ = layers.batchnorm(x.T, ones, zeros, zeros, ones)
chex.assert_trees_all_close(layers.layernorm(x, jnp.ones(5), jnp.zeros(5)), turned.T, rtol=1e-12)

# %% [markdown]
# ## Dropout
#
# Each entry is kept with probability $p$ and divided by it, or else set to 0: $y = m \odot x / p$ with a random mask
# $m$ of zeros and ones. Once the mask is drawn, this is a product with constants, and so is its VJP:
#
# $$dx = m \odot dy / p .$$
#
# What matters is that it is *the same mask*, so the cache holds it: a byte for each entry, which costs less than to
# draw it a second time.

# %%
show(layers.dropout_forward, layers.dropout_backward)

# %%
key = jax.random.key(7)
mask, scale = layers.dropout_mask(0.6, key, x.shape, x.dtype)
agree(lambda x: layers.dropout(x, 0.6, key), lambda x: jnp.where(mask, x * scale, 0), x)
print(check_vjp(layers.dropout, x, 0.6, key))

# %% [markdown]
# ## Softmax loss
#
# Scores $s$ become probabilities $p_c = e^{s_c} / \sum_k e^{s_k}$, and the loss is the surprise at the right class,
# $-\log p_y$, averaged over the batch. For one example, with $t$ the one-hot vector of its class,
#
# $$L = \log \sum_k e^{s_k} - \sum_c t_c s_c .$$
#
# The first term's derivative by $s_c$ is $e^{s_c} / \sum_k e^{s_k} = p_c$; the second's is $t_c$. Hence, for the mean
# over $N$ examples,
#
# $$ds_{nc} = \frac1N (p_{nc} - t_{nc})\, dL :$$
#
# what the network believes, less what is true. No logarithm is left in it, and it never explodes. Only the forward
# function needs care: $e^{1000}$ overflows, so the row's greatest score is subtracted first, which changes nothing
# else. (`weights` and `label_smoothing` replace $1/N$ and the one-hot $t$, and nothing else.)

# %%
show(layers.softmax_loss_forward, layers.softmax_loss_backward)

# %%
scores, labels = draw(6, 4), jnp.array([0, 3, 1, 1, 2, 0])


def plain_softmax_loss(scores):
    """Mean negative log-likelihood of the right classes."""
    return -jnp.mean(jnp.log(jax.nn.softmax(scores))[jnp.arange(6), labels])


agree(lambda scores: layers.softmax_loss(scores, labels), plain_softmax_loss, scores)
print(check_vjp(layers.softmax_loss, scores, labels))

huge = 1000 * scores
print(f"\nScores times 1000: {layers.softmax_loss(huge, labels):.1f} here, {plain_softmax_loss(huge)} as it is defined")

# %% [markdown]
# ## L2 regularization
#
# Large weights are made to cost something: $L = \frac\lambda2 \sum_i w_i^2$ is added to the loss, and
#
# $$dw_i = \lambda w_i\, dL .$$

# %%
show(layers.l2_penalty_forward, layers.l2_penalty_backward)
agree(lambda w: layers.l2_penalty(w, 0.1), lambda w: 0.05 * jnp.sum(w**2), w)
print(check_vjp(layers.l2_penalty, w, 0.1))

# %% [markdown]
# ## The whole network
#
# All pieces are there. A network with one hidden layer, batch normalization and dropout, on a batch of digits: forwards
# through the pairs, keeping the caches, and backwards through them in reverse. The gradient of each parameter falls out
# on the way; where two paths meet, at the weights, which are in a product and in a penalty, their gradients add. (The
# activation is gelu, which has no kink.)

# %%
data = jaxfc.load("digits")
rows, hidden = (16, 8) if QUICK else (64, 16)
images = jnp.asarray(data.normalizer(data.x_train[:rows]), jnp.float64)
digits = jnp.asarray(data.y_train[:rows])

net = jaxfc.FCNet(64, (hidden,), 10, "batchnorm", "gelu", dropout_keep_ratio=0.8, reg=1e-2, param_dtype="float64")
params, stats = jaxfc.init(net, jax.random.key(0))
mask = jax.random.bernoulli(jax.random.key(1), 0.8, (rows, hidden))
print(jaxfc.summary(net))


# %%
def loss_and_gradients(params, x, y):
    """The loss of the network above, and its gradients, without any differentiation by JAX."""
    first, last = params
    # Forwards: affine - batchnorm - gelu - dropout - affine - softmax loss
    h, affine_1 = layers.affine_forward(x, first["w"], first["b"])
    (h, _), norm = layers.batchnorm_forward(h, first["gamma"], first["beta"], *stats[0])
    h, gelu = layers.gelu_forward(h)
    h, dropout = layers.dropout_forward(h, net.dropout_keep_ratio, mask)
    scores, affine_2 = layers.affine_forward(h, last["w"], last["b"])
    loss, softmax = layers.softmax_loss_forward(scores, y)
    penalty_1, l2_1 = layers.l2_penalty_forward(first["w"], net.reg)
    penalty_2, l2_2 = layers.l2_penalty_forward(last["w"], net.reg)

    # And backwards, from dL = 1
    one = jnp.ones(())
    dscores = layers.softmax_loss_backward(one, softmax)
    dh, dw2, db2 = layers.affine_backward(dscores, affine_2)
    dh = layers.dropout_backward(dh, dropout)
    dh = layers.gelu_backward(dh, gelu)
    dh, dgamma, dbeta = layers.batchnorm_backward(dh, norm)
    _, dw1, db1 = layers.affine_backward(dh, affine_1)
    dw1 += layers.l2_penalty_backward(one, l2_1)
    dw2 += layers.l2_penalty_backward(one, l2_2)
    gradients = [{"w": dw1, "b": db1, "gamma": dgamma, "beta": dbeta}, {"w": dw2, "b": db2}]
    return loss + penalty_1 + penalty_2, gradients


by_hand = jax.jit(loss_and_gradients)(params, images, digits)


# %% [markdown]
# `jaxfc.loss` is the same for a network of any depth. Three ways lead to its gradient: ours above; `jax.grad`, which
# calls our VJPs one after another; and `jax.grad` with all of them switched off (`plain_autodiff`), so that JAX derives
# everything itself.


# %%
def loss(params, masks=(mask,)):
    """The training loss of the batch, as a function of the parameters."""
    return jaxfc.loss(net, params, stats, images, digits, list(masks))[0]


by_rules = jax.jit(jax.value_and_grad(loss))(params)
with layers.plain_autodiff():
    by_jax = jax.jit(jax.value_and_grad(loss))(params)

chex.assert_trees_all_close(by_hand, by_rules, rtol=1e-12, atol=1e-14)
chex.assert_trees_all_close(by_hand, by_jax, rtol=1e-9, atol=1e-14)
print(f"loss {by_hand[0]:.6f}, and {sum(leaf.size for leaf in jax.tree.leaves(params))} partial derivatives agree")

# %% [markdown]
# And every one of them against a centred difference:

# %%
print(check_vjp(loss, params))

# %% [markdown]
# The bias `b` of the first layer is there to be seen: its gradient is 0, because batch normalization follows it, and
# "too small for differences" says that they could not tell.
#
# ## How well can a difference certify a gradient?
#
# Suppose that there were no autodiff to compare with. A difference quotient needs nothing but the function. By Taylor's
# theorem,
#
# $$\frac{f(w + h) - f(w)}{h} = f' + \frac h2 f'' + \dots, \qquad
#   \frac{f(w + h) - f(w - h)}{2h} = f' + \frac{h^2}{6} f''' + \dots$$
#
# so a smaller step is better, and the centred one better still, because the terms in $h$ cancel. That is half of the
# story. The other half is that $f$ is computed with some relative error $\epsilon$ ($6 \cdot 10^{-8}$ in float32,
# $10^{-16}$ in float64), and the difference of two nearly equal numbers divided by a small one has an error of about
# $\epsilon |f| / h$: so a *larger* step is better. The sum is least where the two are about equal:
#
# | | error | best step | error there | in float32 | in float64 |
# |---|---|---|---|---|---|
# | one-sided | $h + \epsilon / h$ | $\epsilon^{1/2}$ | $\epsilon^{1/2}$ | $2 \cdot 10^{-4}$ | $10^{-8}$ |
# | centred | $h^2 + \epsilon / h$ | $\epsilon^{1/3}$ | $\epsilon^{2/3}$ | $2 \cdot 10^{-5}$ | $2 \cdot 10^{-11}$ |
#
# up to factors of the function's own. Let us measure: the gradient by the first layer's weights, all entries at once,
# its error relative to its length, for steps over 13 orders of magnitude.


# %%
def loss_of_weights(w, dtype):
    """The loss as a function of the first weights, computed in a dtype."""
    rest = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    narrow = jaxfc.FCNet(64, (hidden,), 10, "batchnorm", "gelu", reg=1e-2, param_dtype=dtype)
    return jaxfc.loss(narrow, [rest[0] | {"w": w.astype(dtype)}, rest[1]], stats, images, digits)[0]


weights = params[0]["w"]
units = jnp.eye(weights.size).reshape(-1, *weights.shape)  # a direction for each entry
truth = jax.grad(loss_of_weights)(weights, "float64").ravel()


def differences(dtype, sides):
    """A compiled function of the step: difference quotients by all entries, computed in a dtype."""
    w, directions = weights.astype(dtype), units.astype(dtype)

    @jax.jit
    def quotients(h):
        h = h.astype(dtype)
        ahead = jax.lax.map(lambda e: loss_of_weights(w + h * e, dtype), directions, batch_size=128)
        if sides == "one-sided":
            return (ahead - loss_of_weights(w, dtype)) / h
        behind = jax.lax.map(lambda e: loss_of_weights(w - h * e, dtype), directions, batch_size=128)
        return (ahead - behind) / (2 * h)

    return quotients


steps = np.logspace(0, -13, 14 if QUICK else 53)
errors = {}
for dtype in ("float32", "float64"):
    for sides in ("one-sided", "centred"):
        quotients = differences(dtype, sides)
        errors[dtype, sides] = [np.linalg.norm(quotients(h) - truth) / np.linalg.norm(truth) for h in steps]

# %% [markdown]
# Theory can be drawn beside it, with nothing fitted: the second and third derivatives by every weight come from
# differentiating again, and $\epsilon$ is known.


# %%
@jax.jit
def second_and_third(direction):
    """Derivatives of the loss along a direction."""

    def along(t):
        return loss_of_weights(weights + t * direction, "float64")

    second = jax.grad(jax.grad(along))
    return second(0.0), jax.grad(second)(0.0)


second, third = jax.lax.map(second_and_third, units, batch_size=128)
length = np.linalg.norm(truth)
truncation = {"one-sided": np.linalg.norm(second) / 2 / length * steps}
truncation["centred"] = np.linalg.norm(third) / 6 / length * steps**2
value = float(loss_of_weights(weights, "float64"))

figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharex=True, sharey=True)
for axis, dtype in zip(axes, ("float32", "float64"), strict=True):
    for sides, colour in (("one-sided", ORANGE), ("centred", BLUE)):
        error = np.array(errors[dtype, sides])
        best = np.nanargmin(error)
        axis.loglog(steps, error, color=colour, label=f"{sides}: at best {error[best]:.0e}, at h = {steps[best]:.0e}")
        axis.plot(steps[best], error[best], "o", color=colour)
        drawn = truncation[sides] > 3e-10
        axis.loglog(steps[drawn], truncation[sides][drawn], color=colour, linestyle=":", linewidth=1.2)
    rounding = np.finfo(dtype).eps / 2 * value * np.sqrt(weights.size) / length / steps
    axis.loglog(steps, rounding, color=GREY, linestyle="--", linewidth=1.2, label=r"rounding, $\epsilon |f| / h$")
    axis.axhline(1e-3, color=RED, linewidth=1.2)
    axis.text(3e-10, 1.4e-3, "a gradient wrong by 0.1%", color=RED, va="bottom", fontsize=9)
    axis.set(title=f"Differences in {dtype}", xlabel="step $h$", ylim=(1e-13, 3e1), xlim=(1e-13, 1))
    axis.plot([], [], color="black", linestyle=":", linewidth=1.2, label=r"truncation, $\propto h$ and $\propto h^2$")
    axis.legend(fontsize=9, loc="lower left")
axes[0].set_ylabel("relative error of the gradient")
plt.show()

# %% [markdown]
# Read it from right to left. The errors come down along the dotted lines, which are the first terms that Taylor's
# theorem leaves out: steadily one-sided, twice as steeply centred. Then they meet the dashed line and go up along it,
# as fewer and fewer digits survive the subtraction. In float32, below $h = 10^{-7}$ or so, $w + h$ rounds to $w$: the
# difference is 0, and its error 100%.
#
# Now suppose that the gradient in question is too large by a thousandth, the red line. In float64 the error of the
# centred difference is below it over ten orders of magnitude of the step, and six orders below it around $10^{-5}$,
# the step that `check_vjp` takes. In float32 it dips below for little more than one order, by a factor of four; you
# would have to know the best step, and without the answer you do not.
#
# And that was the error of all entries together. A mistake may sit in one. Here are the same differences at their best
# steps, entry by entry, and one entry of the gradient is made too large by a thousandth.

# %%
best = {dtype: steps[np.nanargmin(errors[dtype, "centred"])] for dtype in ("float32", "float64")}
sizes = np.abs(truth)
wrong = int(np.argsort(sizes)[weights.size // 2])  # an entry of middling size
claimed = np.array(truth)
claimed[wrong] *= 1.001

figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharex=True, sharey=True)
for axis, dtype in zip(axes, ("float32", "float64"), strict=True):
    measured = np.asarray(differences(dtype, "centred")(best[dtype]), np.float64)
    relative = np.abs(claimed - measured) / (np.abs(claimed) + np.abs(measured))
    other = np.arange(weights.size) != wrong
    axis.loglog(sizes[other], relative[other], ".", color=BLUE, markersize=4, alpha=0.6, label="entries that are right")
    axis.loglog(sizes[wrong], relative[wrong], "o", color=RED, markersize=7, label="the entry wrong by 0.1%")
    worse = np.sum(relative[other] >= relative[wrong])
    axis.set(
        title=f"{dtype}: {worse} of {np.sum(other)} right entries look worse", xlabel="size of the gradient's entry"
    )
    axis.legend(fontsize=9, loc="lower left")
axes[0].set_ylabel("relative error against differences")
plt.show()

# %% [markdown]
# (The relative error divides by the sum of both sizes, hence $5 \cdot 10^{-4}$.) In float32 the wrong entry is one of
# the crowd: a test that lets all right entries pass lets it pass as well. In float64 nothing comes near it.
#
# The crowd slopes, because the noise of a difference is the same for small entries and large ones. This is why
# `check_vjp` gives its relative errors a floor: below a size that follows from $\epsilon$, the step and the outputs,
# entries are compared absolutely.
#
# The same mistake in an affine layer, and two tests of it. `chex.assert_numerical_grads` compares the slope in one
# random direction, with a tolerance that float32 can meet, 0.01. It is good at finding wrong signs and forgotten sums,
# in any function. This it does not find:


# %%
@jax.custom_vjp
def almost_affine(x, w, b):
    """The affine layer, with one entry of dw too large by a thousandth."""
    return x @ w + b


def almost_affine_backward(cache, dy):
    """The right gradients, and that one."""
    dx, dw, db = layers.affine_backward(dy, cache)
    return dx, dw.at[2, 1].multiply(1.001), db


almost_affine.defvjp(lambda x, w, b: (x @ w + b, (x, w, b)), almost_affine_backward)

single = [array.astype(jnp.float32) for array in (x, w, b)]
chex.assert_numerical_grads(almost_affine, single, order=1, modes=("rev",))
print("chex.assert_numerical_grads, in float32: nothing found")

try:
    check_vjp(almost_affine, *single)
except AssertionError as error:
    print("\ncheck_vjp, from the same float32 arrays:\n")
    print(error)

# %% [markdown]
# ## A layer of your own
#
# Nothing in this is particular to jaxfc's layers. Root-mean-square normalization, say, as used in many language models:
# layer normalization without centring,
#
# $$s = \Bigl(\frac1D \sum_k x_k^2 + \epsilon\Bigr)^{-1/2}, \qquad y = \gamma\, s\, x .$$
#
# $x_k$ moves $y$ directly and through $s$, where $\partial s / \partial x_k = -s^3 x_k / D$. With
# $d\hat x = \gamma\, dy$,
#
# $$dx = s\, d\hat x - \frac{s^3}{D}\, x \sum_k d\hat x_k x_k, \qquad d\gamma = \sum_n dy_n\, s_n x_n .$$


# %%
@jax.custom_vjp
def rmsnorm(x, gamma):
    """Root-mean-square normalization of rows."""
    return rmsnorm_forward(x, gamma)[0]


def rmsnorm_forward(x, gamma):
    """The output, and what its VJP needs."""
    s = jax.lax.rsqrt(jnp.mean(x * x, axis=1, keepdims=True) + 1e-6)
    return gamma * s * x, (x, gamma, s)


def rmsnorm_backward(cache, dy):
    """The gradients by x and gamma."""
    x, gamma, s = cache
    dnormalized = gamma * dy
    dx = s * dnormalized - s**3 * x * jnp.mean(dnormalized * x, axis=1, keepdims=True)
    return dx, jnp.sum(dy * s * x, axis=0)


rmsnorm.defvjp(rmsnorm_forward, rmsnorm_backward)


def test_rmsnorm():
    """What a file of tests for pytest would hold."""
    check_vjp(rmsnorm, draw(4, 5), draw(5))


test_rmsnorm()
print(check_vjp(rmsnorm, draw(4, 5), draw(5)))

# %% [markdown]
# The mistake that everybody makes once is to forget the path through $s$, and to treat it as a constant:

# %%
rmsnorm.defvjp(rmsnorm_forward, lambda cache, dy: (cache[1] * dy * cache[2], jnp.sum(dy * cache[2] * cache[0], axis=0)))

try:
    test_rmsnorm()
except AssertionError as error:
    print(error)

# %% [markdown]
# ## In short
#
# - A layer needs to know its own VJP only; going through them from last to first is backpropagation.
# - What is shared is summed; a gradient has the shape of what it is the gradient by.
# - Compare every entry, in float64, with two things that do not know your derivation: autodiff of the plain function,
#   and centred differences at points away from kinks.
# - `check_vjp` does that in one line, for any function made by `jax.custom_vjp`, in pytest and in chex.
