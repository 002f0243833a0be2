"""The `.ckpt` that `jasper convert` writes without MindSpore is the one that MindSpore would have written."""

import subprocess
import sys

import mindspore
import numpy as np
import pytest
from foreign_models import JASPER, model_config, write_model

from jasper.bundle import read_weights
from jasper.convert.nvidia_yaml import NVIDIA_FEATURES


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A model directory and the `.ckpt` made of it by the command."""
    folder = tmp_path_factory.mktemp("checkpoint")
    model = write_model(folder / "model", model_config(JASPER, **NVIDIA_FEATURES.model_dump()))
    command = [sys.executable, "-m", "jasper", "convert", str(model), str(folder / "x.ckpt")]
    subprocess.run(command, check=True, timeout=300)
    return model, folder / "x.ckpt"


NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def zoo_name(name):
    """The zoo's name of a weight: its blocks are lists, a sub-block takes four places and a residual two."""
    if name.startswith("head."):
        return name.replace("head.", "decoder.layers.")
    _, block, kind, index, field = name.split(".")
    norm = int(kind.endswith("norms"))
    place = f"res.{index}.{norm}" if kind.startswith("residual") else f"conv.{4 * int(index) + norm}"
    return f"encoder.layers.{block}.{place}.{f'batchnorm.{NORM[field]}' if norm else 'conv1.weight'}"


def test_mindspore_loads_every_weight_by_name_with_shape_type_and_value(converted):
    model, path = converted
    loaded = mindspore.load_checkpoint(str(path))
    weights = {zoo_name(name): value for name, value in read_weights(model).items()}
    assert sorted(loaded) == sorted(weights)
    for name, value in weights.items():
        # The zoo's convolutions over time are convolutions over images of height 1.
        expected = value[:, :, None] if value.ndim == 3 else value
        assert loaded[name].dtype == mindspore.float32
        np.testing.assert_array_equal(loaded[name].asnumpy(), expected, strict=True, err_msg=name)


def test_mindspore_writes_the_same_file(converted, tmp_path):
    _, path = converted
    rows = [{"name": name, "data": data} for name, data in mindspore.load_checkpoint(str(path)).items()]
    mindspore.save_checkpoint(rows, str(tmp_path / "again.ckpt"))
    assert (tmp_path / "again.ckpt").read_bytes() == path.read_bytes()
