"""What a search of networks for a table tries where nothing else is said."""

from jaxfc.search.spaces import Space, choice, loguniform, uniform


def table_spaces(num_rows: int, num_features: int, task: str) -> dict[str, Space]:
    """Spaces of the settings of `jaxfc.TrainConfig` that suit a table; beside them `jaxfc.training.recipes` holds.

    Args:
        num_rows: the number of training rows, as in `jaxfc.training.recipes.table_defaults`.
        num_features: the number of input features.
        task: `"classification"`, `"multilabel"` or `"regression"`.

    >>> sorted(table_spaces(512, 30, "classification"))
    ['dropout_keep_ratio', 'hidden', 'learning_rate', 'weight_decay']
    """
    return {
        "hidden": choice((32, 32), (64, 64), (64, 64, 64)),  # one program, padded to the last
        "learning_rate": loguniform(5e-3, 4e-2),
        "weight_decay": loguniform(0.03, 2.0),
        "dropout_keep_ratio": uniform(0.7, 1.0),
    }
