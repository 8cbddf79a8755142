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
# # Fully-connected networks: depth, scale, and the rule of the update
#
# A network of depth $L$ is a chain of matrix products with something non-linear in between,
#
# $$h_0 = x, \qquad h_l = \max(0,\; h_{l-1} W_l + b_l), \qquad s = h_{L-1} W_L + b_L ,$$
#
# and training it means walking down the gradient of a loss of the scores $s$. This notebook asks, by experiment, what
# makes that walk succeed:
#
# 1. Are the gradients right at all?
# 2. Can a network learn fifty images by heart, and why is that harder for a deeper one?
# 3. What do momentum, RMSProp and Adam add to plain gradient descent?
# 4. Why does AdaGrad come to a halt?
# 5. How far does a wide, regularized network get on CIFAR-10, with settings found at random?
#
# Everything goes through `jaxfc.cs231n`, which has the names of the CS231n assignment: models are objects with a dict
# of NumPy arrays, and a `Solver` trains them. Underneath, every number comes from compiled JAX programs.

# %%
try:
    import jaxfc
except ImportError:
    # %pip install -q git+https://github.com/jaxfc/jaxfc
    import jaxfc

import jax

print(f"jaxfc {jaxfc.__version__}, JAX {jax.__version__}; devices: {', '.join(map(str, jax.devices()))}")

# %% [markdown]
# Two environment variables change what is run. `JAXFC_NOTEBOOK=quick` makes everything small, to see in under a minute
# that all cells work. `JAXFC_DATA` names a folder with the CIFAR-10 files, if you have them; without it they are
# downloaded once (163 MB).

# %%
import os
import time

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from jaxfc import optim
from jaxfc.cs231n.classifiers.fc_net import FullyConnectedNet, affine_relu_forward
from jaxfc.cs231n.data_utils import get_CIFAR10_data
from jaxfc.cs231n.gradient_check import eval_numerical_gradient
from jaxfc.cs231n.solver import Solver
from jaxfc.cs231n.vis_utils import visualize_grid

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
started = time.perf_counter()


# %% [markdown]
# ## The data
#
# CIFAR-10 has 60,000 colour pictures of 32 × 32 pixels in ten classes. 49,000 are for training, 1,000 for choosing
# between settings, 1,000 for the final measurement; the mean training picture is subtracted from all of them.
#
# Where CIFAR-10 cannot be had, the notebook runs on the handwritten digits that come with jaxfc: 8 × 8 pixels, here
# stretched from 0–16 to 0–255 so that the same settings mean roughly the same. The text below is about CIFAR-10.

# %%
def digits_data():
    """The digits data set with the keys of `get_CIFAR10_data`; images are rows of 64 pixels."""
    digits = jaxfc.load("digits")
    mean = digits.x_train.mean(axis=0)
    data = {}
    for split in ("train", "val", "test"):
        x, y = digits.split(split)
        data |= {f"X_{split}": (x - mean) * 255 / 16, f"y_{split}": y.astype(np.int64)}
    return data


def get_data():
    """CIFAR-10 if it is at hand or can be downloaded, otherwise digits; a quick run downloads nothing."""
    if QUICK and not os.environ.get("JAXFC_DATA"):
        return "digits", digits_data()
    try:
        return "CIFAR-10", get_CIFAR10_data(num_training=5000 if QUICK else 49000)
    except OSError as error:
        print(f"No CIFAR-10: {error}")
        return "digits", digits_data()


def first_rows(n):
    """The data with the first n training rows only."""
    return data | {"X_train": data["X_train"][:n], "y_train": data["y_train"][:n]}


name, data = get_data()
D = data["X_train"][0].size
print(f"Data: {name}, {D} features")
for key, value in data.items():
    print(f"  {key}: {value.shape} {value.dtype}")


# %% [markdown]
# ## 1. Are the gradients right?
#
# jaxfc derives its gradients by hand. A centred difference estimates each entry independently of any derivation,
#
# $$\frac{\partial f}{\partial w} \approx \frac{f(w + h) - f(w - h)}{2h}, \qquad \text{error } O(h^2) .$$
#
# With $h = 10^{-5}$ in float64, rounding alone moves the estimate by some $10^{-11}$: relative errors around $10^{-7}$
# mean agreement. The largest one printed belongs to whichever entry has the smallest gradient, and may reach $10^{-5}$
# where that gradient is itself next to nothing. (A ReLU has a kink at 0; an entry whose two evaluations fell on
# different sides of it would differ by far more.) With no regularization and tiny weights the scores are nearly equal, so
# the loss should start near $\ln 10 \approx 2.303$; regularization adds $\frac{\lambda}{2} \sum_l \|W_l\|^2$.

