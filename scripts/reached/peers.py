"""Peers in a recipe's minutes: PyTorch with the recipe's network, rule and augmentation, scikit-learn with what it has.

Each is handed the recipe's settings, times its own first epoch, and takes as many as end in time. What reading the data
takes is within the minutes, as it is within the recipe's.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxfc import load
from jaxfc.data import Dataset
from jaxfc.training.config import TrainConfig
from jaxfc.training.cookbook import recipe

LAST = 3.0  # seconds for measuring test images, and for what is not foreseen


def pytorch(config: TrainConfig, data: Dataset, end: float, seed: int) -> tuple[int, Callable[[np.ndarray], Any]]:
    """The recipe in PyTorch: eager, products by `torch.autocast` in the recipe's type, fused AdamW, cosine schedule.

    Augmentations are those of whole batches that a recipe for a minute has: mirrored images, and shifts by as much
    for all images of a batch.

    Args:
        config: the recipe's settings.
        data: the data.
        end: when to have ended, by `time.perf_counter`.
        seed: of all that is drawn.

    Returns:
        The epochs trained, and what predicts classes of rows.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(seed)
    x, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train).long()
    mean = torch.from_numpy(np.asarray(data.normalizer.mean))
    scale = float(data.normalizer.scale)
    widths = (data.num_features // config.pool**2, *config.hidden)
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(widths, config.hidden, strict=False):
        layers += [nn.Linear(fan_in, fan_out), nn.BatchNorm1d(fan_out), nn.ReLU(inplace=True)]
        layers += [nn.Dropout(1 - (config.dropout_keep_ratio or 1.0))]
    net = nn.Sequential(*layers, nn.Linear(widths[-1], len(data.classes)))
    decayed = [p for p in net.parameters() if p.ndim == 2]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}]
    groups += [{"params": [p for p in net.parameters() if p.ndim == 1], "weight_decay": 0.0}]
    rule = torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
    half = config.compute_dtype == "bfloat16"
    pixels = next((int(each.partition(":")[2]) for each in config.augment if each.startswith("shift")), 0)

    def outputs(rows: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            normalized = (rows.float() - mean) * scale
            if config.pool > 1:
                normalized = functional.avg_pool2d(normalized.view(-1, *data.image_shape), config.pool).flatten(1)
            return net(normalized)

    def augmented(rows: Any) -> Any:
        images = rows.view(-1, *data.image_shape)
        if "mirror" in config.augment:
            images = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(3), images)
        if pixels:
            down, right = torch.randint(0, 2 * pixels + 1, (2,)).tolist()
            padded = functional.pad(images, (pixels,) * 4)
            height, width = images.shape[2:]
            images = padded[:, :, down : down + height, right : right + width]
        return images.reshape(len(rows), -1)

    steps = len(x) // config.batch_size
    warmup, total, taken, epoch = config.warmup_epochs * steps, 0, 0, 0
    while epoch < max(total, 1):
        begin = time.perf_counter()
        net.train()
        for plan in torch.randperm(len(x))[: steps * config.batch_size].view(steps, -1):
            rows = augmented(x.index_select(0, plan))
            loss = functional.cross_entropy(outputs(rows), y[plan], label_smoothing=config.label_smoothing)
            rule.zero_grad(set_to_none=True)
            loss.backward()
            fallen = taken / (total * steps) if total else 0.0  # how long it takes is not known in the first epoch
            rate = min(1.0, (taken + 1) / max(warmup, 1)) * 0.5 * (1 + np.cos(np.pi * fallen))
            for group in rule.param_groups:
                group["lr"] = config.learning_rate * rate
            rule.step()
            taken += 1
        epoch += 1
        if not total:
            total = 1 + max(int((end - LAST - time.perf_counter()) / (time.perf_counter() - begin)), 0)
    net.eval()

    def classes_of(rows: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            parts = [outputs(part).argmax(dim=1) for part in torch.from_numpy(np.asarray(rows)).split(1000)]
        return torch.cat(parts).numpy()

    return epoch, classes_of


def scikit_learn(config: TrainConfig, data: Dataset, end: float, seed: int) -> tuple[int, Callable[[np.ndarray], Any]]:
    """scikit-learn's `MLPClassifier` of the recipe's widths and batches; it has neither normalization nor dropout.

    Args, returns: as `pytorch`.
    """
    from sklearn.neural_network import MLPClassifier

    normalizer = data.pooled(config.pool).normalizer
    x = np.asarray(normalizer(data.x_train))
    deviation = x.std()
    x = x / deviation
    model = MLPClassifier(config.hidden, batch_size=config.batch_size, random_state=seed)
    epoch, longest = 0, 0.0
    while time.perf_counter() + longest + LAST < end:
        begin = time.perf_counter()
        model.partial_fit(x, data.y_train, classes=np.arange(len(data.classes)))
        epoch, longest = epoch + 1, max(longest, time.perf_counter() - begin)
    return epoch, lambda rows: model.predict(np.asarray(normalizer(rows)) / deviation)


PEERS = {"pytorch": pytorch, "scikit-learn": scikit_learn}


def main() -> None:
    """Train a peer, and print what it reached as JSON."""
    begin = time.perf_counter()
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=[*PEERS])
    parser.add_argument("recipe")
    parser.add_argument("seed", type=int)
    args = parser.parse_args()
    chosen = recipe(args.recipe)
    foreign = [each for each in chosen.config.augment if each != "mirror" and not each.startswith("shift:")]
    plain = (chosen.config.network, chosen.config.update_rule) == ("plain", "adamw")
    if chosen.minutes is None or not plain or foreign:
        parser.error(
            f"{args.recipe}: peers are compared at plain networks, in minutes, by AdamW on mirrored and shifted images"
        )
    data = load(chosen.config.data)
    epochs, classes_of = PEERS[args.peer](chosen.config, data, begin + 60 * chosen.minutes, args.seed)
    val, test = (float(np.mean(classes_of(x) == y)) for x, y in ((data.x_val, data.y_val), (data.x_test, data.y_test)))
    print(json.dumps({"epochs": epochs, "val": round(val, 4), "test": round(test, 4)}))


if __name__ == "__main__":
    main()
