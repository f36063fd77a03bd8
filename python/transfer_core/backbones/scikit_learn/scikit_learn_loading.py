"""Describe, load, fit and restore scikit-learn's transformers as backbones."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from msgspec.structs import replace
from torch import Tensor, nn

from transfer_core.backbones.asset_files import files_in
from transfer_core.backbones.backbone import Backbone
from transfer_core.backbones.facts import BackboneFacts, Preprocessing, WeightsFacts
from transfer_core.backbones.registry import bare_name
from transfer_core.backbones.scikit_learn.table_columns import Columns, check_width, columns_of, complaints
from transfer_core.backbones.scikit_learn.transformer_chain import (
    Chain,
    Pixels,
    Reader,
    Rows,
    Texts,
    category_bounds,
    check_parameters,
    fit_chain,
)
from transfer_core.backbones.scikit_learn.transformer_names import (
    COLUMNS,
    PIXELS,
    Step,
    modality_of,
    parse,
    refusal,
)
from transfer_core.backbones.scikit_learn.transformer_state import from_bytes, to_bytes
from transfer_core.runtime.errors import (
    DependencyError,
    ModelFileError,
    Problem,
    RecipeError,
    TransferWarning,
)
from transfer_core.runtime.progress import Progress

FITTED = "fitted"
_ASSET = "scikit_learn.safetensors"
_BLOCK = "transform"
# Default side of images in pixels.
_SIDE = 32


def facts(name: str, trust: bool) -> BackboneFacts:
    """See `Loading`; the embedding width is 0 until `fit`."""
    steps = parse(bare_name(name))
    modality = modality_of(steps)
    preprocessing = None
    if modality == "image":
        side = int(_pixel_options(steps)["size"])
        preprocessing = Preprocessing(side, side, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    weights = WeightsFacts(
        name=FITTED,
        preprocessing=preprocessing,
        license="none",
        trained_on="your training examples",
    )
    return BackboneFacts(
        name=name,
        source="scikit_learn",
        family=steps[-1].name,
        paper="Pedregosa et al., Scikit-learn: Machine Learning in Python, JMLR 12, 2011",
        arxiv="1201.0490",
        code_license="BSD-3-Clause",
        code_url="https://github.com/scikit-learn/scikit-learn",
        embedding_width=0,
        parameters=0,
        backbone_parameters=0,
        default=FITTED,
        blocks=(_BLOCK,),
        weights=(weights,),
        modality=modality,
        trainable=False,
        plain=False,
    )


def load(facts: BackboneFacts, weights: str, trust: bool, progress: Progress) -> Backbone:
    """See `Loading`; the backbone must be fitted before it is used (`fit`)."""
    if weights not in ("pretrained", FITTED):
        message = f"{facts.name} has no weights, it is fitted on your examples. Fix: remove weights"
        raise RecipeError([Problem("weights", message)])
    _require_scikit_learn(facts.name)
    check_parameters(parse(bare_name(facts.name)))
    return Backbone(facts, {_BLOCK: nn.Identity()}, nn.Identity(), facts.default_weights).eval()


def fit(
    backbone: Backbone,
    inputs: Sequence[Any],
    columns: Sequence[str],
    seed: int,
    warn: Callable[[str], None],
) -> Backbone:
    """Fit a backbone on the inputs of the training examples.

    Parameters
    ----------
    backbone
        From `load`.
    inputs
        Pixels of images (H, W, 3) uint8, texts, or rows of a table.
    columns
        Names of the table's columns.
    seed
        Of transformers with random numbers.
    warn
        Receives warnings about columns.

    Raises
    ------
    RecipeError
        At `backbone`, if a parameter is wrong or does not fit these inputs.
    DataError
        If a transformer takes numbers and a column contains texts.
    """
    facts = backbone.facts
    steps = parse(bare_name(facts.name))
    reader = _reader(steps, facts, inputs, columns)
    if isinstance(reader, Rows):
        most, rarest = category_bounds(steps[0])
        if steps[0].name == COLUMNS:
            check_width(inputs, reader.columns, most, rarest)
        for complaint in complaints(inputs, reader.columns, most):
            warn(complaint)
    loaded = [reader.read(input) for input in inputs]
    content = to_bytes(_state(fit_chain(steps, reader, loaded, seed)))
    # As it will be restored: another layout in memory may change the last bit of sums.
    chain = Chain(reader, from_bytes(content)["estimators"])
    return _around(chain, replace(facts, embedding_width=chain(loaded[:1]).shape[1]), content)


def restore(
    facts: BackboneFacts,
    tensors: Mapping[str, Tensor],
    weights: WeightsFacts | None,
    digest: str,
    trust: bool,
) -> Backbone:
    """See `Loading`; needs scikit-learn, and warns if its version is not the one used for fitting."""
    _require_scikit_learn(facts.name)
    content = files_in(tensors).get(_ASSET)
    if content is None:
        raise ModelFileError(f"the saved model lacks the file {_ASSET} of {facts.name}")
    state = from_bytes(content)
    try:
        reader = _known_reader(facts, state["reader"])
        _warn_of_another_version(state["version"], facts.name)
        return _around(Chain(reader, state["estimators"]), facts, content)
    except (LookupError, TypeError) as error:
        raise ModelFileError(f"the saved model's {_ASSET} is damaged: {error}") from error


def _around(chain: Chain, facts: BackboneFacts, content: bytes) -> Backbone:
    digest = hashlib.sha256(content).hexdigest()
    assets = {_ASSET: content}
    return Backbone(facts, {_BLOCK: chain}, nn.Identity(), facts.default_weights, digest, assets).eval()


def _reader(
    steps: Sequence[Step], facts: BackboneFacts, inputs: Sequence[Any], columns: Sequence[str]
) -> Reader:
    if facts.modality == "image":
        return Pixels(bool(_pixel_options(steps)["color"]))
    if facts.modality == "text":
        return Texts(isinstance(inputs[0], tuple))
    return Rows(columns_of(inputs, columns))


def _pixel_options(steps: Sequence[Step]) -> dict[str, Any]:
    """The options `size` and `color` of the images."""
    parameters = steps[0].parameters if steps[0].name == PIXELS else {}
    options = {"size": _SIDE, "color": True, **parameters}
    if set(options) != {"size", "color"}:
        raise refusal(f"{PIXELS} takes size and color (got {', '.join(parameters)})")
    if type(options["size"]) is not int or not 1 <= options["size"] <= 1024:
        raise refusal(f"{PIXELS}: size is a whole number from 1 to 1024 (got {options['size']!r})")
    if type(options["color"]) is not bool:
        raise refusal(f"{PIXELS}: color is True or False (got {options['color']!r})")
    return options


def _state(chain: Chain) -> dict[str, Any]:
    import sklearn

    reader: Any = chain.reader
    plain = reader.columns if isinstance(reader, Rows) else reader
    return {"version": sklearn.__version__, "reader": dict(vars(plain)), "estimators": chain.estimators}


def _known_reader(facts: BackboneFacts, state: dict[str, Any]) -> Reader:
    if facts.modality == "image":
        return Pixels(**state)
    return Texts(**state) if facts.modality == "text" else Rows(Columns(**state))


def _require_scikit_learn(name: str) -> None:
    if find_spec("sklearn") is None:
        raise DependencyError(f"the backbone {name}", "scikit-learn", "sklearn")


def _warn_of_another_version(then: str, name: str) -> None:
    import sklearn

    if then != sklearn.__version__:
        warnings.warn(
            f"{name} was fitted by scikit-learn {then} and is used by {sklearn.__version__}: "
            "its embeddings may differ. Fix: train again if they do",
            TransferWarning,
            stacklevel=2,
        )
