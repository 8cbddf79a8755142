"""Arguments of the library's functions that nobody should pass."""

from collections.abc import Callable

import jax
import numpy as np

import jaxfc
from hostile import Case, call
from jaxfc import search
from jaxfc.data import augment
from jaxfc.optim import Schedule, adam

X, Y = np.zeros((20, 4)), np.arange(20) % 2


def data(**changes: object) -> jaxfc.Dataset:
    """A data set with changed parts."""
    parts = {
        "name": "d",
        "x_train": X,
        "y_train": Y,
        "x_val": X,
        "y_val": Y,
        "x_test": None,
        "y_test": None,
        "classes": ("a", "b"),
        "normalizer": jaxfc.Normalizer(np.zeros(4, "f"), np.float32(1)),
    }
    return jaxfc.Dataset(**parts | changes)


def fit(net: object = None, rule: object = "adam", **changes: object) -> Callable[[], object]:
    """A training."""
    return lambda: jaxfc.fit(
        jaxfc.FCNet(4, (3,), 2) if net is None else net(),
        rule,
        data(),
        **{"epochs": 1, "batch_size": 5, "verbose": False} | changes,
    )


def net(*dims: object, **changes: object) -> Callable[[], object]:
    """A network, drawn and trained."""
    return fit(lambda: jaxfc.FCNet(*dims, **changes))


def trials(settings: object, **changes: object) -> Callable[[], object]:
    """A search of given settings."""
    return lambda: search.run(
        data(), jaxfc.TrainConfig(hidden=(), epochs=1, batch_size=5), settings, progress=False, **changes
    )


NESTED: list = []
for _ in range(60):
    NESTED = [NESTED, NESTED]
