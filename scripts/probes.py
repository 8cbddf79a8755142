"""Time 64 probes on drawn embeddings: one search, against as many fits of PyTorch and scikit-learn.

The features are 50,000 x 512, random non-linear ones of a few latent numbers, as a network's are; the classes follow
from the latent numbers by a noisy linear rule, some rarer than others. Every head is trained with balanced class
weights, its own learning rate and L2 strength (of hidden units also dropout), and stops early. Of the other libraries a
few fits are timed and multiplied; a library that does without a learning rate fits each L2 strength.

    python scripts/probes.py
    python scripts/probes.py --hidden 16 --peers torch
    python scripts/probes.py --quick
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jaxfc
from jaxfc import search
from jaxfc.search.spaces import Settings

CLASSES, LATENT, PATIENCE = 10, 64, 3
SPACES = {"learning_rate": search.loguniform(3e-4, 1e-2), "reg": search.loguniform(1e-6, 1e-2)}


class Timed(NamedTuple):
    """What fits took: seconds on the wall and of processors, and the accuracy of the best on validation rows."""

    wall: float
    cpu: float
    accuracy: float


def timed(work: Callable[[], float]) -> Timed:
    """The time of work that returns an accuracy."""
    wall, cpu = time.perf_counter(), time.process_time()
    accuracy = work()
    return Timed(time.perf_counter() - wall, time.process_time() - cpu, accuracy)


def draw(rows: int, features: int) -> jaxfc.Dataset:
    """Draw embeddings and their classes; a tenth of as many rows again validates."""
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((rows + rows // 10, LATENT), dtype=np.float32)
    mixed = latent @ rng.standard_normal((LATENT, features), dtype=np.float32) / np.float32(LATENT**0.5)
    x = np.maximum(mixed, 0) + 0.1 * rng.standard_normal(mixed.shape, dtype=np.float32)
    rule = rng.standard_normal((LATENT, CLASSES)) / LATENT**0.5 * 4
    rarer = np.linspace(0, -2, CLASSES)
    y = np.argmax(latent @ rule + rarer + rng.gumbel(size=(len(x), CLASSES)), axis=1).astype(np.int32)
    x = (x - x[:rows].mean(axis=0)) / x[:rows].std(axis=0)
    as_they_are = jaxfc.Normalizer(np.zeros(features, np.float32), np.float32(1))
    names = tuple(map(str, range(CLASSES)))
    return jaxfc.Dataset("drawn", x[:rows], y[:rows], x[rows:], y[rows:], None, None, names, as_they_are)


def by_search(data: jaxfc.Dataset, args: argparse.Namespace, settings: list[Settings]) -> float:
    """All heads at once; the accuracy of the best."""
    config = jaxfc.TrainConfig(
        hidden=args.hidden,
        batch_size=args.batch_size,
        epochs=args.epochs,
        patience=PATIENCE,
        class_weight=("balanced",),
    )
    found = search.run(data, config, settings, chunk=args.chunk, progress=False)
    args.found = found
    return found.best.score


def by_torch(data: jaxfc.Dataset, args: argparse.Namespace, mine: Settings) -> float:
    """One head by PyTorch, on one thread."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, x_val, y = map(torch.from_numpy, (data.x_train, data.x_val, data.y_train.astype(np.int64)))
    layers: list[torch.nn.Module] = []
    widths = (x.shape[1], *args.hidden)
    for inputs, outputs in itertools.pairwise(widths):
        keep = mine["dropout_keep_ratio"]
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU(inplace=True), torch.nn.Dropout(1 - keep)]
    net = torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], CLASSES))
    adam = torch.optim.Adam(net.parameters(), lr=mine["learning_rate"], weight_decay=mine["reg"], fused=True)
    counts = torch.bincount(y)
    loss_of = torch.nn.CrossEntropyLoss(weight=len(y) / (CLASSES * counts))
    best, waited = 0.0, 0
    for _ in range(args.epochs):
        net.train()
        for rows in torch.randperm(len(y))[: len(y) // args.batch_size * args.batch_size].view(-1, args.batch_size):
            loss = loss_of(net(x.index_select(0, rows)), y.index_select(0, rows))
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
        net.eval()
        with torch.inference_mode():
            accuracy = float(np.mean(net(x_val).argmax(dim=1).numpy() == data.y_val))
        best, waited = (accuracy, 0) if accuracy > best else (best, waited + 1)
        if waited == PATIENCE:
            break
    return best


def by_sklearn(data: jaxfc.Dataset, args: argparse.Namespace, mine: Settings) -> float:
    """One head by scikit-learn: a logistic regression, or a network (which knows no class weights but in samples')."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    rows = len(data.y_train)
    if args.hidden:
        model: Any = MLPClassifier(args.hidden, batch_size=args.batch_size, learning_rate_init=mine["learning_rate"])
        model.set_params(max_iter=args.epochs, early_stopping=True, n_iter_no_change=PATIENCE, alpha=mine["reg"])
    else:
        model = LogisticRegression(C=1 / (mine["reg"] * rows), class_weight="balanced", max_iter=args.iterations)
    return model.fit(data.x_train, data.y_train).score(data.x_val, data.y_val)


PEERS = {"torch": by_torch, "sklearn": by_sklearn}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hidden", type=int, nargs="*", default=[], help="widths of hidden layers; none: linear heads")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--heads", type=int, default=64)
    parser.add_argument("--fits", type=int, default=3, help="fits of a peer to time")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=10, help="at most")
    parser.add_argument("--iterations", type=int, default=100, help="of a logistic regression, at most")
    parser.add_argument("--chunk", type=int, help="heads in a program; by default the search's choice")
    parser.add_argument("--quick", action="store_true", help="little data, to see that it works")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    args = parser.parse_args()
    args.hidden = tuple(args.hidden)
    if args.quick:
        args.heads, args.epochs, args.iterations = min(args.heads, 8), 2, 10
    data = draw(2000 if args.quick else 50_000, 64 if args.quick else 512)
    spaces = SPACES | ({"dropout_keep_ratio": search.uniform(0.6, 1)} if args.hidden else {})
    settings = search.sample(spaces, args.heads)
    ours = [timed(lambda: by_search(data, args, settings)) for _ in range(2)]
    epochs = sum(trial.epochs for trial in args.found.trials)
    print(f"{args.heads} heads {args.hidden}, {epochs} epochs in all, {args.found.programs} programs")
    report = {"jaxfc, first": ours[0]._asdict(), "jaxfc": ours[1]._asdict()}
    for name, (wall, cpu, accuracy) in zip(report, ours, strict=True):
        print(f"{name:14s} wall {wall:8.2f} s  cpu {cpu:8.2f} s  accuracy {accuracy:.3f}", flush=True)
    # Spread over those that stop early and late, by the search's own account.
    order = sorted(args.found.trials, key=lambda trial: (trial.epochs, trial.number))
    places = np.linspace(0, args.heads - 1, args.fits + 2)[1:-1].round().astype(int)
    for name in args.peers:
        PEERS[name](
            draw(1000, 8), argparse.Namespace(**vars(args) | {"epochs": 1, "iterations": 1}), settings[0]
        )  # imports
        fits = [timed(lambda mine=order[p].settings, f=PEERS[name]: f(data, args, mine)) for p in places]
        wall, cpu = (args.heads * float(np.mean([getattr(fit, kind) for fit in fits])) for kind in ("wall", "cpu"))
        best = max(fit.accuracy for fit in fits)
        report[name] = Timed(wall, cpu, best)._asdict() | {"fits timed": args.fits}
        ratios = f"{wall / ours[1].wall:.1f} times the wall, {cpu / ours[1].cpu:.1f} times the cpu of jaxfc's second"
        print(f"{name:14s} wall {wall:8.2f} s  cpu {cpu:8.2f} s  accuracy {best:.3f}  {ratios}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
