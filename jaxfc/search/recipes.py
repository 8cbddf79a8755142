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
        "hidden": choice((64,), (128, 128), (128, 128, 128)),
        "learning_rate": loguniform(5e-4, 1e-2),
        "weight_decay": loguniform(1e-4, 1e-1),
        "dropout_keep_ratio": uniform(0.7, 1.0),
    }
