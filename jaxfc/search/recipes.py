"""What a search of networks for a table tries where nothing else is said."""

from jaxfc.search.config import SearchConfig
from jaxfc.search.spaces import Space, parse
from jaxfc.training.config import TrainConfig
from jaxfc.training.recipes import noise_of, table_defaults
from jaxfc.training.runs import load_data

SPACES = {
    "hidden": "choice:32x32,64x64,64x64x64",  # one program, padded to the last
    "learning_rate": "loguniform:5e-3:4e-2",
    "weight_decay": "loguniform:0.03:2",
    "dropout_keep_ratio": "uniform:0.7:1",
}
CANDIDATES, MEMBERS = 64, 16


def table_spaces() -> dict[str, Space]:
    """Spaces of the settings of `jaxfc.TrainConfig` that suit a table; beside them `jaxfc.training.recipes` holds.

    >>> sorted(table_spaces())
    ['dropout_keep_ratio', 'hidden', 'learning_rate', 'weight_decay']
    """
    return {name: parse(name, text) for name, text in SPACES.items()}


def table_search(config: TrainConfig) -> SearchConfig:
    r"""The search of a table of which nothing else is said than what `config` says of the data.

    Raises:
        FormatError, ValueError, TypeError, FileNotFoundError: as `jaxfc.load`.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("a,b,side\n" + "1,2,left\n3,4,right\n" * 20)
    ...     file.flush()
    ...     table_search(TrainConfig(data=file.name)).trials
    64
    """
    data = load_data(config)
    noise = noise_of(data) if config.task == "regression" else 1.0
    settings = table_defaults(len(data.x_train), data.num_features, config.task, noise)
    searched = {name: value for name, value in settings.items() if name not in SPACES}
    train = TrainConfig(**searched)
    return SearchConfig(train=train, spaces=dict(SPACES), trials=CANDIDATES, ensemble=MEMBERS, greedy=True)
