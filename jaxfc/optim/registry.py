"""The built-in rules, by name."""

from jaxfc.errors import unknown_name
from jaxfc.optim.adaptive import adam, adamw, lion
from jaxfc.optim.contract import Rule
from jaxfc.optim.hyper import HYPER
from jaxfc.optim.orthogonal import muon
from jaxfc.optim.rules import adagrad, nesterov, rmsprop, sgd, sgd_momentum

RULES: dict[str, Rule] = {
    rule.name: rule for rule in (sgd, sgd_momentum, nesterov, adagrad, rmsprop, adam, adamw, lion, muon)
}
"""Every built-in rule, by name."""


def rule(name: str) -> Rule:
    """Return the rule of that name.

    Raises:
        ValueError: there is none; the nearest name is given.

    >>> from jaxfc.optim import adam
    >>> rule("adam") is adam, rule("adam").hyper
    (True, ('learning_rate', 'beta1', 'beta2', 'epsilon'))
    """
    if name not in RULES:
        raise unknown_name("update rule", name, RULES)
    return RULES[name]


def help_of(name: str) -> str:
    """Return what a hyper-parameter does, and of which rules it is, in a sentence.

    Raises:
        ValueError: there is none of that name; the nearest is given.

    >>> help_of("momentum")
    'Momentum, of sgd_momentum, nesterov and muon.'
    """
    if name not in HYPER:
        raise unknown_name("hyper-parameter", name, HYPER)
    *others, last = [rule.name for rule in RULES.values() if name in rule.hyper] or [""]
    if not last or len(others) + 1 == len(RULES):
        return f"{HYPER[name].help}."
    return f"{HYPER[name].help}, of {', '.join(others) + ' and ' if others else ''}{last}."