CALLS: dict[str, tuple[Callable[[], object], str | None]] = {
    "FCNet of 10**12": (net(4, (10**12,), 2), "[GTPE]B"),
    "FCNet of 10**30": (net(4, (10**30,), 2), "B"),
    "FCNet of -1": (net(4, (-1,), 2), "at least 1"),
    "FCNet of text": (net(4, ("wide",), 2), "int"),
    "FCNet of True": (net(4, (True,), 2), "int"),
    "FCNet of 5,000 layers": (net(4, (3,) * 5000, 2), "layers"),
    "FCNet of no outputs": (net(4, (3,), 0), "at least 1"),
    "FCNet of other outputs": (net(4, (3,), 7), "outputs"),
    "FCNet of other inputs": (net(5, (3,), 2), "features"),
    "FCNet: reg of 1e39": (net(4, (3,), 2, reg=1e39), "reg"),
    "FCNet: weight_scale of 1e39": (net(4, (3,), 2, weight_scale=1e39), "weight_scale"),
    "FCNet: weight_scale of 10**400": (net(4, (3,), 2, weight_scale=10**400), "weight_scale"),
    "FCNet: norm_eps of 1e-60": (net(4, (3,), 2, normalization="layernorm", norm_eps=1e-60), "norm_eps"),
    "FCNet: an unknown activation": (net(4, (3,), 2, activation="z" * 50_000), "activation"),
    "ResidualNet of 10**9 blocks": (fit(lambda: jaxfc.ResidualNet(4, 3, 10**9, 2)), "layers|GB"),
    "ResidualNet of 10**9 units": (fit(lambda: jaxfc.ResidualNet(4, 10**9, 1, 2)), "B"),
    "fit: nested lists for a network": (fit(lambda: NESTED), "network"),
    "fit: no rule": (fit(rule=3), "rule"),
    "fit: an unknown rule": (fit(rule="z" * 50_000), "rule"),
    "fit: 10**12 epochs": (fit(epochs=10**12), "2147483647"),
    "fit: epochs of 1.5": (fit(epochs=1.5), "integer"),
    "fit: a batch of 10**12": (fit(batch_size=10**12), "batch_size"),
    "fit: a seed of 2**63": (fit(seed=2**63), "seed"),
    "fit: a seed of 2**31": (fit(seed=2**31), "seed"),
    "fit: a seed of text": (fit(seed="x"), "seed"),
    "fit: patience of 10**30": (fit(patience=10**30), None),
    "fit: learning rate of 1e39": (fit(hyper={"learning_rate": 1e39}), "learning_rate"),
    "fit: learning rate of 10**400": (fit(hyper={"learning_rate": 10**400}), "learning_rate"),
    "fit: learning rate of 1e-60": (fit(hyper={"learning_rate": 1e-60}), "learning_rate"),
    "fit: learning rate of text": (fit(hyper={"learning_rate": "fast"}), "learning_rate"),
    "fit: an unknown number": (fit(hyper={"speed": 1}), "speed"),
    "fit: an unknown class": (fit(class_weight={"z" * 50_000: 1}), "class"),
    "fit: a class of 1e39": (fit(class_weight={"a": 1e39}), "weight"),
    "fit: a sample of 0": (fit(train_sample=0), "train_sample"),
    "fit: a sample of 10**30": (fit(train_sample=10**30), None),
    "fit: an augmentation that is none": (fit(augment=[3]), "augment"),
    "fit: a checkpoint in nowhere": (fit(checkpoint="/nowhere/at/all"), "nowhere"),
    "fit: a warm-up of 2**40 steps": (
        fit(rule=jaxfc.optim.Scheduled(adam, "cosine"), hyper={"schedule": Schedule(warmup_steps=2**40)}),
        "warmup_steps",
    ),
    "fit: a schedule of 2**40 steps": (
        fit(rule=jaxfc.optim.Scheduled(adam, "cosine"), hyper={"schedule": Schedule(total_steps=2**40)}),
        "total_steps",
    ),
    "search: nothing": (trials([]), "trials"),
    "search: 200,000 candidates": (trials([{}] * 200_000), "candidates|trials"),
    "search: a seed of 2**40": (trials([{"seed": 2**40}]), "seed"),
    "search: an unknown setting": (trials([{"z" * 50_000: 1}]), "setting"),
    "search: a setting of nested lists": (trials([{"learning_rate": NESTED}]), "learning_rate"),
    "search: rates of 1e39": (trials([{"learning_rate": 1e39}]), "learning_rate"),
    "search: 10**9 folds": (trials([{}], folds=10**9), "folds"),
    "search: keep 0": (trials([{}], keep=0), "keep"),
    "search: a chunk of 10**18": (trials([{}], chunk=10**18), "chunk"),
    "search.sample: 10**9": (lambda: search.sample({"seed": search.seeds(5)}, 10**9), "trials"),
    "search.grid: 10**12": (lambda: search.grid({"seed": search.seeds(10**6), "order": search.seeds(10**6)}), "grid"),
    "search.linspace: 10**10": (lambda: search.linspace(0, 1, 10**10), "linspace"),
    "search.linspace: 2.5": (lambda: search.linspace(0, 1, 2.5), "linspace"),
    "search.seeds: 10**30": (lambda: search.grid({"seed": search.seeds(10**30)}), "grid"),
    "search.loguniform: 0": (lambda: search.loguniform(0, 1), "above 0"),
    "search.integers: floats": (lambda: search.integers(0.5, 1), "integer"),
    "search.choice: nothing": (lambda: search.choice(), "at least one"),
    "Dataset: x of text": (lambda: data(x_train=X.astype("U")), "real numbers"),
    "Dataset: x of objects": (lambda: data(x_train=np.array([[None] * 4] * 20)), "real numbers"),
    "Dataset: x of nan": (lambda: data(x_train=X * np.nan), "nan"),
    "Dataset: x of three axes": (lambda: data(x_train=np.zeros((20, 2, 2))), "shape"),
    "Dataset: x of no rows": (lambda: data(x_train=X[:0], y_train=Y[:0]), "nothing"),
    "Dataset: y out of range": (lambda: data(y_train=Y + 2), "labels must lie"),
    "Dataset: y of floats": (lambda: data(y_train=Y + 0.5), "integers"),
    "Dataset: y too short": (lambda: data(y_train=Y[:3]), "shape"),
    "Dataset: unknown targets": (lambda: data(targets="z" * 50_000), "targets"),
    "Dataset: weights below 0": (lambda: data(w_train=Y - 1.0), "weights"),
    "Dataset: rows past the end": (lambda: data().subset(10**12), "num_train"),
    "load: text of 50 kB": (lambda: jaxfc.load("z" * 50_000), "data set"),
    "load: an unknown task": (lambda: jaxfc.load("digits", task="z" * 50_000), "task"),
    "augment: shift of 10**30": (lambda: augment.Shift((8, 8), 10**30), "pixels"),
    "augment: noise of 1e39": (lambda: augment.Noise(1e39), "scale"),
    "augment: an image of no shape": (lambda: augment.Mirror(()), "image_shape"),
    "init_state: a rate of -1": (
        lambda: jaxfc.init_state(jaxfc.FCNet(4, (), 2), adam, jax.random.key(0), learning_rate=-1),
        "learning_rate",
    ),
    "Model: no file": (lambda: jaxfc.Model.load("nowhere.safetensors"), "nowhere"),
    "Model: a folder": (lambda: jaxfc.Model.load("/"), "/"),
    "hold_out: everything": (lambda: jaxfc.data.hold_out(X, Y, 1.0), "fraction|hold"),
    "hold_out: nan": (lambda: jaxfc.data.hold_out(X, Y, float("nan")), "fraction|hold|NaN"),
}
# Where annotations are enforced, a message about these would never end.
CASES: list[Case] = [
    call(name, function, says=says, slow="nested lists" in name) for name, (function, says) in CALLS.items()
]
