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
# # Training on an accelerator
#
# The same program trains on a CPU, a GPU or a TPU: JAX compiles it for whatever device the notebook has. What changes
# is what it is worth paying attention to. This notebook
#
# 1. takes a network apart into the arrays that it consists of,
# 2. writes a compiled training step by hand, then replaces it by `train_step`, then the whole loop by `fit`,
# 3. counts what is compiled when, and what is not,
# 4. trains in bfloat16,
# 5. and measures which part of the device's arithmetic a training step uses, by the width of the network.
#
# On Colab, choose the device under *Runtime → Change runtime type* first.

# %%
try:
    import jaxfc
except ImportError:
    # %pip install -q git+https://github.com/jaxfc/jaxfc
    import jaxfc

import jax

devices = ", ".join(f"{device.device_kind} ({device.platform})" for device in jax.devices())
print(f"jaxfc {jaxfc.__version__}, JAX {jax.__version__}; devices: {devices}")

# %% [markdown]
# Two environment variables change what is run. `JAXFC_NOTEBOOK=quick` makes everything small, to see in under a minute
# that all cells work. `JAXFC_DATA` names a folder with the CIFAR-10 files, if you have them; without it they are
# downloaded once (163 MB).

# %%
import os
import re
import time
from functools import partial

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax import lax

from jaxfc.data import shuffled_plan
from jaxfc.optim import adam

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

QUICK = os.environ.get("JAXFC_NOTEBOOK") == "quick"
ON_CPU = jax.default_backend() == "cpu"
HIDDEN, EPOCHS, BATCH = ((64, 32), 2, 128) if QUICK else ((1024, 512), 4, 512)


def load_data():
    """CIFAR-10 if it is at hand or can be downloaded, otherwise digits; a quick run downloads nothing."""
    if QUICK and not os.environ.get("JAXFC_DATA"):
        return jaxfc.load("digits")
    try:
        data = jaxfc.load("cifar10")
    except OSError as error:
        print(f"No CIFAR-10: {error}")
        return jaxfc.load("digits")
    return data.subset(2000) if QUICK else data


