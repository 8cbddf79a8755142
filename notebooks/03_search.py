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
# # Hundreds of networks at once
#
# A hyper-parameter search usually trains one network after another. But learning rates, L2 strengths, keep ratios and
# initial scales are only numbers: networks that differ in them do the same operations on arrays of the same shapes. So
# a population of them can be *one* program, with one more axis. On an accelerator, which a small network leaves idle,
# hundreds of them cost about as much as one.
#
# This notebook draws settings, trains all of them, looks at what came of it, stops the hopeless ones early, and joins
# the best into an ensemble.

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
# `JAXFC_NOTEBOOK=quick` in the environment makes everything small, to see in under a minute that all cells work.

# %%
import os
import time

import matplotlib.pyplot as plt
import numpy as np

from jaxfc import search
from jaxfc.search.pictures import learning_curves, parallel_coordinates, scatter

# %matplotlib inline
quick = os.environ.get("JAXFC_NOTEBOOK") == "quick"
data = jaxfc.load("digits")
print(f"{data.name}: {len(data.x_train)} training, {len(data.x_val)} validation, {len(data.x_test)} test rows")

# %% [markdown]
# ## What to try
#
# A *space* says which values a setting may take. Scales and strengths are drawn uniformly in their logarithm, because
# what matters about them is their order of magnitude. Each draw depends on the seed, the number of the trial and the
# setting's name alone: more trials, or one more setting, change none of the others.

# %%
spaces = {
    "learning_rate": search.loguniform(1e-4, 1e-1),
    "weight_scale": search.loguniform(1e-3, 1),
    "reg": search.loguniform(1e-6, 1e-1),
    "dropout_keep_ratio": search.uniform(0.2, 1),
}
settings = search.sample(spaces, trials=24 if quick else 256, seed=1)
print(len(settings), "settings; the first:", settings[0])

# %% [markdown]
# ## One population
#
# `config` holds what all candidates share. `search.run` gives each the training that `jaxfc.fit` would give it, and
# ranks them by validation accuracy.

# %%
config = jaxfc.TrainConfig(hidden=(32,), epochs=3 if quick else 15, batch_size=32)
start = time.perf_counter()
found = search.run(data, config, settings, keep=8, progress=False)
seconds = time.perf_counter() - start
print(f"{len(found.trials)} networks in {seconds:.1f} s, {found.programs} compiled programs")
for trial in search.ranked(found.trials)[:5]:
    print(f"trial {trial.number:3d}: {trial.score:.4f} after epoch {trial.best_epoch}", trial.settings)

# %% [markdown]
# A population in which every setting is drawn anew shows at a glance what matters. Each line below is a candidate, from
# its settings on the left to its accuracy on the right.

# %%
parallel_coordinates(found.trials)

# %% [markdown]
# One setting at a time: learning rates below 0.001 are too small for so few epochs, and initial scales near 1 too large.
# The L2 strength and the keep ratio hardly matter here.

# %%
scatter(found.trials)

# %%
learning_curves(found.trials)

# %% [markdown]
# ## Static choices
#
# Normalization, activation and the update rule change the program itself. They can be searched all the same: candidates
# are grouped by program, and each group is compiled once. Widths and depth need no programs of their own: networks of
# several sizes are padded with zeros to that of the largest, where that is faster than to compile.

# %%
structures = search.grid(
    {
        "hidden": search.choice((16,), (64,), (32, 32)),
        "normalization": search.choice(None, "batchnorm"),
        "learning_rate": search.logspace(1e-3, 3e-2, 2 if quick else 4),
    }
)
by_structure = search.run(data, config, structures, progress=False)
print(f"{len(structures)} candidates, {by_structure.groups} groups, {by_structure.programs} programs")
for trial in search.ranked(by_structure.trials)[:3]:
    print(f"{trial.score:.4f}", trial.settings)

# %% [markdown]
# ## Stopping the hopeless
#
# Successive halving trains all candidates for a little while, lets a third of them go on, and again a third of those.
# What it costs is counted in epochs; what it may lose is a candidate that starts slowly.

# %%
long = jaxfc.TrainConfig(hidden=(32,), epochs=3 if quick else 27, batch_size=32)
for method in (search.Random(), search.Halving(eta=3), search.Hyperband(eta=3)):
    start = time.perf_counter()
    result = search.run(data, long, settings, method=method, progress=False)
    seconds = time.perf_counter() - start
    epochs = sum(trial.epochs for trial in result.trials)
    print(f"{type(method).__name__:9}  {epochs:5d} epochs  {seconds:5.1f} s  best {result.best.score:.4f}")

# %% [markdown]
# ## Seeds, and how much of a ranking is luck
#
# The validation set is small. The same settings from other initial weights spread by more than the best candidates
# differ, so that the first of a long ranking is partly the luckiest. Cross-validation is the remedy: with `folds=5`
# every candidate trains five times, on four fifths of the training rows, and its accuracy is the mean over the other
# fifths: five times as many rows as the validation set has. It tells apart what 200 rows could not.

# %%
best = found.best.settings
again = search.run(data, config, [best | {"seed": seed} for seed in range(4 if quick else 32)], progress=False)
scores = np.array([trial.score for trial in again.trials])
top = np.array([trial.score for trial in search.ranked(found.trials)[: len(scores)]])
folded = search.run(
    data, config, [t.settings for t in search.ranked(found.trials)[: len(scores)]], folds=5, progress=False
)
means = np.array([trial.score for trial in folded.trials])

figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
bins = np.linspace(min(scores.min(), top.min(), means.min()) - 0.002, 1, 24)
axes.hist(top, bins, alpha=0.6, label=f"the best {len(top)} candidates, one seed", color="#2166ac")
axes.hist(scores, bins, alpha=0.6, label=f"the best candidate, {len(scores)} seeds", color="#d6604d")
axes.hist(means, bins, histtype="step", lw=2, label=f"the best {len(top)} candidates, mean of 5 folds", color="black")
axes.set(xlabel="validation accuracy", ylabel="networks")
axes.legend(loc="upper left", fontsize=9)
plt.show()
print(f"one setting, {len(scores)} seeds: {scores.mean():.4f} ± {scores.std():.4f}")
print(f"the best {len(top)} settings, one seed: {top.min():.4f} to {top.max():.4f}")

# %% [markdown]
# ## The best model, and the best together
#
# An ensemble takes the mean of its members' probabilities. Their errors differ, so that the mean errs less.

# %%
x, y = data.split("test")
print(f"best candidate: {found.model().accuracy(x, y):.4f} on the test set")
for count in (2, 4, 8):
    print(f"the best {count} together: {found.ensemble(count).accuracy(x, y):.4f}")
found.model().save("best.safetensors")

# %% [markdown]
# The same from the command line, with a table, these pictures and a report as one page:
#
# ```sh
# jaxfc search --hidden 32 --learning-rate loguniform:1e-4:1e-1 --reg loguniform:1e-6:1e-1 --trials 256 --ensemble 8
# ```