# %%
def rel_error(a, b):
    """The largest relative difference of any entry."""
    return np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)))


def loss_at(_):
    """The loss, once a parameter of `model` has been changed in place."""
    return model.loss(X, y)[0]


np.random.seed(231)
X, y = np.random.randn(2, 15), np.random.randint(10, size=2)
for reg in (0, 3.14):
    model = FullyConnectedNet([20, 30], input_dim=15, reg=reg, weight_scale=5e-2, dtype=np.float64)
    loss, grads = model.loss(X, y)
    print(f"reg = {reg}: initial loss {loss:.6f}")
    for key in sorted(grads):
        numerical = eval_numerical_gradient(loss_at, model.params[key], verbose=False, h=1e-5)
        print(f"  {key}: relative error {rel_error(numerical, grads[key]):.1e}")

# %% [markdown]
# ## 2. Fifty images by heart
#
# A network with hundreds of thousands of parameters must be able to memorize fifty images. If it cannot, something is
# wrong, be it the code or the settings. Below, plain gradient descent does so for three layers and for five, each
# started at a scale and a learning rate that suit it.

# %%
FEW = 50


def overfit(depth, weight_scale, learning_rate):
    """Train a network of `depth` layers on 50 images for 20 epochs of two batches."""
    model = FullyConnectedNet([100] * (depth - 1), input_dim=D, weight_scale=weight_scale, dtype=np.float64)
    few = first_rows(FEW) | {"X_val": data["X_val"][:100], "y_val": data["y_val"][:100]}
    config = {"learning_rate": learning_rate}
    solver = Solver(model, few, num_epochs=20, batch_size=25, optim_config=config, verbose=False)
    solver.train()
    return solver


np.random.seed(0)
fig, axes = plt.subplots(1, 2, figsize=(10, 3.6))
for depth, weight_scale, learning_rate in [(3, 4e-2, 3e-3), (5, 7e-2, 5e-3)]:
    solver = overfit(depth, weight_scale, learning_rate)
    print(f"{depth} layers: loss {solver.loss_history[-1]:.4f}, training accuracy {solver.train_acc_history[-1]:.2f}")
    axes[0].semilogy(solver.loss_history, label=f"{depth} layers")
    axes[1].plot(solver.train_acc_history, label=f"{depth} layers")
axes[0].set(title="Loss of each batch", xlabel="iteration", ylabel="loss")
axes[1].set(title=f"Accuracy on the {FEW} images", xlabel="epoch", ylabel="accuracy", ylim=(0, 1.05))
axes[1].set_xticks(range(0, 21, 5))
for ax in axes:
    ax.legend()
plt.show()

# %% [markdown]
# ### What the initial scale does
#
# Those settings were not luck for three layers, but close to it for five. To see this, repeat the training over a
# range of initial scales and learning rates.

# %%
scales = np.logspace(-3, -0.5, 4 if QUICK else 16)
rates = [1e-3] if QUICK else [2e-4, 1e-3, 5e-3]

fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True)
for ax, depth in zip(axes, (3, 5), strict=True):
    for learning_rate, color in zip(rates, plt.cm.viridis(np.linspace(0.1, 0.8, len(rates))), strict=True):
        np.random.seed(1)
        accuracy = [overfit(depth, scale, learning_rate).train_acc_history[-1] for scale in scales]
        ax.semilogx(scales, accuracy, "o-", color=color, markersize=4, label=f"learning rate {learning_rate:g}")
        learned = scales[np.array(accuracy) >= 0.95]
        window = f"{learned.min():.4f} to {learned.max():.4f}" if len(learned) else "nowhere"
        print(f"{depth} layers, learning rate {learning_rate:g}: at least 95% at {len(learned):2d} scales, {window}")
    ax.set(title=f"{depth} layers", xlabel="standard deviation of initial weights", ylim=(0, 1.05))
