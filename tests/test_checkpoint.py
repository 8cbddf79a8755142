"""Files of arrays: what goes in comes out, and what is damaged is named."""

import json
import struct

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from jaxfc.artifacts import checkpoint
from jaxfc.errors import FormatError

KIND = {checkpoint.FORMAT: "test"}


@pytest.fixture
def tree():
    return {
        "a": [jnp.arange(6.0).reshape(2, 3), jnp.float32(3.5)],
        "b": (jnp.ones(3, jnp.bfloat16), jnp.int32(7)),
        "key": jax.random.key(5),
        "history": np.arange(4.0),
        "transposed": jnp.arange(6.0).reshape(2, 3).T,
    }


def test_a_tree_comes_back_to_the_last_bit(tmp_path, tree):
    checkpoint.save(tmp_path / "t", tree, KIND)
    back = checkpoint.load(tmp_path / "t", jax.tree.map(jnp.zeros_like, tree) | {"history": np.zeros(0)}, kind="test")
    chex.assert_trees_all_equal_shapes_and_dtypes(back, tree)
    assert jax.random.key_data(back["key"]).tolist() == jax.random.key_data(tree.pop("key")).tolist()
    back.pop("key")
    chex.assert_trees_all_equal(back, tree)


def test_metadata_name_the_leaves(tmp_path, tree):
    checkpoint.save(tmp_path / "t", tree, KIND | {"note": "hello", "numbers": [1, 2]})
    tensors, metadata = checkpoint.read(tmp_path / "t", kind="test")
    assert set(tensors) == {"a.0", "a.1", "b.0", "b.1", "key", "history", "transposed"}
    assert metadata["note"] == "hello"
    assert metadata["numbers"] == "[1, 2]"


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_files_are_named(tmp_path, tree, keep):
    path = tmp_path / "t"
    checkpoint.save(path, tree, KIND)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FormatError, match="no complete safetensors file"):
        checkpoint.load(path, tree, kind="test")


def flipped(whole, place, bit):
    changed = bytearray(whole)
    changed[place] ^= 1 << bit
    return bytes(changed)


def test_a_flipped_bit_in_any_tensor_is_named(tmp_path, tree):
    """Of every byte of every tensor one bit, another from byte to byte."""
    path = tmp_path / "t"
    checkpoint.save(path, tree, KIND)
    whole = path.read_bytes()
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    entries = json.loads(whole[8:header])
    entries.pop("__metadata__")
    assert sum(end - start for start, end in (entry["data_offsets"] for entry in entries.values())) > 50
    for name, entry in entries.items():
        for place in range(*entry["data_offsets"]):
            path.write_bytes(flipped(whole, header + place, place % 8))
            with pytest.raises(FormatError, match=rf"is corrupted \(the tensor {name} has another checksum\)"):
                checkpoint.read(path, kind="test")


def test_every_flipped_bit_of_the_header_is_noticed(tmp_path, tree):
    """Whatever it hits: lengths, names, types, shapes (of what is empty, too), offsets, metadata, checksums, spaces."""
    path = tmp_path / "t"
    checkpoint.save(path, tree | {"empty": np.zeros((0, 5))}, KIND | {"note": "ä \n \x01 'quoted'"})
    whole = path.read_bytes()
    unnoticed = []
    for place in range(8 + struct.unpack("<Q", whole[:8])[0]):
        for bit in range(8):
            path.write_bytes(flipped(whole, place, bit))
            try:
                checkpoint.read(path, kind="test")
                unnoticed.append((place, bit))
            except FormatError:
                pass
    assert not unnoticed


def test_changed_metadata_are_named(tmp_path, tree):
    path = tmp_path / "t"
    checkpoint.save(path, tree, KIND | {"note": "hello"})
    tensors, metadata = checkpoint.read(path, kind="test")
    safetensors.numpy.save_file(tensors, path, metadata | {"note": "hullo"})
    with pytest.raises(
        FormatError, match=r"is corrupted \(its metadata has another checksum\): restore it from a copy"
    ):
        checkpoint.read(path, kind="test")
    unreadable = metadata | {checkpoint.CHECKSUMS: "{"}
    missing = {name: text for name, text in metadata.items() if name != checkpoint.CHECKSUMS}
    for changed in (unreadable, missing):
        safetensors.numpy.save_file(tensors, path, changed)
        with pytest.raises(FormatError, match=r"is corrupted \(its checksums cannot be read\)"):
            checkpoint.read(path, kind="test")


def test_a_file_without_checksums_is_read_as_version_0_1_wrote_it(tmp_path, tree):
    path = tmp_path / "t"
    checkpoint.save(path, tree, KIND)
    tensors, metadata = checkpoint.read(path, kind="test")
    metadata = {name: text for name, text in metadata.items() if name not in (checkpoint.CHECKSUMS, checkpoint.CHECKED)}
    safetensors.numpy.save_file(tensors, path, metadata)
    chex.assert_trees_all_equal(checkpoint.read(path, kind="test")[0], tensors)


def test_other_files_are_named(tmp_path, tree):
    (tmp_path / "text").write_text("hello, I am a text file and no tensor")
    with pytest.raises(FormatError, match="no complete safetensors file"):
        checkpoint.read(tmp_path / "text", kind="test")
    with pytest.raises(FileNotFoundError, match="expected a test"):
        checkpoint.read(tmp_path / "absent", kind="test")
    checkpoint.save(tmp_path / "t", tree, KIND)
    with pytest.raises(FormatError, match="is a test, not a model"):
        checkpoint.read(tmp_path / "t", kind="model")


def test_another_tree_is_refused_by_its_first_difference(tmp_path, tree):
    checkpoint.save(tmp_path / "t", tree, KIND)
    with pytest.raises(ValueError, match=r"lacks c: it belongs to another network"):
        checkpoint.load(tmp_path / "t", tree | {"c": jnp.zeros(2)}, kind="test")
    with pytest.raises(ValueError, match=r"unexpected history"):
        checkpoint.load(tmp_path / "t", {k: v for k, v in tree.items() if k != "history"}, kind="test")
    with pytest.raises(ValueError, match=r"transposed is float32 \(3, 2\) where float32 \(2, 3\)"):
        checkpoint.load(tmp_path / "t", tree | {"transposed": jnp.zeros((2, 3))}, kind="test")
