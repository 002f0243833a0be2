"""What is written for NVIDIA's code loads strictly into its modules, built here by their published names.

DeepLearningExamples, PyTorch/SpeechRecognition: Jasper/jasper/model.py and QuartzNet/quartznet/model.py.
"""

import pytest
import torch
import yaml
from foreign_models import JASPER, QUARTZNET, model_config, write_model
from torch import nn

from jasper.convert import convert
from jasper.convert.nvidia_yaml import NVIDIA_FIXED


def conv_bn(width, filters, block, kernel):
    """Their `_conv_bn` and `_get_conv_bn_layer`."""
    norm = nn.BatchNorm1d(filters, eps=1e-3)
    if block.get("separable"):
        depthwise = nn.Conv1d(width, width, kernel, groups=width, bias=False)
        return [depthwise, nn.Conv1d(width, filters, 1, bias=False), norm]
    return [nn.Conv1d(width, filters, kernel, bias=False), norm]


class Block(nn.Module):
    """Their `JasperBlock`: `conv` (QuartzNet's `mconv`), in which ReLU and dropout count, and `res`."""

    def __init__(self, width, block, panes, convs):
        super().__init__()
        layers, filters, (kernel,) = nn.ModuleList(), block["filters"], block["kernel_size"]
        for index in range(block["repeat"]):
            layers.extend(conv_bn(width if index == 0 else filters, filters, block, kernel))
            if index < block["repeat"] - 1:
                layers.extend([nn.ReLU(), nn.Dropout(block["dropout"])])
        setattr(self, convs, layers)
        if block["residual"]:
            sources = panes or [width]
            self.res = nn.ModuleList([nn.ModuleList(conv_bn(w, filters, {}, 1)) for w in sources])


class Network(nn.Module):
    """Their `Jasper` and `QuartzNet`, from the `encoder` and `decoder` of a YAML of theirs."""

    def __init__(self, encoder, num_labels, num_features, convs):
        super().__init__()
        self.encoder, self.decoder = nn.Module(), nn.Module()
        self.encoder.layers, width, panes = nn.ModuleList(), num_features, []
        for block in encoder["blocks"]:
            if block.get("residual_dense"):
                panes = [*panes, width]
            self.encoder.layers.append(
                Block(width, block, panes if block.get("residual_dense") else [], convs)
            )
            width = block["filters"]
        self.decoder.layers = nn.Sequential(nn.Conv1d(width, num_labels + 1, 1))


@pytest.mark.parametrize(
    ("kind", "blocks", "convs"), [("jasper", JASPER, "conv"), ("quartznet", QUARTZNET, "mconv")]
)
def test_what_is_written_loads_strictly_into_nvidias_modules(tmp_path, kind, blocks, convs):
    model = write_model(tmp_path / "m", model_config(blocks, **NVIDIA_FIXED))
    content = torch.load(convert(model, tmp_path / "x.pt"), weights_only=True)
    raw = yaml.safe_load((tmp_path / "x.yaml").read_text())
    for state in ("state_dict", "ema_state_dict"):
        network = Network(raw[kind]["encoder"], len(raw["labels"]), 64, convs)
        network.load_state_dict(content[state], strict=True)
