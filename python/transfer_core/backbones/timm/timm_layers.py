"""Replace timm's own layers by torch's, which can be fused, on the same parameters."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import Tensor, fx, nn
from torch.nn import functional

from transfer_core.backbones.timm.timm_import import BatchNormAct2d, Conv2dSame


def with_plain_layers(model: nn.Module) -> nn.Module:
    """Split norms with an activation, and convolutions with TensorFlow's padding, into two layers each.

    Changes the model in place and returns it. Parameters keep their identity, not their names.
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is BatchNormAct2d:
                setattr(module, name, _norm_and_activation(child))
            elif type(child) is Conv2dSame:
                setattr(module, name, _padding_and_convolution(child))
    return model


def _norm_and_activation(joined: Any) -> nn.Module:
    norm = nn.BatchNorm2d(joined.num_features, joined.eps, joined.momentum, device="meta")
    norm.weight, norm.bias = joined.weight, joined.bias
    norm.running_mean, norm.running_var = joined.running_mean, joined.running_var
    norm.num_batches_tracked = joined.num_batches_tracked
    parts = OrderedDict(norm=norm, drop=joined.drop, act=joined.act)
    kept = {name: part for name, part in parts.items() if not isinstance(part, nn.Identity)}
    return nn.Sequential(OrderedDict(kept)).train(joined.training)


def _padding_and_convolution(same: Any) -> nn.Module:
    conv = nn.Conv2d(
        same.in_channels,
        same.out_channels,
        same.kernel_size,
        same.stride,
        dilation=same.dilation,
        groups=same.groups,
        bias=same.bias is not None,
        device="meta",
    )
    conv.weight, conv.bias = same.weight, same.bias
    return nn.Sequential(OrderedDict(pad=SamePadding(conv), conv=conv)).train(same.training)


class SamePadding(nn.Module):
    """TensorFlow's padding `same`: with it, a convolution outputs ⌈size / stride⌉ pixels per side; an odd
    number of zeros has one more at the right and at the bottom."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self._kernel = tuple(d * (k - 1) + 1 for k, d in zip(conv.kernel_size, conv.dilation, strict=True))
        self._stride = conv.stride

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H', W')."""
        return padded(images, self._kernel, self._stride)


@fx.wrap
def padded(images: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Pad images as TensorFlow's `same` does; one step for torch.fx, as it depends on the image size.

    Parameters
    ----------
    images
        (N, C, H, W).
    kernel, stride
        Of the convolution after it, per spatial axis.
    """
    rows, columns = (
        max((math.ceil(size / s) - 1) * s + k - size, 0)
        for size, k, s in zip(images.shape[-2:], kernel, stride, strict=True)
    )
    around = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    return functional.pad(images, around) if any(around) else images
