"""Pool the hidden states of a text as configured in the publisher's sentence-transformers files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from transfer_core.backbones.huggingface.encoder_layers import is_padding
from transfer_core.backbones.huggingface.huggingface_network import Unsupported


@dataclass(frozen=True)
class Pooling:
    """Pooling modes, whose results are concatenated; `normalize` scales the result to length 1."""

    ways: tuple[str, ...]
    normalize: bool


class Pool(nn.Module):
    """Module that pools hidden states, padded with zeros, to embeddings."""

    def __init__(self, pooling: Pooling) -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, D) -> (N, D), or several times as wide."""
        lengths = (~is_padding(x)).sum(dim=1)
        pooled = torch.cat([WAYS[way](x, lengths) for way in self.pooling.ways], dim=1)
        return functional.normalize(pooled, dim=1) if self.pooling.normalize else pooled


def _mean(x: Tensor, lengths: Tensor) -> Tensor:
    return x.sum(dim=1) / lengths.clamp(min=1)[:, None]


def _greatest(x: Tensor, lengths: Tensor) -> Tensor:
    padding = torch.arange(x.shape[1], device=x.device)[None] >= lengths[:, None]
    return x.masked_fill(padding[:, :, None], -torch.inf).amax(dim=1)


def _last(x: Tensor, lengths: Tensor) -> Tensor:
    return x[torch.arange(x.shape[0], device=x.device), lengths - 1]


MODULES = "modules.json"

# In the order in which sentence-transformers puts them side by side.
WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": lambda x, lengths: x[:, 0],
    "max": _greatest,
    "mean": _mean,
    "lasttoken": _last,
}


def pooling_files(read: Callable[[str], bytes | None]) -> dict[str, bytes]:
    """Read the files that `read_pooling` needs, by name."""
    listed = read(MODULES)
    if listed is None:
        return {}
    found = {MODULES: listed, **{name: read(name) for name in map(_config_of, json.loads(listed)) if name}}
    return {name: content for name, content in found.items() if content is not None}


def read_pooling(read: Callable[[str], bytes | None]) -> Pooling:
    """Parse modules.json and the files that it refers to; without them, mean pooling, the default of
    sentence-transformers.

    Parameters
    ----------
    read
        Returns the bytes of a file, or None.

    Raises
    ------
    Unsupported
        For a module or a pooling mode that is not implemented.
    """
    listed = read(MODULES)
    if listed is None:
        return Pooling(("mean",), False)
    ways: tuple[str, ...] = ("mean",)
    normalize = False
    for module in json.loads(listed):
        kind = module["type"].rpartition(".")[2]
        if kind == "Pooling":
            config = read(_config_of(module))
            ways = tuple(_ways(json.loads(config or b"{}")))
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer":
            raise Unsupported(f"the module {module['type']}")
    return Pooling(ways, normalize)


def _config_of(module: Mapping[str, Any]) -> str:
    """The file that configures a module of modules.json; empty for the first one, which has none."""
    return f"{module['path']}/config.json" if module["path"] else ""


def _ways(config: Mapping[str, Any]) -> Iterator[str]:
    """The modes in a 1_Pooling/config.json, in the order of `WAYS`."""
    modes = config.get("pooling_mode")
    chosen = {modes} if isinstance(modes, str) else set(modes or ())
    chosen |= {_short(word) for word, value in config.items() if word.startswith("pooling_mode_") and value}
    for way in chosen - WAYS.keys():
        raise Unsupported(f"the pooling mode {way}")
    yield from (way for way in WAYS if way in chosen) if chosen else ("mean",)


def _short(word: str) -> str:
    """`pooling_mode_mean_tokens` -> `mean`."""
    return word.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
