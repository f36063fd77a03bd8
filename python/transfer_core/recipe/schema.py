"""The recipe schema: the complete, immutable configuration of a training.

Ruby's DSL, Python's `train()` and the command line all build the same recipe; the saved model
contains it. Fields that are `None` were left out by the user: `presets.complete` fills them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from transfer_core.recipe.augmentations import Augmentation
from transfer_core.recipe.fields import (
    MOST_NAMES,
    Base,
    Column,
    Count,
    Fraction,
    ImageSize,
    Name,
    Positive,
    Target,
)
from transfer_core.recipe.heads import Head
from transfer_core.recipe.kinds import Adapt, Weigh
from transfer_core.recipe.relations import Distill, Regularization, Reuse
from transfer_core.recipe.steps import Step, Train


class PathSource(Base, frozen=True, tag="path"):
    """A class folder, or a manifest (.csv, .jsonl, .parquet)."""

    path: Name


class StreamSource(Base, frozen=True, tag="stream"):
    """Rows `{input, label}` that the caller streams in batches."""

    stream: Name


class Splits(Base, frozen=True, tag="splits"):
    """Separate sources for training, model selection (`valid`) and final metrics (`test`)."""

    train: PathSource | StreamSource
    valid: PathSource | StreamSource | None = None
    test: PathSource | StreamSource | None = None


Source: TypeAlias = PathSource | StreamSource | Splits


class Columns(Base, frozen=True):
    """The names of a manifest's columns; several targets make a regression with several outputs, or a label
    each.

    `group` is the column of the groups that metrics are compared between.

    Without `input` it is `path` for images, `text` for texts (two columns make pairs), and for tables every
    column that is neither target nor split.
    """

    input: Column | Annotated[tuple[Column, ...], Meta(max_length=MOST_NAMES)] | None = None
    target: Target | Annotated[tuple[Target, ...], Meta(min_length=1, max_length=MOST_NAMES)] = "label"
    split: Name = "split"
    group: Target | None = None


class SplitSizes(Base, frozen=True):
    """Held-out shares if the data has no split: `test` of all rows, `valid` of the remaining ones.

    Rows with the same value in the column `group` stay on one side, and so do `near_duplicates`. To `measure`
    on the validation part reserves the test part for a later model.
    """

    test: Fraction = 0.2
    valid: Fraction = 0.15
    group: str | None = None
    near_duplicates: bool = True
    measure: Literal["test", "valid"] = "test"


class TextOptions(Base, frozen=True):
    """Tokenization of texts: `max_length` in tokens (None: the backbone's), and truncation or averaging over
    several windows (`long`) of longer texts. `prefix` is written before each source of a generated text."""

    max_length: Count | None = None
    long: Literal["truncate", "window"] = "truncate"
    prefix: Annotated[str, Meta(max_length=1000)] = ""


class Languages(Base, frozen=True):
    """Languages of a translation, by the codes of the backbone: `de`, `deu_Latn`, `>>deu<<`."""

    source: Name | None = None
    target: Name | None = None


class Generation(Base, frozen=True):
    """Generation of texts: number of hypotheses of the beam search (1: greedy), exponent of the length that
    divides a hypothesis' log-probability, and maximum length in tokens (None: derived from the source).

    `no_repeat` forbids a sequence of so many tokens to occur twice; 0 allows all.
    """

    beams: Annotated[int, Meta(ge=1, le=64)] = 1
    length_penalty: Annotated[float, Meta(ge=-10, le=10)] = 1.0
    max_length: Count | None = None
    no_repeat: Annotated[int, Meta(ge=0, le=100)] = 0


Preset: TypeAlias = Literal["fast", "balanced", "best"]
Precision: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]


class Recipe(Base, frozen=True, kw_only=True):
    """The complete configuration of one training.

    `train` has the training options given without steps (`Transfer.train(epochs: 5)`):
    they go into the last `train` step of the preset. `weights` is `pretrained`, `random`, the name of
    a published file (`IMAGENET1K_V1`), or a path. `task` and `loss` are names that `tasks` registers.
    `trust` allows running code that comes with the backbone. `budget`, in seconds, is for the backbone
    `auto`, which searches backbone, augmentation, head and steps. `source` is a labelled source domain beside
    the target domain `data`, whose labels may be missing, and `unlabelled` more inputs of the target domain;
    `map_labels` renames labels of the source. `unlabelled` are also inputs to `distill` a teacher on. `from`
    is the path of a saved model whose training is continued with `data`; its backbone is `auto` then.
    `corrections` is a CSV of an audit that relabels and leaves out examples of `data`. Without
    `keep_examples` neither model file nor report contain inputs of the training data. `processes` of this
    machine share each batch of fine-tuning, one per GPU. `engine` is the address of a Ray cluster and
    `storage` what its nodes share; both count for the call and are not stored.
    """

    version: Literal[1] = 1
    data: Source
    corrections: Name | None = None
    start: Name | None = msgspec.field(default=None, name="from")
    source: PathSource | StreamSource | None = None
    unlabelled: PathSource | StreamSource | None = None
    map_labels: Annotated[dict[Name, Name], Meta(max_length=MOST_NAMES)] | None = None
    backbone: Name
    weights: Name = "pretrained"
    trust: bool = False
    task: Name = "auto"
    columns: Columns = Columns()
    text: TextOptions = TextOptions()
    languages: Languages = Languages()
    generation: Generation = Generation()
    split: SplitSizes = SplitSizes()
    on_bad_input: Literal["raise", "skip"] = "raise"
    augment: Annotated[tuple[Augmentation, ...], Meta(max_length=100)] | None = None
    image_size: ImageSize | None = None
    head: Head | None = None
    steps: Annotated[tuple[Step, ...], Meta(max_length=100)] = ()
    train: Train = Train()
    adapt: Adapt | None = None
    weigh: Weigh | None = None
    distill: Distill | None = None
    regularize: Regularization | None = None
    reuse: Reuse | None = None
    keep_examples: bool = True
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    device: Annotated[str, Meta(pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)\Z")] = "auto"
    precision: Precision = "auto"
    processes: Annotated[int, Meta(ge=1, le=64)] = 1
    preset: Preset = "fast"
    budget: Positive | None = None
    engine: Name | None = None
    storage: Name | None = None


def to_plain(recipe: Recipe) -> dict[str, Any]:
    """Convert to dicts, lists, strings and numbers; `parse_recipe` restores the same recipe."""
    plain: dict[str, Any] = msgspec.to_builtins(recipe)
    return plain
