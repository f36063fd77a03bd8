"""Convert a backbone to an ONNX graph: the form in which inference engines run it."""

from __future__ import annotations

import copy
import inspect
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from transfer_core.backbones.backbone import Backbone
from transfer_core.backbones.facts import BackboneFacts, Preprocessing
from transfer_core.backbones.registry import sources
from transfer_core.backbones.tracing import one_at_a_time
from transfer_core.runtime.errors import DependencyError, Problem, RecipeError

# Names of the only input, by modality, and of the only output.
INPUTS = {"image": "images", "text": "tokens"}
OUTPUT = "embeddings"

# The newest that torch's exporter of traced modules writes in all supported releases.
_OPSET = 17
# Examples to trace: a batch of one would become a constant in some operators.
_BATCH, _LENGTH = 2, 16
# The exporter of traced modules: the other one needs onnxscript. Torch 2.4 has only this one.
_TRACED: dict[str, Any] = (
    {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
)
# A protocol buffer can't be larger.
_LARGEST = 2**31 - 1


def onnx_graph(backbone: Backbone, from_levels: bool = False) -> bytes:
    """Convert a backbone to an ONNX file of standard operators, with BatchNorm folded into convolutions.

    Parameters
    ----------
    backbone
        Of any source; it is not changed.
    from_levels
        Whether images are uint8 (N, H, W, 3) and normalized within the graph, instead of normalized floats.

    Returns
    -------
    bytes
        A graph with one input, `images` (N, 3, H, W) float32 or `tokens` (N, L, 2) int32, and one output,
        `embeddings` (N, embedding_width) float32. N and L are dynamic; N only if it is in an ONNX file that
        the backbone came from.

    Raises
    ------
    RecipeError
        At `backbone`, if it can't be converted, with the reason.
    DependencyError
        If the package onnx is not installed.
    """
    facts = backbone.facts
    if not facts.plain:
        own = getattr(sources()[facts.source].module(), "onnx_graph", None)
        if own is None or from_levels:
            raise _unsupported(facts, f"backbones of {facts.source} run in a library of their own")
        graph: bytes = own(backbone, INPUTS[facts.modality], OUTPUT)
        return graph
    network: nn.Module = copy.deepcopy(backbone).cpu().float().eval().requires_grad_(False)
    given, axes = INPUTS[facts.modality], {0: "N"}
    if facts.modality == "text":
        axes, example = {0: "N", 1: "L"}, _tokens()
    else:
        size = backbone.preprocessing.crop_size
        example = torch.randn(_BATCH, 3, size, size)
    if from_levels and facts.modality == "image":
        example = torch.randint(0, 256, (_BATCH, size, size, 3), dtype=torch.uint8)
        network = nn.Sequential(Normalize(backbone.preprocessing), network)
    return traced_graph(facts, network, {given: example}, (OUTPUT,), {given: axes, OUTPUT: {0: "N"}})


class Normalize(nn.Module):
    """(x / 255 - mean) / std of images (N, H, W, 3) uint8, as (N, 3, H, W) float32."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.register_buffer("scale", (1 / (255 * std)).view(1, 3, 1, 1))
        self.register_buffer("shift", (-mean / std).view(1, 3, 1, 1))

    def forward(self, levels: Tensor) -> Tensor:
        """Normalize a batch."""
        normalized: Tensor = levels.permute(0, 3, 1, 2).float() * self.scale + self.shift  # type: ignore[operator]
        return normalized


def traced_graph(
    facts: BackboneFacts,
    network: nn.Module,
    examples: Mapping[str, Tensor],
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]],
) -> bytes:
    """Convert a network in eval mode; see `onnx_graph`.

    Parameters
    ----------
    facts
        Of its backbone, for errors.
    network
        A module that takes the examples and returns a tensor or a tuple.
    examples
        Inputs to trace with, by name in the order of the arguments.
    outputs
        Names of the outputs.
    dynamic
        By name of an input or output the axes that may have any length, each with a name.

    Raises
    ------
    RecipeError
        At `backbone`, if it can't be converted, with the reason.
    DependencyError
        If the package onnx is not installed.
    """
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise DependencyError("converting a backbone", "onnx", "onnx") from None
    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    if size > _LARGEST:
        raise _unsupported(facts, f"its {size / 1e9:.1f} GB of weights exceed the 2 GB of an ONNX file")
    file: Any = io.BytesIO()  # torch's types know only paths
    try:
        with _exporting():
            torch.onnx.export(
                network,
                tuple(examples.values()),
                file,
                input_names=list(examples),
                output_names=list(outputs),
                dynamic_axes={name: dict(axes) for name, axes in dynamic.items()},
                opset_version=_OPSET,
                **_TRACED,
            )
    except Exception as error:  # whatever a layer raises when it is traced
        reason = " ".join(str(error).split())[:300]
        raise _unsupported(facts, f"{type(error).__name__}: {reason}") from error
    return bytes(file.getvalue())


def _tokens() -> Tensor:
    """Texts (2, L, 2) of different lengths; their ids are in every vocabulary."""
    tokens = torch.zeros(_BATCH, _LENGTH, 2, dtype=torch.int32)
    tokens[..., 0] = torch.arange(_LENGTH) % 4 + 1
    tokens[1, _LENGTH // 2 :] = -1
    return tokens


@contextmanager
def _exporting() -> Iterator[None]:
    """Export quietly, one thread at a time, and without the fused attention that ONNX has no operator for."""
    with one_at_a_time, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        with suppress(AttributeError):  # the graph of a failed export would be printed
            torch._C._jit_set_onnx_log_enabled(False)
        fused = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)


def _unsupported(facts: BackboneFacts, reason: str) -> RecipeError:
    message = f"{facts.name} can't be converted to ONNX: {reason}"
    return RecipeError([Problem("backbone", message)])