axes[0].set_ylabel("training accuracy after 20 epochs")
axes[0].legend(loc="lower left", bbox_to_anchor=(0.0, 0.0))
fig.suptitle(f"Learning {FEW} images by heart: the window of initial scales that work")
plt.show()

# %% [markdown]
# The reason can be computed. If weights are independent with standard deviation $\sigma$, a pre-activation
# has mean square $\sigma^2 \|h\|^2$, and the ReLU keeps half of that. From one hidden layer of width $n$ to the next,
# the root mean square of the activations is therefore multiplied by the gain
#
# $$g = \sigma \sqrt{n / 2}, \qquad \mathrm{rms}(h_l) = g^{\,l-1} \cdot \sigma \sqrt{D / 2} \cdot \mathrm{rms}(x) .$$
#
# The gradient travels through the same matrices backwards and is multiplied in the same way. The gain counts once for
# three layers, and three times for five: what is a factor of 10 in the former is a factor of 1,000 in the latter. With
# $n = 100$ the gain is 1 at $\sigma = \sqrt{2 / 100} \approx 0.14$. Since a raw pixel is large (its root mean square is
# around 60), scales somewhat below that are right for the whole network.

# %%
np.random.seed(2)
width, layers = 100, np.arange(1, 5)
x = data["X_train"][:FEW].reshape(FEW, -1)
fig, ax = plt.subplots(figsize=(7, 3.8))
for scale, color in zip((1e-2, 5e-2, np.sqrt(2 / width), 3e-1), plt.cm.plasma([0.0, 0.3, 0.55, 0.8]), strict=True):
    model = FullyConnectedNet([width] * 4, input_dim=D, weight_scale=scale, dtype=np.float64)
    h, measured = x, []
    for layer in layers:
        h, _ = affine_relu_forward(h, model.params[f"W{layer}"], model.params[f"b{layer}"])
        measured.append(np.sqrt(np.mean(h**2)))
    predicted = (scale * np.sqrt(width / 2)) ** (layers - 1) * scale * np.sqrt(D / 2) * np.sqrt(np.mean(x**2))
    ax.semilogy(layers, predicted, "--", color=color, linewidth=1)
    ax.semilogy(layers, measured, "o", color=color, label=f"$\\sigma$ = {scale:.2f}")
ax.plot([], [], "--", color="gray", linewidth=1, label="predicted")
ax.set(title="Size of activations before any training", xlabel="hidden layer", ylabel="root mean square")
ax.set_xticks(layers)
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ## 3. Four update rules
#
# Let $g$ be the gradient of a batch, $\eta$ the learning rate.
#
# | rule | keeps | step |
# |---|---|---|
# | SGD | nothing | $-\eta g$ |
# | momentum | $v \leftarrow \mu v - \eta g$ | $v$ |
# | RMSProp | $c \leftarrow \rho c + (1 - \rho) g^2$ | $-\eta g / (\sqrt c + \epsilon)$ |
# | Adam | $m \leftarrow \beta_1 m + (1 - \beta_1) g, \;\; c \leftarrow \beta_2 c + (1 - \beta_2) g^2$ | $-\eta \hat m / (\sqrt{\hat c} + \epsilon)$ |
#
# Momentum adds up what successive gradients agree on: along a constant gradient the step grows towards
# $\eta g / (1 - \mu)$, ten times larger for $\mu = 0.9$, while contributions that change sign cancel. RMSProp divides
# each parameter's gradient by its recent size, so that parameters with small gradients move as far as those with large
# ones. Adam does both; its hats are bias corrections, $\hat m = m / (1 - \beta_1^t)$, without which the averages, which
# start at zero, would be too small at first.
#
# All four train the same network, six layers deep, on 4,000 images for five epochs.

# %%
learning_rates = {"sgd": 5e-3, "sgd_momentum": 5e-3, "rmsprop": 1e-4, "adam": 1e-3}
labels = {"sgd": "SGD", "sgd_momentum": "momentum", "rmsprop": "RMSProp", "adam": "Adam"}
num_train, num_epochs = (1000, 2) if QUICK else (4000, 5)

