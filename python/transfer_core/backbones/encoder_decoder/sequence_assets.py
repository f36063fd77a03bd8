"""The files of an encoder-decoder in a saved model, and its restoration from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import torch
from torch import Tensor, nn

from transfer_core.backbones.asset_files import files_in
from transfer_core.backbones.backbone import OnlyShapes
from transfer_core.backbones.encoder_decoder.encoder_decoder import EncoderDecoder, sequence_blocks
from transfer_core.backbones.encoder_decoder.sequence_shape import SequenceShape
from transfer_core.backbones.encoder_decoder.text_codec import TextCodec
from transfer_core.backbones.encoder_decoder.token_layout import TokenLayout
from transfer_core.backbones.facts import BackboneFacts, WeightsFacts
from transfer_core.backbones.weights_reader import fit
from transfer_core.model_file import strict_json
from transfer_core.model_file.format import tensors_digest
from transfer_core.recipe.schema import Languages
from transfer_core.runtime.errors import ModelFileError

DESCRIPTION = "sequences.json"


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hyperparameters and special tokens."""

    shape: SequenceShape
    layout: TokenLayout


def described(files: Mapping[str, bytes], name: str) -> Description:
    """The description among the assets of a backbone; raises `ModelFileError`."""
    try:
        found = strict_json.decode(files.get(DESCRIPTION, b""), Description)
    except ValueError as error:
        raise ModelFileError(f"{name} can't be used: {DESCRIPTION}: {error}") from None
    shape, layout = found.shape, found.layout
    places = (layout.start, *layout.source_before, *layout.source_after)
    places += (*layout.target_before, *layout.target_after)
    tokens = [place for place in places if isinstance(place, int)]
    tokens += [shape.pad, shape.end, layout.unknown, *shape.banned, *layout.languages.values()]
    if max(tokens) >= shape.vocabulary:
        message = f"a token {max(tokens)}, but only {shape.vocabulary} tokens"
        raise ModelFileError(f"{name} can't be used: {DESCRIPTION} has {message}")
    if shape.width > 16 * shape.heads * shape.head_width:
        raise ModelFileError(f"{name} can't be used: {DESCRIPTION} has heads that don't fit its width")
    return found


def codec(backbone: EncoderDecoder, languages: Languages, prefix: str) -> TextCodec:
    """The tokenizers of a backbone with the languages and the prefix of a recipe."""
    files = backbone.assets.files()
    layout = described(files, backbone.facts.name).layout
    return TextCodec(files, layout, languages, prefix, backbone.shape.vocabulary, backbone.facts.name)


def description_file(shape: SequenceShape, layout: TokenLayout) -> bytes:
    """The content of `DESCRIPTION`."""
    return msgspec.json.encode(Description(shape, layout))


def sequence_backbone(
    facts: BackboneFacts,
    files: Mapping[str, bytes],
    tensors: Mapping[str, Tensor],
    weights: WeightsFacts | None,
    digest: str,
    origin: str,
) -> EncoderDecoder:
    """Build an encoder-decoder with these tensors, in eval mode.

    Parameters
    ----------
    facts, weights, digest
        See `Backbone`.
    files
        Its assets.
    tensors
        By their names in a `Backbone`; surplus ones are ignored.
    origin
        Name of the tensors in the error.

    Raises
    ------
    ModelFileError
        If a tensor is missing or has another shape.
    """
    shape = described(files, facts.name).shape
    with OnlyShapes():
        blocks = sequence_blocks(shape)
    backbone = EncoderDecoder(facts, shape, blocks, weights, digest, files)
    assets = {name: tensor for name, tensor in backbone.state_dict().items() if name.startswith("assets.")}
    names = {name: name for name in backbone.state_dict()}
    fitting = fit(backbone, names, {**tensors, **assets}, f"{origin} does not fit {facts.name}")
    backbone.load_state_dict(fitting, assign=True)
    return backbone.eval()


def random_backbone(facts: BackboneFacts, files: Mapping[str, bytes]) -> EncoderDecoder:
    """Build an encoder-decoder with random weights, always the same."""
    shape = described(files, facts.name).shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        blocks = sequence_blocks(shape)
        for block in blocks.values():
            block.apply(_draw(shape.width**-0.5))
    backbone = EncoderDecoder(facts, shape, blocks, None, "", files).eval()
    backbone.weights_digest = tensors_digest(backbone.state_dict())
    return backbone


def restored_backbone(
    facts: BackboneFacts, tensors: Mapping[str, Tensor], weights: WeightsFacts | None, digest: str
) -> EncoderDecoder:
    """See `Loading.restore`."""
    return sequence_backbone(facts, files_in(tensors), tensors, weights, digest, "the saved model")


def _draw(deviation: float) -> Callable[[nn.Module], None]:
    def draw(module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=deviation)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    return draw
