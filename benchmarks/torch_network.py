"""The same network in PyTorch, to be measured beside ours: HRNet from timm, and the transformer blocks.

What has no weights (hand model, cameras, rendering) is left out, so that it does less than ours.
"""

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import itertools
import pathlib
import sys
import tempfile
import types
from unittest import mock

import torch
from torch import nn
from torch.nn import functional as F

JOINTS = 21


class _Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for torchvision, which timm's data loading imports and its networks do not use."""

    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == "torchvision":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__path__ = []
        module.__getattr__ = lambda name: mock.MagicMock(name=name)
        return module

    def exec_module(self, module):
        pass


@functools.cache
def _timm_hrnet():
    try:
        works = importlib.util.find_spec("torchvision") is not None
    except (ImportError, ValueError):
        works = False
    if not works:
        sys.meta_path.append(_Absent())
    from timm.models import hrnet  # after its stand-in

    return hrnet


def backbone(size):
    """timm's HighResolutionNet of an HRNetSize: image (B,3,H,W) -> (B,features,H/32,W/32)."""
    hrnet = _timm_hrnet()
    widths = [size.width * 2**b for b in range(4)]
    stages = {
        f"stage{n}": {
            "num_modules": size.modules[n - 2],
            "num_branches": n,
            "block_type": "BASIC",
            "num_blocks": (size.blocks[n - 2],) * n,
            "num_channels": tuple(widths[:n]),
            "fuse_method": "SUM",
        }
        for n in (2, 3, 4)
    }
    stages["stage1"] = {
        "num_modules": 1,
        "num_branches": 1,
        "block_type": "BOTTLENECK",
        "num_blocks": (size.stage1_blocks,),
        "num_channels": (size.stage1_planes,),
        "fuse_method": "SUM",
    }

    class Sized(hrnet.HighResolutionNet):
        """Its head with the sizes' channels in place of (32, 64, 128, 256)."""

        def _make_head(self, channels, *args, **kwargs):
            planes, features = size.head_planes, size.features
            increase = nn.ModuleList(
                self._make_layer(hrnet.Bottleneck, c, p, 1, stride=1)
                for c, p in zip(channels, planes)
            )

            def conv(c, out, kernel, stride):
                layer = nn.Conv2d(c, out, kernel, stride, kernel // 2)
                return nn.Sequential(layer, nn.BatchNorm2d(out), nn.ReLU(inplace=True))

            down = nn.ModuleList(conv(4 * a, 4 * b, 3, 2) for a, b in itertools.pairwise(planes))
            return increase, down, conv(4 * planes[-1], features, 1, 1)

    return Sized({"stem_width": 64, "final_conv_kernel": 1, **stages}, num_classes=0)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.heads = heads

    def forward(self, queries, sources):
        def split(x):
            return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        out = F.scaled_dot_product_attention(
            split(self.q(queries)), split(self.k(sources)), split(self.v(sources))
        )
        return out.transpose(1, 2).flatten(2)


class BertLayer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attention, self.out = Attention(width, heads), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x):
        x = self.norm1(x + self.out(self.attention(x, x)))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class TokenBlock(nn.Module):
    def __init__(self, inputs, hidden, out, layers, heads, log_var):
        super().__init__()
        self.embed, self.positions = nn.Linear(inputs, hidden), nn.Embedding(512, hidden)
        self.cross = Attention(hidden, heads)
        self.layers = nn.Sequential(*(BertLayer(hidden, heads) for _ in range(layers)))
        self.head, self.residual = nn.Linear(hidden, out), nn.Linear(inputs, out)
        self.log_var = nn.Linear(hidden, out) if log_var else None

    def forward(self, tokens):
        x = self.embed(tokens) + self.positions.weight[: tokens.shape[1]]
        joints, vertices = x[:, :JOINTS], x[:, JOINTS:]
        vertices = self.layers(vertices + self.cross(vertices, joints))
        x = torch.cat([joints, vertices], 1)
        y = self.head(x) + self.residual(tokens)
        return y, None if self.log_var is None else self.log_var(x)