solvers = {}
for rule, learning_rate in learning_rates.items():
    np.random.seed(3)
    model = FullyConnectedNet([100] * 5, input_dim=D, weight_scale=5e-2)
    solver = Solver(
        model,
        first_rows(num_train),
        num_epochs=num_epochs,
        batch_size=100,
        update_rule=rule,
        optim_config={"learning_rate": learning_rate},
        verbose=False,
    )
    solver.train()
    solvers[rule] = solver
    train_acc, val_acc = solver.train_acc_history[-1], solver.val_acc_history[-1]
    print(f"{labels[rule]:9s} training accuracy {train_acc:.3f}, validation accuracy {val_acc:.3f}")


# %%
def smooth(values, width=10):
    """The running mean of so many values, and the positions of their midpoints."""
    width = min(width, len(values))
    return np.arange(len(values) - width + 1) + (width - 1) / 2, np.convolve(values, np.ones(width) / width, "valid")


fig, axes = plt.subplots(1, 3, figsize=(13, 3.8))
for i, (rule, solver) in enumerate(solvers.items()):
    axes[0].plot(solver.loss_history, color=f"C{i}", alpha=0.2, linewidth=1)
    axes[0].plot(*smooth(solver.loss_history), color=f"C{i}", label=labels[rule])
    axes[1].plot(solver.train_acc_history, "o-", color=f"C{i}", markersize=4, label=labels[rule])
    axes[2].plot(solver.val_acc_history, "o-", color=f"C{i}", markersize=4, label=labels[rule])
axes[0].set(title="Loss: each batch, and a mean of ten", xlabel="iteration", ylabel="loss")
axes[0].set_ylim(top=min(4, max(max(solver.loss_history) for solver in solvers.values())))
axes[1].set(title="Training accuracy", xlabel="epoch", ylabel="accuracy")
axes[2].set(title="Validation accuracy", xlabel="epoch", ylabel="accuracy")
axes[2].sharey(axes[1])
for ax in axes:
    ax.legend()
plt.show()


# %% [markdown]
# SGD is still on its way where the other three are done with the easy part: for it, the five epochs are too short.
# The gap between training and validation accuracy opens at the same time: 4,000 images are few enough to be learned by
# heart.

# %% [markdown]
# ## 4. Why AdaGrad comes to a halt
#
# AdaGrad is RMSProp without forgetting:
#
# $$c \leftarrow c + g^2, \qquad w \leftarrow w - \frac{\eta}{\sqrt c + \epsilon}\, g .$$
#
# The cache $c$ is a sum, so it can only grow. While gradients stay of about the same size, $c \approx t\, g^2$, and the
# factor in front of the gradient falls like $1 / \sqrt t$, whether or not there is anything left to learn. In RMSProp
# the cache is a mean over roughly the last $1 / (1 - \rho) = 100$ iterations, and the factor follows the gradients.
#
# Here both rules, those of `jaxfc.optim`, which take and return whole trees of arrays, train the network of the last
# section. After each iteration we note the effective step size $\eta / (\sqrt c + \epsilon)$, its median over all
# weights. RMSProp's first cache is $0.01\, g^2$, so its learning rate of $10^{-4}$ starts it level with AdaGrad at
# $10^{-3}$.

# %%
def run_rule(rule, learning_rate, iterations, num_train=4000):
    """Train by a rule of `jaxfc.optim`; return each iteration's loss and median effective step size."""
    np.random.seed(4)
    model = FullyConnectedNet([100] * 5, input_dim=D, weight_scale=5e-2)
    X, y = first_rows(num_train)["X_train"].astype(np.float32), first_rows(num_train)["y_train"]
    params = jax.tree.map(jnp.asarray, model.params)
    state = rule.init(params, learning_rate=learning_rate)
    update = jax.jit(rule)
    losses, steps = [], []
    for _ in range(iterations):
        rows = np.random.choice(len(X), 100)
        model.params = params
        loss, grads = model.loss(X[rows], y[rows])
        params, state = update(params, jax.tree.map(jnp.asarray, grads), state)
        caches = np.concatenate([np.ravel(cache) for key, cache in state.cache.items() if key.startswith("W")])
        losses.append(loss)
        steps.append(float(state.learning_rate) / (np.sqrt(np.median(caches)) + float(state.epsilon)))
    return losses, steps


iterations = 40 if QUICK else 800
runs = {"AdaGrad": run_rule(optim.adagrad, 1e-3, iterations), "RMSProp": run_rule(optim.rmsprop, 1e-4, iterations)}
for rule, (losses, steps) in runs.items():
    print(
        f"{rule}: step size {steps[0]:.3f} at first, {steps[-1]:.3f} at last; loss {np.mean(losses[-20:]):.3f} at last"
    )

