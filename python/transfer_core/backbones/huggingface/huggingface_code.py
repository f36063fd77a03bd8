"""Text encoders of the hub that bring their own code, which runs only with `trust`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from transfer_core.backbones.huggingface.encoder_layers import PADDING
from transfer_core.backbones.huggingface.huggingface_network import Network
from transfer_core.backbones.huggingface.repository import Repository
from transfer_core.runtime.errors import DependencyError, ModelFileError, Problem, RecipeError

# Maximum number of tokens, if config.json has none.
_USUAL_LENGTH = 512


class Whole(nn.Module):
    """A model of transformers as one block."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._has_types = "token_type_ids" in inspect.signature(model.forward).parameters

    @property
    def words(self) -> nn.Module:
        """The token embeddings."""
        return self.model.get_input_embeddings()  # type: ignore[no-any-return]

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, L, 2) int32 -> (N, L, D), padded with zeros."""
        ids, types = tokens.long().unbind(dim=2)
        is_token = ids != PADDING
        more = {"token_type_ids": types.clamp(min=0)} if self._has_types else {}
        output = self.model(input_ids=ids.clamp(min=0), attention_mask=is_token.long(), **more)
        return output[0].masked_fill(~is_token[:, :, None], 0.0)  # type: ignore[no-any-return]


def code_of(config: Mapping[str, Any]) -> str | None:
    """The class of the model's own code that a config.json refers to: `modeling_x.XModel`."""
    named = config.get("auto_map", {}).get("AutoModel")
    return str(named) if named else None


def check_trust(name: str, config: Mapping[str, Any], trust: bool) -> None:
    """Raise `RecipeError` at `trust` for code without permission, at `backbone` for code elsewhere."""
    code = code_of(config)
    if code and not trust:
        message = f"{name} brings its own code ({code}). Fix: read it, and pass trust: true if it may run"
        raise RecipeError([Problem("trust", message)])
    if code and "--" in code:
        message = f"{name} can't be used: its code ({code}) is in another model"
        raise RecipeError([Problem("backbone", message)])


def code_files(repository: Repository, config: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of the model's own code by name; empty if it has none."""
    if not code_of(config):
        return {}
    return {path.name: path.read_bytes() for path in sorted(repository.folder.glob("*.py"))}


def code_network(repository: Repository, config: Mapping[str, Any], with_weights: bool) -> Network:
    """Build the network with its own code.

    Parameters
    ----------
    repository
        Directory with the code.
    config
        Content of config.json.
    with_weights
        Whether to load the weights in the directory instead of drawing random ones.

    Raises
    ------
    DependencyError
        If transformers is not installed.
    ModelFileError
        If the code fails.
    """
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError:
        raise DependencyError("a model with its own code", "transformers", "huggingface") from None
    maker: Any = AutoModel
    here = {"local_files_only": True, "trust_remote_code": True}
    try:
        if with_weights:
            model = maker.from_pretrained(repository.folder, **here)
        else:
            known = AutoConfig.from_pretrained(repository.folder, **here)
            model = maker.from_config(known, trust_remote_code=True)
    except Exception as error:
        raise ModelFileError(f"the code of {repository.name} failed: {error}") from error
    positions = config.get("max_position_embeddings") or config.get("n_positions") or _USUAL_LENGTH
    return Network(
        {"encoder": Whole(model.float())}, {"encoder": "encoder"}, model.config.hidden_size, positions
    )


def same_code(repository: Repository | None, files: Mapping[str, bytes], name: str) -> Repository:
    """Check that the code in `repository` is identical to the code of a saved model.

    Parameters
    ----------
    repository
        The model on this machine; None: there is no copy.
    files
        The assets of the saved model.
    name
        The backbone, for errors.

    Raises
    ------
    ModelFileError
        If it differs, or is not on this machine.
    """
    for file, content in files.items():
        if file.endswith(".py") and (repository is None or repository.read(file) != content):
            was = f"the saved model's code is missing on this machine or has changed ({file})"
            raise ModelFileError(f"{was}. Fix: restore {name}")
    assert repository
    return repository
