"""Models as StableHLO and as PyTorch modules, and the command that writes them."""

import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
from command import fails
from test_onnx import FEATURES, MODELS, REGRESSION, model_of, rows

import jaxfc
from jaxfc import cli
from jaxfc.artifacts.ensemble import Ensemble

pytestmark = pytest.mark.usefixtures("promotion")


def test_stablehlo_is_called_without_the_library(tmp_path):
    pytest.importorskip("flatbuffers")
    names = ("batchnorm-leaky_relu", "residual", "ensemble", "numbers")
    for name in names:
        MODELS[name].export(tmp_path / f"{name}.stablehlo")
    np.save(tmp_path / "x.npy", rows(5))
    code = (
        "import sys, jax, numpy as np, jax.export\n"
        f"for name in {names}:\n"
        "    call = jax.export.deserialize(bytearray(open(f'{name}.stablehlo', 'rb').read()))\n"
        "    assert call.platforms == ('cpu', 'cuda', 'tpu')\n"
        "    x = np.load('x.npy')\n"
        "    np.save(name, call.call(x)), np.save(f'{name}-1', call.call(x[:1]))\n"
        "assert 'jaxfc' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    for name in names:
        expected = MODELS[name].prediction(rows(5))
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(np.load(tmp_path / f"{name}-1.npy"), expected[:1], rtol=1e-6, atol=1e-6)


def test_a_platform_that_is_none_is_refused():
    with pytest.raises(ValueError, match="unknown platform 'tpus': did you mean 'tpu'"):
        MODELS["residual"].export(platforms=["tpus"])


QUANTILES = replace(REGRESSION, criterion="quantile", quantiles=(0.1, 0.5, 0.9), rank="pinball")


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("residual", "ensemble")])
def test_a_torch_module_predicts_what_the_model_does(name):
    torch = pytest.importorskip("torch")
    module = MODELS[name].to_torch()
    with torch.no_grad():
        out = module(torch.tensor(rows(5)))
    expected = MODELS[name].prediction(rows(5))
    np.testing.assert_allclose(out, expected, atol=1e-6 * max(1, np.abs(expected).max()))


def test_a_torch_module_of_quantiles_predicts_in_the_targets_units_and_takes_bytes():
    torch = pytest.importorskip("torch")
    model = model_of(jaxfc.FCNet(FEATURES, (4,), 9, dropout_keep_ratio=0.5), QUANTILES)
    x = np.arange(2 * FEATURES, dtype=np.uint8).reshape(2, FEATURES)
    with torch.no_grad():
        np.testing.assert_allclose(model.to_torch()(torch.tensor(x)), model.prediction(x), rtol=1e-5)


def test_what_torch_has_no_layers_for_is_refused():
    pytest.importorskip("torch")
    with pytest.raises(TypeError, match="this is a ResidualNet: use to_onnx"):
        MODELS["residual"].to_torch()
    with pytest.raises(TypeError, match="no layer for the function"):
        model_of(jaxfc.FCNet(FEATURES, (4,), 3, activation=jax.nn.mish)).to_torch()


def test_the_command_writes_every_kind_and_overwrites_none(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    MODELS["batchnorm-leaky_relu"].save("m.safetensors")
    Ensemble.of([MODELS["numbers"]]).save("e.safetensors")
    for to, name in (("onnx", "m.onnx"), ("stablehlo", "m.stablehlo"), ("torch", "m.pt2")):
        cli.main(["export", "m.safetensors", "--to", to])
        assert capsys.readouterr().out.startswith(f"{name}: ")
        assert fails(capsys, "export", "m.safetensors", "--to", to).startswith(f"jaxfc: {name} exists")
    code = "import torch; print(torch.export.load('m.pt2').module()(torch.ones(7, 6))[6].tolist())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    expected = MODELS["batchnorm-leaky_relu"].prediction(np.ones((1, FEATURES), np.float32))[0]
    np.testing.assert_allclose(np.array(eval(out)), expected, atol=1e-6)
    assert "use --to onnx" in fails(capsys, "export", "e.safetensors", "--to", "torch")
    assert fails(capsys, "export", "nowhere").startswith("jaxfc: nowhere: no such run folder")
