"""HRNet with the classification head (Wang et al., TPAMI 2020), of any width, in the published wiring."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from amvur_jax.models.initial import Draws
from amvur_jax.models.layers import ConvNorm, numbered, relu

T = TypeVar("T")  # what a module takes and gives: a map, or a list of them


@dataclasses.dataclass(frozen=True)
class HRNetSize:
    """Widths and depths of an HRNet; the defaults are HRNet-W64-C, the published backbone.

    Branch b of a stage has `width * 2**b` channels. `modules` and `blocks` are for stages 2, 3, 4.
    """

    width: int = 64
    modules: tuple[int, ...] = (1, 4, 3)
    blocks: tuple[int, ...] = (4, 4, 4)
    stage1_blocks: int = 4
    stage1_planes: int = 64
    head_planes: tuple[int, ...] = (32, 64, 128, 256)
    features: int = 2048

    @property
    def map_channels(self) -> tuple[int, int, int]:
        """Channels of the three returned maps."""
        return (self.width, 2 * self.width, 4 * self.width)


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions with a residual."""

    def __init__(self, channels: int, *, rngs: Draws) -> None:
        self.conv1 = ConvNorm(channels, channels, rngs=rngs)
        self.conv2 = ConvNorm(channels, channels, relu=False, rngs=rngs)

    def __call__(self, x: jax.Array, train: bool | jax.Array) -> jax.Array:
        return relu(x + self.conv2(self.conv1(x, train), train))


class Bottleneck(nnx.Module):
    """1x1, 3x3, 1x1 to 4 x planes, with a residual that is projected where the widths differ."""

    def __init__(self, in_channels: int, planes: int, *, rngs: Draws) -> None:
        out = 4 * planes
        self.conv1 = ConvNorm(in_channels, planes, 1, rngs=rngs)
        self.conv2 = ConvNorm(planes, planes, 3, rngs=rngs)
        self.conv3 = ConvNorm(planes, out, 1, relu=False, rngs=rngs)
        self.has_shortcut = in_channels != out
        if self.has_shortcut:
            self.shortcut = ConvNorm(in_channels, out, 1, relu=False, rngs=rngs)

    def __call__(self, x: jax.Array, train: bool | jax.Array) -> jax.Array:
        residual = self.shortcut(x, train) if self.has_shortcut else x
        x = self.conv3(self.conv2(self.conv1(x, train), train), train)
        return relu(x + residual)


def upsample_nearest(x: jax.Array, factor: int) -> jax.Array:
    """(B,H,W,C) -> (B,factor H,factor W,C), each pixel repeated."""
    b, h, w, c = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (b, h, factor, w, factor, c))
    return x.reshape(b, h * factor, w * factor, c)


def chain(
    modules: Mapping[str, Callable[[T, bool | jax.Array], T]],
    x: T,
    train: bool | jax.Array,
    remat: bool = False,
) -> T:
    """Apply the modules of a `numbered` dictionary one after the other.

    remat: keep only what goes from one to the next, and compute the rest again for the gradient.
    """

    def apply(module: Callable[[T, bool | jax.Array], T], x: T) -> T:
        return module(x, train)

    apply = nnx.remat(apply) if remat else apply
    for module in modules.values():
        x = apply(module, x)
    return x