# %%
t = np.arange(1, iterations + 1)
fig, axes = plt.subplots(1, 2, figsize=(10, 3.8))
for i, (rule, (losses, steps)) in enumerate(runs.items()):
    axes[0].loglog(t, steps, color=f"C{i}", label=rule)
    axes[1].plot(losses, color=f"C{i}", alpha=0.2, linewidth=1)
    axes[1].plot(*smooth(losses, 20), color=f"C{i}", label=rule)
axes[0].loglog(t, runs["AdaGrad"][1][0] / np.sqrt(t), "--", color="gray", linewidth=1, label=r"$\propto 1 / \sqrt{t}$")
axes[0].set(title="Effective step size (median)", xlabel="iteration $t$", ylabel=r"$\eta\,/\,(\sqrt{c} + \epsilon)$")
axes[1].set(title="Loss: each batch, and a mean of twenty", xlabel="iteration", ylabel="loss")
axes[1].set_ylim(0, min(4, max(runs["AdaGrad"][0])))
for ax in axes:
    ax.legend()
plt.show()

# %% [markdown]
# On the left, AdaGrad's step size falls along the dashed line at first, and then below it: the gradients themselves grow
# as training goes on, and the sum of their squares with them. RMSProp follows the same path only until its mean has
# filled its window of some 100 iterations, and then levels off. On the right, both losses go down together for as long
# as the step sizes agree, and part where they part. AdaGrad has not arrived at a minimum; it has run out of steps.

# %% [markdown]
# ## 5. A search at random, and the best network
#
# Now a network of two wide hidden layers, 2,048 and 1,024 units, with batch normalization, dropout, an L2 penalty and
# Adam. Four numbers have to be chosen. Points drawn at random serve better than a grid of as many points: on a grid
# each number takes few different values, and if only one of the four matters, most of the trials repeat one another.
# Numbers that act by their order of magnitude are drawn uniformly in their logarithm:
#
# $$\eta = 10^{U(-3, -2)}, \quad \sigma = 10^{U(-2, -1)}, \quad \lambda = 10^{U(-5, -3)}, \quad
#   \text{keep ratio} = U(0.3, 0.5) .$$
#
# Each trial is a short training on a part of the data; validation accuracy decides.

# %%
if QUICK:
    HIDDEN, TRIALS, SEARCH_ROWS, SEARCH_EPOCHS, FINAL_EPOCHS, BATCH = [128, 64], 2, 500, 2, 1, 100
else:
    HIDDEN, TRIALS, SEARCH_ROWS, SEARCH_EPOCHS, FINAL_EPOCHS, BATCH = [2048, 1024], 8, 5000, 4, 4, 512


def build(settings):
    """A network to be trained with those settings."""
    return FullyConnectedNet(
        HIDDEN,
        input_dim=D,
        weight_scale=settings["weight_scale"],
        reg=settings["reg"],
        dropout_keep_ratio=settings["keep_ratio"],
        normalization="batchnorm",
    )


def train(settings, data, **kwargs):
    """Train a network with those settings; return the solver."""
    config = {"learning_rate": settings["learning_rate"]}
    solver = Solver(build(settings), data, batch_size=BATCH, update_rule="adam", optim_config=config, **kwargs)
    solver.train()
    return solver


np.random.seed(5)
trials = []
print("trial  learning rate  weight scale       reg  keep ratio  validation accuracy")
for trial in range(1, TRIALS + 1):
    settings = {
        "learning_rate": 10 ** np.random.uniform(-3, -2),
        "weight_scale": 10 ** np.random.uniform(-2, -1),
        "reg": 10 ** np.random.uniform(-5, -3),
        "keep_ratio": np.random.uniform(0.3, 0.5),
    }
    solver = train(settings, first_rows(SEARCH_ROWS), num_epochs=SEARCH_EPOCHS, lr_decay=0.8, verbose=False)
    trials.append((solver.best_val_acc, settings))
    lr, ws, reg, keep = settings.values()
    print(f"{trial:5d}  {lr:13.5f}  {ws:12.4f}  {reg:8.1e}  {keep:10.2f}  {solver.best_val_acc:19.3f}")
