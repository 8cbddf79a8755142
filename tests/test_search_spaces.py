"""Spaces of values, and the settings drawn from them."""

import numpy as np
import pytest

from jaxfc import search
from jaxfc.search.spaces import parse, spell

SPACES = {
    "learning_rate": search.loguniform(1e-4, 1e-1),
    "dropout_keep_ratio": search.uniform(0.3, 0.5),
    "hidden": search.choice((64,), (128, 64)),
    "seed": search.integers(0, 9),
}


def test_draws_stay_in_their_spaces_and_fill_them():
    drawn = search.sample(SPACES, 400, seed=3)
    rates = np.log10([each["learning_rate"] for each in drawn])
    ratios = np.array([each["dropout_keep_ratio"] for each in drawn])
    assert -4 <= rates.min() < -3.9 < -1.1 < rates.max() <= -1
    assert abs(rates.mean() + 2.5) < 0.15
    assert 0.3 <= ratios.min() < 0.31 < 0.49 < ratios.max() <= 0.5
    assert {each["hidden"] for each in drawn} == {(64,), (128, 64)}
    assert {each["seed"] for each in drawn} == set(range(10))
    assert abs(np.corrcoef(rates, ratios)[0, 1]) < 0.15


def test_a_draw_depends_on_seed_number_and_name_alone():
    drawn = search.sample(SPACES, 20, seed=1)
    assert search.sample(SPACES, 5, seed=1) == drawn[:5]
    assert search.sample(SPACES, 5, seed=1, first=10) == drawn[10:15]
    alone = search.sample({"seed": SPACES["seed"]}, 20, seed=1)
    assert [each["seed"] for each in alone] == [each["seed"] for each in drawn]
    assert search.sample(SPACES, 20, seed=2) != drawn


def test_a_grid_is_every_combination():
    points = search.grid({"reg": search.logspace(1e-4, 1e-2, 3), "seed": search.seeds(2)})
    assert [(p["reg"], p["seed"]) for p in points] == [(r, s) for r in (1e-4, 1e-3, 1e-2) for s in (0, 1)]


@pytest.mark.parametrize(
    ("text", "space"),
    [
        ("loguniform:1e-3:1e-2", search.loguniform(1e-3, 1e-2)),
        ("uniform:0.3:0.5", search.uniform(0.3, 0.5)),
        ("integers:2:5", search.integers(2, 5)),
        ("seeds:4", search.integers(0, 3)),
        ("choice:none,batchnorm", search.choice(None, "batchnorm")),
        ("choice:16,32", search.choice(16, 32)),
    ],
)
def test_spaces_are_read_as_the_command_line_has_them(text, space):
    assert parse("reg", text) == space
    assert parse("reg", spell(space)) == space


def test_widths_are_joined_by_x():
    space = parse("hidden", "choice:64,128x64,linear")
    assert space.options == ((64,), (128, 64), ())
    assert parse("hidden", spell(space)) == space


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loguniform:1e-2:1e-3", "reg=loguniform:1e-2:1e-3: loguniform:0.01:0.001: the bounds are reversed"),
        ("loguniform:0:1", "bounds must be above 0; use uniform"),
        ("loguniform:-1:1", "bounds must be above 0"),
        ("uniform:2:1", "the bounds are reversed; write uniform:1.0:2.0"),
        ("uniform:0:nan", "uniform's bound=nan must be a finite number"),
        ("uniform:0", "write uniform:LOW:HIGH"),
        ("uniform:a:b", "could not convert string to float: 'a'"),
        ("integers:1:2.5", "write integers:LOW:HIGH"),
        ("seeds:0", "seeds=0 must be"),
        ("logunifrom:1:2", "did you mean 'loguniform'"),
        ("linspace:0:1:1", "linspace's count=1"),
    ],
)
def test_what_makes_no_space_is_named(text, message):
    with pytest.raises(ValueError, match="reg") as error:
        parse("reg", text)
    assert message in str(error.value)


def test_no_trials_are_no_sample():
    with pytest.raises(ValueError, match="trials=0 must be at least 1"):
        search.sample({"reg": search.uniform(0, 1)}, 0)


def test_names_are_whatever_build_takes():
    assert set(search.sample({"width": search.integers(1, 3)}, 1)[0]) == {"width"}


def test_a_grid_needs_finite_spaces():
    with pytest.raises(ValueError, match=r"reg: a grid needs choice, .* not uniform:0\.0:1\.0"):
        search.grid({"reg": search.uniform(0, 1)})