class HighResolutionModule(nnx.Module):
    """Parallel branches of basic blocks, then every branch gets the sum of all, brought to its size."""

    def __init__(self, channels: Sequence[int], blocks: int, *, rngs: Draws) -> None:
        self.branches = numbered(
            "branch",
            [
                numbered("block", [BasicBlock(c, rngs=rngs) for _ in range(blocks)])
                for c in channels
            ],
        )
        self.fuse: nnx.Dict[nnx.Dict[ConvNorm]] = nnx.Dict()
        for i, out in enumerate(channels):
            for j, source in enumerate(channels):
                if j > i:
                    path = [ConvNorm(source, out, 1, relu=False, rngs=rngs)]
                elif j < i:  # all but the last keep their width and have a ReLU
                    path = [ConvNorm(source, source, 3, 2, rngs=rngs) for _ in range(i - j - 1)]
                    path += [ConvNorm(source, out, 3, 2, relu=False, rngs=rngs)]
                else:
                    continue
                self.fuse[f"to{i}_from{j}"] = numbered("step", path)

    def __call__(self, maps: list[jax.Array], train: bool | jax.Array) -> list[jax.Array]:
        maps = [chain(b, x, train) for b, x in zip(self.branches.values(), maps)]
        fused = []
        for i, own in enumerate(maps):
            total = jnp.zeros_like(own)
            for j, x in enumerate(maps):
                if j != i:
                    x = chain(self.fuse[f"to{i}_from{j}"], x, train)
                if j > i:
                    x = upsample_nearest(x, 2 ** (j - i))
                total = total + x
            fused.append(relu(total))
        return fused


class HRNet(nnx.Module):
    """image (B,H,W,3), ImageNet-normalised -> pooled (B,features), maps at 1/4, 1/8, 1/16 of H x W.

    Computes in the image's type; pooled is in float32.
    """

    stage2: nnx.Dict[HighResolutionModule]
    stage3: nnx.Dict[HighResolutionModule]
    stage4: nnx.Dict[HighResolutionModule]

    def __init__(self, size: HRNetSize, *, rngs: Draws) -> None:
        channels = [size.width * 2**b for b in range(4)]
        stage1_out = 4 * size.stage1_planes
        self.stem1 = ConvNorm(3, 64, 3, 2, rngs=rngs)
        self.stem2 = ConvNorm(64, 64, 3, 2, rngs=rngs)
        widths = [64] + [stage1_out] * (size.stage1_blocks - 1)
        self.stage1 = numbered(
            "block", [Bottleneck(w, size.stage1_planes, rngs=rngs) for w in widths]
        )
        self.transition1 = numbered(
            "branch",
            [
                ConvNorm(stage1_out, channels[0], rngs=rngs),
                ConvNorm(stage1_out, channels[1], 3, 2, rngs=rngs),
            ],
        )
        self.transition2 = ConvNorm(channels[1], channels[2], 3, 2, rngs=rngs)
        self.transition3 = ConvNorm(channels[2], channels[3], 3, 2, rngs=rngs)
        for stage in (2, 3, 4):
            modules = [
                HighResolutionModule(channels[:stage], size.blocks[stage - 2], rngs=rngs)
                for _ in range(size.modules[stage - 2])
            ]
            setattr(self, f"stage{stage}", numbered("module", modules))
        head = [4 * p for p in size.head_planes]
        self.increase = numbered(
            "branch",
            [Bottleneck(c, p, rngs=rngs) for c, p in zip(channels, size.head_planes)],
        )
        self.downsample = numbered(
            "step",
            [ConvNorm(head[i], head[i + 1], 3, 2, use_bias=True, rngs=rngs) for i in range(3)],
        )
        self.final = ConvNorm(head[3], size.features, 1, use_bias=True, rngs=rngs)

    def __call__(
        self, image: jax.Array, train: bool | jax.Array = False, remat: bool = False
    ) -> tuple[jax.Array, list[jax.Array]]:
        x = self.stem2(self.stem1(image, train), train)
        x = chain(self.stage1, x, train, remat)
        maps = [branch(x, train) for branch in self.transition1.values()]
        maps = chain(self.stage2, maps, train, remat)
        maps = chain(self.stage3, [*maps, self.transition2(maps[-1], train)], train, remat)
        maps = chain(self.stage4, [*maps, self.transition3(maps[-1], train)], train, remat)
        y, *rest = [inc(x, train) for inc, x in zip(self.increase.values(), maps)]
        for step, x in zip(self.downsample.values(), rest):
            y = x + step(y, train)
        pooled = self.final(y, train).astype(jnp.float32).mean((1, 2))
        return pooled, maps[:3]
