"""Describe, load and restore Keras 3's models: `keras.applications` and `.keras` files.

Their layers are converted to torch's with the same weights, so that they freeze, train and run like any other
backbone; layers without a counterpart in torch are run by Keras on its torch backend.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from transfer_core.backbones.asset_files import files_in
from transfer_core.backbones.backbone import Backbone
from transfer_core.backbones.facts import BackboneFacts, WeightsFacts
from transfer_core.backbones.keras import keras_architecture, keras_facts, keras_library, keras_weights_lookup
from transfer_core.backbones.keras.keras_architecture import Architecture, file_named
from transfer_core.backbones.keras.keras_blocks import arrange
from transfer_core.backbones.keras.keras_code import check_trust, own_code
from transfer_core.backbones.keras.keras_network import Network, build
from transfer_core.backbones.keras.keras_published import published
from transfer_core.backbones.keras.keras_values import change_first_kernel, draw, fill
from transfer_core.backbones.registry import bare_name
from transfer_core.backbones.weights import FoundWeights, is_path, sha256
from transfer_core.backbones.weights_reader import fit
from transfer_core.model_file.format import tensors_digest
from transfer_core.runtime.errors import Problem, RecipeError, WeightsNotFound
from transfer_core.runtime.progress import Progress

# The model's configuration among the assets.
CONFIG = "keras.json"


def facts(name: str, trust: bool) -> BackboneFacts:
    """See `Loading`; code in a `.keras` file runs only with `trust`."""
    path = file_named(name)
    return keras_facts.file(name, path, trust) if path else keras_facts.application(name)


def load(facts: BackboneFacts, weights: str, trust: bool, progress: Progress) -> Backbone:
    """See `Loading`; random weights are Glorot's, Keras' default."""
    path = file_named(facts.name)
    made = keras_architecture.of_file(path, trust) if path else keras_architecture.of_application(facts.name)
    network = build(made.graph, made.size, trust)
    found = None
    if weights == "random":
        draw(network.pieces, seed=0)
    elif path:
        found = _fill_from_file(network, facts, path, weights, trust)
    else:
        found = _fill_application(network, facts, weights, progress)
    if path and not network.scales_pixels:
        progress.warning(
            f"{facts.name} has no Rescaling or Normalization layer at its input: it receives pixels from 0 "
            "to 255. Fix: if it was trained on other values, save it again with such a layer"
        )
    backbone = _backbone(facts, made, network, found.weights if found else None)
    backbone.weights_digest = found.digest if found else tensors_digest(backbone.state_dict())
    return backbone.eval()


def restore(
    facts: BackboneFacts,
    tensors: Mapping[str, Tensor],
    weights: WeightsFacts | None,
    digest: str,
    trust: bool,
) -> Backbone:
    """See `Loading`. Saved models have no code: a model with its own code needs its `.keras` file again.

    Raises
    ------
    WeightsNotFound
        If that file does not exist.
    """
    if config := files_in(tensors).get(CONFIG):
        model = json.loads(config)
        check_trust(model, "the saved model", trust=False)
        made = keras_architecture.architecture(model, facts.name)
    else:
        path = file_named(facts.name)
        if not trust:  # the saved model names the file
            raise RecipeError([Problem("trust", f"{facts.name} has its own code. Fix: pass `trust: true`")])
        if path is None or not path.is_file():
            raise WeightsNotFound(f"{facts.name} is needed again, as the saved model does not have its code")
        made = keras_architecture.of_file(path, trust)
    backbone = _backbone(facts, made, build(made.graph, made.size, trust), weights)
    names = {name: name for name in backbone.state_dict()}
    fitting = fit(backbone, names, tensors, f"the saved model does not fit {facts.name}")
    backbone.load_state_dict(fitting, assign=True)
    backbone.weights_digest = digest
    return backbone.eval()


def _fill_application(
    network: Network, facts: BackboneFacts, weights: str, progress: Progress
) -> FoundWeights:
    known = published(bare_name(facts.name))
    if is_path(weights):
        found = keras_weights_lookup.own_keras_file(facts, weights)
    else:
        facts.published(facts.default if weights == "pretrained" else weights)
        found = keras_weights_lookup.published_file(known, progress)
    fill(network.pieces, keras_library.application_variables(known.name, known.image_size, found.path))
    is_published = found.weights.name == facts.default
    change_first_kernel(network.pieces, known.blue_first, known.scale if is_published else None)
    return found


def _fill_from_file(
    network: Network, facts: BackboneFacts, path: Path, weights: str, trust: bool
) -> FoundWeights:
    if is_path(weights):
        found = keras_weights_lookup.own_keras_file(facts, weights)
    else:
        own = facts.published(facts.default if weights == "pretrained" else weights)
        found = FoundWeights(path, own, sha256(path))
    fill(network.pieces, keras_library.file_variables(path, found.path, trust))
    return found


def _backbone(
    facts: BackboneFacts, made: Architecture, network: Network, weights: WeightsFacts | None
) -> Backbone:
    assets = {} if own_code(made.config) else {CONFIG: json.dumps(made.config).encode()}
    return Backbone(facts, *arrange(network), weights, assets=assets)
