"""How much memory a search takes, and how it is cut to fit: figures alone, nothing is trained."""

import dataclasses
from typing import NamedTuple

import jax
import pytest
from searches import CONFIG, digits

from jaxfc.search import chunks, loop

CPU = jax.devices("cpu")[0]


@pytest.fixture(scope="module")
def data():
    return digits()


def groups_of(data, candidates, **options):
    settings = [{"learning_rate": 1e-3 * (i + 1)} for i in range(candidates)]
    return loop.lay_out(data, dataclasses.replace(CONFIG, **options), settings).groups


def shared(data, candidates, folds=1, keep=1, **options):
    return chunks.shared_bytes(data, groups_of(data, candidates, **options), folds, keep, CPU)


def bytes_of(data):
    return sum(each.nbytes for each in (data.x_train, data.y_train, data.x_val, data.y_val))


def test_data_count_once_whatever_is_searched(data):
    few, many = shared(data, 1), shared(data, 2)
    one = many - few  # what a waiting candidate takes
    assert shared(data, 11) - many == 9 * one
    assert bytes_of(data) < few < bytes_of(data) + 2 * one
    two = [*groups_of(data, 1), *groups_of(data, 1, hidden=(8, 8))]
    assert chunks.shared_bytes(data, two, 1, 1, CPU) < 2 * few


def test_folds_and_the_ensemble_that_is_kept_count(data):
    one = shared(data, 2) - shared(data, 1)
    best = shared(data, 1, keep=2) - shared(data, 1)
    assert 0 < best < one  # parameters without what a rule keeps beside them
    assert shared(data, 1, keep=5) - shared(data, 1) == 4 * best
    # A fold's rows are there a second time, as those held out of it.
    assert shared(data, 1, folds=3) - shared(data, 1) == 2 * (one + best) + data.x_train.nbytes


class Device(NamedTuple):
    """As much of a device as tells how many members it trains."""

    platform: str
    bytes_limit: int = 2**34
    device_kind: str = "any"

    def memory_stats(self):
        return {"bytes_limit": self.bytes_limit}


@pytest.mark.parametrize(
    ("hidden", "platform", "members"),
    [((64,), "gpu", 4096), ((64,), "tpu", 1024), ((600, 600), "gpu", 256), ((600, 600), "tpu", 16)],
)
def test_a_tpu_trains_as_many_members_as_its_chip_holds(data, hidden, platform, members):
    (group,) = groups_of(data, 1, hidden=hidden)
    chosen = chunks.chunking(group, 250, 5000, Device(platform))
    assert chosen == chunks.Chunking(members, 1)
    if platform == "tpu":
        assert members == chunks.FEW or members * chunks.carried_bytes(group) <= chunks.ON_CHIP
    assert chunks.chunking(group, 250, 5000, Device(platform), chunk=20).members == 20
    assert chunks.chunking(group, 250, 5000, Device(platform, 2**27)).members <= members


def test_a_member_carries_parameters_and_slots(data):
    (group,) = groups_of(data, 1, hidden=(64,))
    parameters = 64 * 64 + 64 + 64 * 10 + 10
    assert 3 * 4 * parameters < chunks.carried_bytes(group) < 3 * 4 * parameters + 100  # Adam's numbers beside


def test_a_group_is_cut_to_what_is_left_beside(data, monkeypatch):
    (group,) = groups_of(data, 8)
    each = chunks.member_bytes(group, len(data.x_val))
    monkeypatch.setattr(chunks, "free_bytes", lambda device: 10 * each / chunks.SHARE)
    assert chunks.chunking(group, 200, 8, CPU).members == 8
    assert chunks.chunking(group, 200, 8, CPU, shared=6 * each).members == 4
    with pytest.raises(ValueError, match=r"chunk=5: 5 candidate.* do not fit .*: lower --chunk"):
        chunks.chunking(group, 200, 8, CPU, 5, 6 * each)
    with pytest.raises(ValueError, match=r"chunk=1: 1 candidate.* fewer or smaller networks"):
        chunks.chunking(group, 200, 8, CPU, shared=10 * each)


def test_parts_of_a_batch_take_a_parts_activations(data):
    whole, parts = (
        chunks.member_bytes(groups_of(data, 1, hidden=(64, 64), batch_size=200, accumulate=n)[0], 1) for n in (1, 10)
    )
    assert parts < whole