best_accuracy, best = max(trials, key=lambda trial: trial[0])

# %%
titles = {
    "learning_rate": "learning rate",
    "weight_scale": "weight scale",
    "reg": "L2 strength",
    "keep_ratio": "keep ratio",
}
fig, axes = plt.subplots(1, 4, figsize=(13, 3.2), sharey=True)
for ax, (key, title) in zip(axes, titles.items(), strict=True):
    ax.plot([settings[key] for _, settings in trials], [accuracy for accuracy, _ in trials], "o", color="C0")
    ax.plot(best[key], best_accuracy, "o", color="C3", markersize=9, label="best trial")
    ax.set(title=title, xlabel=title)
    if key != "keep_ratio":
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter("")  # a decade has room for its ends alone
limits = {"learning_rate": (1e-3, 1e-2), "weight_scale": (1e-2, 1e-1), "reg": (1e-5, 1e-3), "keep_ratio": (0.3, 0.5)}
for ax, limit in zip(axes, limits.values(), strict=True):
    ax.set_xlim(limit)
axes[0].set_ylabel("validation accuracy")
axes[0].legend(loc="lower left")
fig.suptitle("The trials, by each of their four numbers")
plt.show()

# %% [markdown]
# Of the four numbers the learning rate tells most: the four trials below 0.002 are the best four. The other three show
# no such order in eight trials, though that does not mean that they are without effect: eight points, each measured
# once on 1,000 images (a standard error of some 0.015), cannot separate small effects. What the search can do is find a
# place that is good enough to train from, on all of the data and for longer.

# %%
np.random.seed(6)
begun = time.perf_counter()
solver = train(best, data, num_epochs=FINAL_EPOCHS, lr_decay=0.85, print_every=50)
best_model = solver.model
print(f"Trained in {time.perf_counter() - begun:.0f} s")

# %%
fig, axes = plt.subplots(1, 2, figsize=(10, 3.8))
axes[0].plot(solver.loss_history, color="C0", alpha=0.25, linewidth=1)
axes[0].plot(*smooth(solver.loss_history, 20), color="C0", label="mean of twenty batches")
axes[0].set(title="Loss, with dropout and L2 penalty", xlabel="iteration", ylabel="loss")
axes[1].plot(solver.train_acc_history, "o-", label="training (sample of 1,000)")
axes[1].plot(solver.val_acc_history, "o-", label="validation")
axes[1].set(title="Accuracy", xlabel="epoch", ylabel="accuracy")
axes[1].set_xticks(range(FINAL_EPOCHS + 1))
for ax in axes:
    ax.legend()
plt.show()

# %%
for split in ("val", "test"):
    predicted = np.argmax(best_model.loss(data[f"X_{split}"]), axis=1)
    print(f"{split}: accuracy {np.mean(predicted == data[f'y_{split}']):.3f} on {len(predicted)} images")


# %% [markdown]
# A little over half of the test images are right, with a network that does not know which pixels are neighbours: it
# would do as well if the pixels of all images were shuffled alike. Test accuracy above validation accuracy is chance:
# both are measured on 1,000 images. The training accuracy is measured without dropout, and the small gap to the
# validation accuracy says that the network could still be trained for longer.
#
# Last, what the first layer has learned. Each unit's weights can be drawn as the image that it responds to most; to the
# right, without the noise that it was initialized with.

# %%
def pictures(weights):
    """Columns of a first layer's weights as images."""
    if D == 3 * 32 * 32:
        return weights.T.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return weights.T.reshape(-1, 8, 8, 1)


np.random.seed(6)
start = build(best).params["W1"]
change = best_model.params["W1"] - start
units = np.argsort(-np.sum(change**2, axis=0))[:36]

fig, axes = plt.subplots(1, 2, figsize=(7.2, 4))
for ax, weights, title in zip(axes, (best_model.params["W1"], change), ("Weights", "What training added"), strict=True):
    ax.imshow(visualize_grid(pictures(weights[:, units])).astype(np.uint8).squeeze(), cmap="gray")
    ax.set(title=title)
    ax.axis("off")
fig.suptitle("First-layer weights of the 36 units that training changed most")
plt.show()

# %%
print(f"The whole notebook took {time.perf_counter() - started:.0f} s.")
