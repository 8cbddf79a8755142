"""How a table is trained on where nothing else is said: the one place for such defaults."""

from typing import Any


def table_defaults(num_rows: int, num_features: int, task: str) -> dict[str, Any]:
    """Settings of a `jaxfc.TrainConfig` that suit a table, for whoever gives no others.

    Args:
        num_rows: the number of training rows; of a padded table, with those that pad it, so that tables padded to
            one length have one program.
        num_features: the number of input features.
        task: `"classification"`, `"multilabel"` or `"regression"`.

    >>> table_defaults(512, 30, "classification")["hidden"]
    (128, 128)
    >>> [table_defaults(rows, 30, "regression")["batch_size"] for rows in (20, 512, 100_000)]
    [16, 32, 256]
    """
    batch_size = next((size for most, size in _BATCHES if num_rows < most), 256)
    smoothing = {"label_smoothing": 0.1} if task == "classification" else {}
    return {
        "hidden": (128, 128),
        "activation": "relu",
        "epochs": 100,
        "batch_size": min(batch_size, num_rows),
        "update_rule": "adamw",
        "learning_rate": 2e-3,
        "weight_decay": 1e-2,
        "schedule": "cosine",
        **smoothing,
    }


_BATCHES = ((128, 16), (4096, 32), (8192, 64), (32768, 128))  # below so many rows, so many in a batch