data = load_data()
BATCH = min(BATCH, len(data.x_train) // 4)
print(f"{data.name}: {len(data.x_train)} training rows of {data.num_features} features, {data.x_train.dtype}")

# %% [markdown]
# ## 1. A network is a description, its parameters are a tree
#
# `FCNet` says what to compute and holds no array of weights. `init` draws them: `params` is a list with a dict for each
# layer, `stats` holds the running means and variances of batch normalization. Both are *pytrees*, nested containers
# with arrays as leaves, which every function of JAX takes apart and puts together again.

# %%
net = jaxfc.FCNet(data.num_features, HIDDEN, len(data.classes), normalization="batchnorm", reg=1e-4)
params, stats = jaxfc.init(net, jax.random.key(0))


def show(name, tree):
    """Print the path, shape and type of each leaf."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        print(f"{name + jax.tree_util.keystr(path):20s} {leaf.shape!s:14s} {leaf.dtype}")


show("params", params)
show("stats", stats)
count = sum(leaf.size for leaf in jax.tree.leaves(params))
squares = jax.tree.reduce(jnp.add, jax.tree.map(lambda leaf: jnp.sum(leaf**2), params))
print(f"\n{count:,} parameters, the norm of all of them {jnp.sqrt(squares):.1f}")

# %% [markdown]
# The description is a pytree too. Its leaves are the numbers that may change without changing the program; everything
# that decides shapes is structure.

# %%
for path, leaf in jax.tree_util.tree_leaves_with_path(net):
    print(f"net{jax.tree_util.keystr(path)} = {leaf:g}")
print(f"\nstructure: {net.dims}, {net.normalization}, {net.activation}, {net.dtype}")

# %% [markdown]
# ## 2. A training step, written three times
#
# ### By hand
#
# `jaxfc.loss` is a pure function of the parameters, and an update rule is a pure function
# `(params, grads, state) -> (params, state)`. A training step composes them:
#
# $$\ell, g = \nabla_{\!w}\, L(w; x, y), \qquad (w, s) \leftarrow \mathrm{rule}(w, g, s) .$$
#
# `jax.jit` compiles the composition into one program. *Donating* an argument lets the program write its result where
# the argument was: parameters and optimizer state are then held once on the device, not twice. A donated array must not
# be used again.


# %%
@partial(jax.jit, donate_argnames=("params", "stats", "opt_state"))
def step(net, params, stats, opt_state, normalizer, x, y):
    """One update on a batch."""
    x = normalizer(x, net.dtype)  # the batch arrives as it is stored, uint8
    gradient = jax.value_and_grad(jaxfc.loss, argnums=1, has_aux=True)
    (loss, stats), grads = gradient(net, params, stats, x, y)
    params, opt_state = adam(params, grads, opt_state)
    return params, stats, opt_state, loss


# %% [markdown]
# All training images go to the device once, in bytes. An epoch is then a loop over a *plan*, a matrix with the row
# numbers of each batch. The call of a compiled program returns before the device is done with it; only looking at a
# result waits. So the loop keeps the losses as they are and looks at them at the end: reading one in each iteration
# would leave the device idle in between.

# %%
x_train, y_train = jax.device_put(data.x_train), jax.device_put(data.y_train)
normalizer = jax.tree.map(jnp.asarray, data.normalizer)
plans = [shuffled_plan(len(data.x_train), BATCH, seed=0, epoch=epoch) for epoch in range(1, EPOCHS + 1)]

init_key, _ = jax.random.split(jax.random.key(0))  # as `init_state` does below; the other key is for dropout
params, stats = jaxfc.init(net, init_key)
opt_state = adam.init(params, learning_rate=1e-3)

losses, ends = {"by hand": []}, {"by hand": []}
for plan in plans:
    for rows in plan:
        batch = x_train[rows], y_train[rows]
        params, stats, opt_state, loss = step(net, params, stats, opt_state, normalizer, *batch)
        losses["by hand"].append(loss)
    jax.block_until_ready(params)
    ends["by hand"].append(time.perf_counter())
print(f"{len(losses['by hand'])} steps, loss {losses['by hand'][0]:.4f} at first, {losses['by hand'][-1]:.4f} at last")

# %% [markdown]
# ### By `train_step`
#
# A `TrainState` holds all that a step changes: parameters, statistics, optimizer state, a key for dropout and the
# number of the step. `train_step` is the function above for any network and rule.

# %%
state = jaxfc.init_state(net, adam, jax.random.key(0), learning_rate=1e-3)
losses["train_step"], ends["train_step"] = [], []
for plan in plans:
    for rows in plan:
        state, loss = jaxfc.train_step(net, adam, state, x_train[rows], y_train[rows], normalizer)
        losses["train_step"].append(loss)
    jax.block_until_ready(state)
    ends["train_step"].append(time.perf_counter())

# %% [markdown]
# ### By `fit`
#
# `fit` makes the whole epoch one program, a `lax.scan` over the plan, and measures accuracies and keeps the best
# parameters inside it. Python is asked for something once an epoch, not once a step.

# %%
def train(net, **options):
    """Fit; return the result, and the time at the end of each epoch."""
    ends = []
    result = jaxfc.fit(
        net,
        "adam",
        data,
        hyper={"learning_rate": 1e-3},
        epochs=EPOCHS,
        batch_size=BATCH,
        callbacks=[lambda report: ends.append(time.perf_counter())],
        progress=False,
        **options,
    )
    return result, ends


def ms_per_step(ends):
    """Milliseconds for a step, over all epochs but the first, which compiles."""
    return 1000 * (ends[-1] - ends[0]) / ((EPOCHS - 1) * len(plans[0]))


result, ends["fit"] = train(net)
losses["fit"] = result.loss_history
model = result.model(data)
print(f"test accuracy {model.accuracy(*data.split('test')):.3f}\n")

losses = {name: np.array(values) for name, values in losses.items()}
print("            ms a step   first loss   tenth loss")
for name, values in losses.items():
    print(f"{name:10s} {ms_per_step(ends[name]):10.2f} {values[0]:12.6f} {values[9]:12.6f}")

# %%
fig, axes = plt.subplots(1, 2, figsize=(10, 3.6))
for (name, values), style in zip(losses.items(), ("-", "--", ":"), strict=True):
    axes[0].plot(np.arange(1, len(values) + 1), values, style, linewidth=1.4, label=name)
axes[0].set(title="One course, computed three times", xlabel="iteration", ylabel="loss of the batch")
axes[1].plot(result.train_acc_history, "o-", label="training (sample of 1,000)")
axes[1].plot(result.val_acc_history, "o-", label="validation")
axes[1].set(title="What fit measures after each epoch", xlabel="epoch", ylabel="accuracy")
axes[1].set_xticks(range(EPOCHS + 1))
for ax in axes:
    ax.legend()
plt.show()

# %% [markdown]
# The three start from the same parameters, take the same batches in the same order, and differ by rounding alone: the
# compiler may order sums differently in one program than in another. Adam makes much of little there: it divides each
# entry of the gradient by its recent size, so that an entry next to zero takes as long a step as any other, in whichever
# direction rounding left it. The curves part a little as training goes on; none of them is better than another.
#
# The time of `fit` includes measuring both accuracies after each epoch.

# %% [markdown]
# ## 3. What compiles when
#
# Compiling takes a second or more; a step takes milliseconds. JAX compiles a function again whenever the *shape*,
# *type* or *structure* of an argument is new, and never because a number is. JAX reports each compilation to whoever
# listens:

# %%
compiled = []


def listen(event, seconds, **_):
    """Note the duration of each compilation."""
    if event == "/jax/core/compile/backend_compile_duration":
        compiled.append(seconds)


jax.monitoring.register_event_duration_secs_listener(listen)


def fresh(net, learning_rate=1e-3):
    """Parameters, statistics and optimizer state to start from."""
    params, stats = jaxfc.init(net, jax.random.key(0))
    return params, stats, adam.init(params, learning_rate=learning_rate)


def count_compilations(what, net, carried, x, y):
    """Call the step that was written by hand, and print how many programs that compiled."""
    jax.block_until_ready((carried, x, y))
    compiled.clear()
    *carried, _ = step(net, *carried, normalizer, x, y)
    jax.block_until_ready(carried)
    print(f"{what:52s} {len(compiled)}" + (f"   {sum(compiled):5.2f} s" if compiled else ""))
    return carried


def variant(**changes):
    """The network with other settings."""
    settings = {"input_dim": data.num_features, "hidden_dims": HIDDEN, "output_dim": len(data.classes)}
    return jaxfc.FCNet(**settings | {"normalization": "batchnorm", "reg": 1e-4} | changes)


step.clear_cache()  # forget what the cells above compiled
x, y = x_train[:BATCH], y_train[:BATCH]
narrow = variant(hidden_dims=HIDDEN[:1])
print(f"{'':47s} programs")
carried = count_compilations("the first call", net, fresh(net), x, y)
carried = count_compilations("the second call", net, carried, x, y)
carried = count_compilations("another learning rate", net, fresh(net, 3e-4), x, y)
other = variant(reg=1e-2, norm_momentum=0.8)
carried = count_compilations("another L2 strength and batchnorm momentum", other, carried, x, y)
carried = count_compilations("other batches", net, carried, x_train[BATCH : 2 * BATCH], y_train[BATCH : 2 * BATCH])
carried = count_compilations("a last batch that is smaller", net, carried, x[: BATCH // 2], y[: BATCH // 2])
carried = count_compilations("inputs in float32 instead of uint8", net, carried, x.astype(np.float32), y)
carried = count_compilations("no L2 penalty at all (None, not 0)", variant(reg=None), carried, x, y)
carried = count_compilations("a layer fewer", narrow, fresh(narrow), x, y)
params, stats, opt_state = fresh(net)
plain = opt_state._replace(learning_rate=3e-4)
carried = count_compilations("a learning rate that is a Python float", net, (params, stats, plain), x, y)
carried = count_compilations("the first call's arguments again", net, fresh(net), x, y)
jax.monitoring.unregister_event_duration_listener(listen)

# %% [markdown]
# Numbers cost nothing: learning rates, L2 strengths and their like are arguments of the program. New shapes, types and
# structures compile one program each, and each is kept, so that coming back to it compiles nothing. Three habits follow:
#
# - let every batch have the same size (a plan leaves out the few rows that do not fill one);
# - turn inputs into one type before the loop;
# - put numbers into a state through the rule's `init`, which makes arrays of them. A bare Python float in their place
#   has a type of its own (JAX calls it *weak*), and compiles the step once more.

# %% [markdown]
# ## 4. bfloat16
#
# A bfloat16 number has the exponent of a float32 and 8 bits of precision instead of 24. Memory traffic halves, and the
# matrix units of GPUs (from the A100 on) and TPUs are made for it. CPUs differ: some have instructions for products in
# bfloat16 and gain a little, on others it is emulated and slower than float32.
#
# `compute_dtype="bfloat16"` is mixed precision: activations and matrix products are bfloat16, while parameters, sums
# over a batch and updates stay float32. They must: an update of one part in a thousand would be lost in rounding to 8
# bits.

# %%
mixed, ends["mixed"] = train(variant(compute_dtype="bfloat16"), verbose=False)
runs = {"float32": result, "bfloat16": mixed}
for (dtype, run), times in zip(runs.items(), (ends["fit"], ends["mixed"]), strict=True):
    accuracy = run.model(data).accuracy(*data.split("test"))
    print(f"{dtype:9s} {ms_per_step(times):7.2f} ms a step, test accuracy {accuracy:.3f}")


# %%
def smooth(values, width):
    """The running mean of so many values, and the positions of their midpoints."""
    return np.arange(len(values) - width + 1) + (width + 1) / 2, np.convolve(values, np.ones(width) / width, "valid")


def difference(losses):
    """The relative difference of each loss from that of `fit` in float32; none that a logarithm could not show."""
    return np.maximum(np.abs(losses / result.loss_history - 1), 1e-8)


width = max(2, len(result.loss_history) // 40)
iterations = np.arange(1, len(result.loss_history) + 1)
fig, axes = plt.subplots(1, 3, figsize=(13, 3.8))
for color, style, (dtype, run) in zip(("C0", "C1"), ("-", "--"), runs.items(), strict=True):
    axes[0].plot(iterations, run.loss_history, color=color, alpha=0.2, linewidth=1)
    axes[0].plot(*smooth(run.loss_history, width), style, color=color, label=dtype)
    axes[2].plot(run.val_acc_history, "o-", color=color, label=dtype)
axes[1].semilogy(*smooth(difference(mixed.loss_history), width), color="C1", label="bfloat16")
axes[1].semilogy(*smooth(difference(losses["by hand"]), width), color="C7", label="float32, the step by hand")
axes[1].axhline(2**-8, color="C1", linestyle=":", linewidth=1.2, label="one rounding to bfloat16, $2^{-8}$")
axes[0].set(title=f"Loss: each batch, and a mean of {width}", xlabel="iteration", ylabel="loss")
axes[1].set(title="Relative difference from fit in float32", xlabel="iteration")
axes[2].set(title="Validation accuracy", xlabel="epoch", ylabel="accuracy")
axes[2].set_xticks(range(EPOCHS + 1))
for ax in axes:
    ax.legend()
plt.show()

# %% [markdown]
# The losses go down together. The middle panel says how much their difference means: the step that was written by hand
# is all float32, and differs from `fit` in nothing but the order of sums; on CIFAR-10, after some hundred iterations, it
# has come to differ from `fit` as much as bfloat16 does. Rounding decides where a difference starts, and training, not
# rounding, how large it becomes. The gradient of a batch is noisy anyway, and rounding is little beside that noise.
#
# What bfloat16 buys in time depends on the device alone.
#
# A note on float32: on a GPU from the A100 on, and on a TPU, JAX by default rounds the factors of a float32 *product*
# too, to TensorFloat-32 (11 bits) and to bfloat16. That is what training wants. Where it is not wanted, as in a gradient
# check, ask for `jax.default_matmul_precision("float32")`.

# %% [markdown]
# ## 5. Which part of the device's arithmetic is used
#
# A product of a $(B, n)$ with an $(n, m)$ matrix takes $2Bnm$ floating-point operations, a multiplication and an
# addition for each pair. A layer of a training step has three such products: its output, the gradient of its weights,
# and, in all layers but the first, the gradient of its input. For widths $n_0, \dots, n_L$ this makes
#
# $$\mathrm{FLOP} = 2B \left( 3 \sum_{l=1}^{L} n_{l-1} n_l - n_0 n_1 \right) ;$$
#
# everything else grows with $B n$ or with $n^2$ alone and is not counted.
#
# How fast could they be? What a data sheet promises is seldom reached, so large square products are timed first, in the
# same type on the same device; the data sheet is printed beside them where the device is known.

# %%
PUBLISHED = {
    # Dense TFLOP/s of one JAX device, for float32 products at JAX's default precision, and for bfloat16.
    # NVIDIA's data sheets: T4 (its tensor cores know no bfloat16), and L4, A100, H100, H200 without sparsity.
    "T4": (8.1, None),
    "L4": (60, 121),
    "A100": (156, 312),
    "H100 PCIe": (378, 756),
    "H100": (495, 989),
    "H200": (495, 989),
    # Google's Cloud TPU documentation; a v2 chip, 45 TFLOP/s, is two devices. Of a v2-8 this is an eighth.
    "TPU v2": (22.5, 22.5),
    "TPU v5 lite": (197, 197),
    "TPU v6 lite": (918, 918),
}
DTYPES = ("float32", "bfloat16")


def published_peak(dtype):
    """The data sheet's FLOP/s for this device, or None."""
    kind = jax.devices()[0].device_kind
    peaks = next((peaks for name, peaks in PUBLISHED.items() if re.search(rf"\b{name}\b", kind)), (None, None))
    peak = peaks[DTYPES.index(dtype)]
    return peak and peak * 1e12


def time_call(call, at_least=0.02 if QUICK else 0.1):
    """The seconds that each repetition of `call(n)`, which makes n of them, takes: the fastest of five measurements."""
    call(1)  # compiles
    started = time.perf_counter()
    call(1)
    n = int(np.clip(at_least / (time.perf_counter() - started), 1, 1000))
    measured = []
    for _ in range(5):  # what else the machine does can only slow a measurement down
        started = time.perf_counter()
        call(n)
        measured.append((time.perf_counter() - started) / n)
    return min(measured)


@jax.jit
def multiply(a, n):
    """Multiply by a matrix n times, one product after the other."""
    return lax.fori_loop(0, n, lambda _, b: a @ b, a)


def measured_peak(dtype):
    """The FLOP/s of large square products, of the fastest size."""
    rates = []
    for size in (256,) if QUICK else (1024, 2048) if ON_CPU else (4096, 8192):
        a = (jax.random.normal(jax.random.key(0), (size, size)) / size**0.5).astype(dtype)
        rates.append(2 * size**3 / time_call(lambda n, a=a: multiply(a, n).block_until_ready()))
    return max(rates)


peaks = {dtype: measured_peak(dtype) for dtype in DTYPES}
for dtype, peak in peaks.items():
    published = published_peak(dtype)
    beside = f", {peak / published:.0%} of the data sheet's {published / 1e12:g}" if published else ""
    print(f"{dtype:9s} {peak / 1e12:8.3f} TFLOP/s measured{beside}")

# %% [markdown]
# Now training steps of networks with two hidden layers of the same width, timed in two ways: `train_step` called from a
# Python loop, and the same step repeated inside one program, as `fit` does it.

# %%
WIDTHS = (16, 64) if QUICK else (32, 64, 128, 256, 512, 1024, 2048)
WIDTHS += () if QUICK or ON_CPU else (4096, 8192)
TIMING_BATCH = 64 if QUICK else 512 if ON_CPU else 4096


@partial(jax.jit, donate_argnames="state")
def repeat(net, state, x, y, n):
    """Take n steps on the same batch."""
    return lax.fori_loop(0, n, lambda _, state: jaxfc.train_step(net, adam, state, x, y)[0], state)


def flop_per_step(net, batch):
    """Floating-point operations in the matrix products of a step."""
    entries = [n * m for n, m in zip(net.dims, net.dims[1:], strict=False)]
    return 2 * batch * (3 * sum(entries) - entries[0])


def step_times(width, dtype):
    """The seconds of a step in a Python loop, and inside one program; and its FLOP."""
    net = jaxfc.FCNet(data.num_features, (width, width), len(data.classes), compute_dtype=dtype)
    x = jax.random.normal(jax.random.key(0), (TIMING_BATCH, data.num_features))
    y = jax.random.randint(jax.random.key(1), TIMING_BATCH, 0, len(data.classes))
    box = [jaxfc.init_state(net, adam, jax.random.key(2))]

    def python_loop(n):
        for _ in range(n):
            box[0], _ = jaxfc.train_step(net, adam, box[0], x, y)
        jax.block_until_ready(box[0])

    def one_program(n):
        box[0] = jax.block_until_ready(repeat(net, box[0], x, y, n))

    return time_call(python_loop), time_call(one_program), flop_per_step(net, TIMING_BATCH)


timings = {dtype: {width: step_times(width, dtype) for width in WIDTHS} for dtype in DTYPES}
print(f"batch {TIMING_BATCH}, {data.num_features} features; % is of the measured peak in the same type\n")
print(f"{'':7s}{'':11s}{'float32':^34s}{'bfloat16':^34s}")
print(f"{'width':>7s}{'GFLOP':>11s}" + 2 * f"{'loop, ms':>12s}{'program, ms':>13s}{'%':>9s}")
for width in WIDTHS:
    cells = f"{width:7d}{timings['float32'][width][2] / 1e9:11.3f}"
    for dtype in DTYPES:
        loop, program, flop = timings[dtype][width]
        cells += f"{1000 * loop:12.3f}{1000 * program:13.3f}{flop / program / peaks[dtype]:9.0%}"
    print(cells)

# %%
fig, axes = plt.subplots(1, 2, figsize=(11, 4.2))
for color, dtype in zip(("C0", "C1"), DTYPES, strict=True):
    loop, program, flop = np.array([timings[dtype][width] for width in WIDTHS]).T
    axes[0].loglog(WIDTHS, 1000 * loop, "o:", color=color, markersize=4, label=f"{dtype}, Python loop")
    axes[0].loglog(WIDTHS, 1000 * program, "o-", color=color, markersize=5, label=f"{dtype}, one program")
    axes[0].loglog(WIDTHS, 1000 * flop / peaks[dtype], "--", color=color, linewidth=1, label=f"{dtype}, products alone")
    axes[1].semilogx(WIDTHS, flop / program / peaks[dtype], "o-", color=color, label=dtype)
axes[0].set(title="Time of a training step", xlabel="width of both hidden layers", ylabel="milliseconds")
axes[1].set(title="Fraction of the measured peak", xlabel="width of both hidden layers")
axes[1].axhline(1, color="gray", linestyle="--", linewidth=1)
axes[1].set_ylim(0, max(1.1, 1.05 * axes[1].dataLim.ymax))
axes[1].yaxis.set_major_formatter("{x:.0%}")
for ax in axes:
    ax.set_xticks(WIDTHS, WIDTHS)
    ax.minorticks_off()
    ax.legend()
plt.show()

# %% [markdown]
# Three regimes show. Narrow networks are bound by what a step costs *besides* arithmetic: starting programs from
# Python, starting each operation on the device, reading the batch. There the single program gains most, and the gain is
# the larger the faster the device. Wide ones are bound by their products, and run near the peak.
#
# Between them it is memory that counts. For each parameter a step takes $6B$ FLOP, and Adam moves 28 bytes: it reads
# weight, gradient and both moments, and writes three of them back. A device with a ratio of FLOP/s to bytes/s of $r$
# therefore needs a batch of some $28\, r / 6$ before its products take longer than its update: on a CPU, with $r$ around
# 10, any batch will do; on an H100 in bfloat16, with $r \approx 300$, it takes some 1,400 rows. If the fraction is low
# on your device, raise the batch first.
#
# To use such a device well with *small* networks, train many of them at once: `jax.vmap` over networks turns many small
# products into one large one.
#
# A fraction above 100% says that the square product was not this device's fastest: on a CPU, bfloat16 products of other
# shapes can be faster than large square ones. In float32 it says that the machine was busy with something else while the
# peak was measured: measure again.