class TorchAmvur(nn.Module):
    """image (B,3,S,S) -> vertices and their log-variances (B,778,3), the prior heads' answers."""

    def __init__(self, config):
        super().__init__()
        self.backbone = backbone(config.backbone)
        widths = (3 + config.backbone.features, *config.outputs[:-1])
        last = len(widths) - 1
        self.blocks = nn.ModuleList(
            TokenBlock(width, hidden, out, config.layers, config.heads, i == last)
            for i, (width, hidden, out) in enumerate(zip(widths, config.hidden, config.outputs))
        )
        self.up_mu = nn.Linear(config.coarse_vertices, config.vertices)
        self.up_log_var = nn.Linear(config.coarse_vertices, config.vertices)
        outs = (3, 2 * (config.pose_components + 10), 1, 3, 4, 4)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(config.backbone.features, 512), nn.Linear(512, out))
            for out in outs
        )
        self.register_buffer("tokens", torch.randn(JOINTS + config.coarse_vertices, 3) * 0.05)

    def forward(self, image):
        g = self.backbone.forward_features(image).mean((2, 3))
        tokens = self.tokens.expand(len(g), -1, -1)
        x = torch.cat([tokens, g[:, None].expand(-1, tokens.shape[1], -1)], -1)
        for block in self.blocks:
            x, log_var = block(x)
        mu = self.up_mu(x[:, JOINTS:].transpose(1, 2)).transpose(1, 2)
        log_var = self.up_log_var(log_var[:, JOINTS:].transpose(1, 2)).transpose(1, 2)
        return mu, log_var, [head(g) for head in self.heads]


def variants():
    """The device, and {name: what wraps the network}: eager, and compiled where there is a GPU."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = {"torch eager": lambda network: network}
    if device == "cuda":
        found["torch.compile"] = torch.compile
    return device, found


def inference(config, count, dtype):
    """{name: function of no arguments} that runs the network once on a batch."""
    device, wraps = variants()
    image = torch.randn(count, 3, config.image_size, config.image_size, device=device)
    image = image.to(memory_format=torch.channels_last)
    network = TorchAmvur(config).to(device, memory_format=torch.channels_last).eval()

    def make(wrapped):
        def call():
            with torch.inference_mode(), _autocast(device, dtype):
                wrapped(image)
            _wait(device)

        return call

    return {name: make(wrap(network)) for name, wrap in wraps.items()}


def onnx_runtime(config, count):
    """{"ONNX Runtime": function of no arguments} that runs the same network, exported by PyTorch, once."""
    import onnxruntime

    network = TorchAmvur(config).eval()
    image = torch.randn(count, 3, config.image_size, config.image_size)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "network.onnx"
        torch.onnx.export(
            network, (image,), path, input_names=["image"], opset_version=17, dynamo=False
        )
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    array = image.numpy()
    return {"ONNX Runtime": lambda: session.run(None, {"image": array})}


def training(config, count, dtype):
    """{name: function of no arguments} that takes one step of Adam on a batch."""
    device, wraps = variants()
    image = torch.randn(count, 3, config.image_size, config.image_size, device=device)
    image = image.to(memory_format=torch.channels_last)

    def make(wrap):
        network = TorchAmvur(config).to(device, memory_format=torch.channels_last).train()
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-5, fused=True)
        wrapped = wrap(network)

        def step():
            optimizer.zero_grad(set_to_none=True)
            with _autocast(device, dtype):
                mu, log_var, heads = wrapped(image)
            loss = mu.float().abs().mean() + log_var.float().square().mean()
            loss = loss + sum(head.float().square().mean() for head in heads)
            loss.backward()
            optimizer.step()
            _wait(device)

        return step

    return {name: make(wrap) for name, wrap in wraps.items()}


def _autocast(device, dtype):
    return torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16")


def _wait(device):
    if device == "cuda":
        torch.cuda.synchronize()
