"""Rows that stay on the host: a run whose windows are sent ahead is the run with all rows on the device, bit by bit."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from examples import NET, PLAIN, Stop, assert_same_bits, blobs, numbers, run, stop_after

from jaxfc import FCNet
from jaxfc.errors import DivergenceError
from jaxfc.training import streaming
from jaxfc.training.streaming import ahead, window_length


@pytest.fixture(scope="module")
def data():
    return blobs()


@pytest.fixture(scope="module")
def whole(data):
    return run(data)


def weighted(data):
    return replace(data, w_train=np.random.default_rng(0).uniform(0.2, 2, len(data.x_train)).astype(np.float32))


SETTINGS = [
    (NET, {"accumulate": 2, "ema_decay": 0.9}),
    (NET, {"augment": ("noise:0.1", "mixup:0.2"), "sampling": "replacement"}),
    (NET, {"batch_size": 28, "rule": "muon"}),  # 7 iterations, in windows of 4 and 3
    (PLAIN, {"batch_size": 120}),  # a single one
    (FCNet(4, (16, 8), 3, normalization="layernorm", activation="gelu"), {"batch_size": 9}),  # 22: 5 and 2
]


@pytest.mark.parametrize(("net", "kwargs"), SETTINGS)
def test_a_streamed_run_has_the_bits_of_one_with_all_rows_on_the_device(data, net, kwargs):
    data = weighted(data)
    assert_same_bits(run(data, net, stream=True, **kwargs), run(data, net, **kwargs))


def test_one_whose_validation_rows_are_measured_in_chunks_has_the_same_bits_too(monkeypatch):
    data = numbers()
    data = replace(data, x_val=np.tile(data.x_val, (25, 1)), y_val=np.tile(data.y_val, (25, 1)))
    whole = run(data, ema_decay=0.9)
    monkeypatch.setattr(streaming, "VAL_BYTES", 0)
    assert_same_bits(run(data, stream=True, ema_decay=0.9), whole)


def test_a_streamed_run_in_float64(x64):
    data = numbers()
    data = replace(data, x_train=data.x_train.astype(np.float64), x_val=data.x_val.astype(np.float64))
    net = FCNet(4, (8,), 3, param_dtype="float64")
    streamed = run(data, net, stream=True)
    assert streamed.params[0]["w"].dtype == np.float64
    assert_same_bits(streamed, run(data, net))


def test_patience_stops_a_streamed_run_where_it_stops_another(data):
    how = {"epochs": 30, "patience": 1}
    streamed, other = run(data, stream=True, **how), run(data, **how)
    assert streamed.stopped == other.stopped == "patience"
    assert_same_bits(streamed, other)


@pytest.mark.parametrize("first", [True, False])
def test_a_run_goes_on_from_its_checkpoint_streamed_or_not(data, whole, tmp_path, first):
    with pytest.raises(Stop):
        run(data, checkpoint=tmp_path / "c", callbacks=[stop_after(2)], stream=first)
    resumed = run(data, checkpoint=tmp_path / "c", callbacks=[lambda report: None], resume=True, stream=not first)
    assert_same_bits(resumed, whole)


def test_a_streamed_run_that_diverges_says_where(data):
    with pytest.raises(DivergenceError) as streamed:
        run(data, PLAIN, "sgd", hyper={"learning_rate": 1e30}, stream=True)
    with pytest.raises(DivergenceError) as other:
        run(data, PLAIN, "sgd", hyper={"learning_rate": 1e30})
    assert str(streamed.value) == str(other.value)


def test_all_windows_of_a_run_share_a_program(data, compilations):
    net = FCNet(4, (11,), 3)
    run(data, net, stream=True)
    compilations.clear()
    run(data, net, stream=True, seed=5, epochs=7)
    assert not compilations


def test_a_run_says_that_it_is_streamed(data, capsys):
    run(data, PLAIN, stream=True, verbose=True, epochs=1)
    assert capsys.readouterr().out.startswith("streaming: 3 windows of at most 2 batches in an epoch, 256 bytes each\n")


@pytest.mark.parametrize("iterations", [1, 2, 3, 5, 7, 11, 95, 96, 97, 1000, 1009])
@pytest.mark.parametrize("batch_bytes", [1, 2**20, 2**24, 2**30])
def test_no_window_has_a_single_iteration_or_more_bytes_than_it_may(iterations, batch_bytes):
    length = window_length(iterations, batch_bytes)
    tail = iterations % length
    assert 1 <= length <= iterations
    assert iterations == 1 or (length > 1 and tail != 1)
    least = next((n for n in range(2, iterations) if iterations % n != 1), iterations)
    assert length <= least or length * batch_bytes <= streaming.WINDOW_BYTES


def test_what_is_made_ahead_is_made_one_ahead_and_its_errors_are_raised():
    made = []

    def make(i):
        made.append(i)
        if i == 3:
            raise OSError("the disk is gone")
        return i

    items = ahead(make, range(5))
    assert next(items) == 0
    with pytest.raises(OSError, match="the disk"):
        list(items)
    assert 4 not in made or made.index(4) == 4


def test_the_thread_that_reads_ahead_has_the_number_types_of_its_user(x64):
    assert next(ahead(lambda _: jax.device_put(np.float64(0.1)), [0])).dtype == np.float64
