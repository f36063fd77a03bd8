"""The recipe schema: the complete, immutable configuration of a training.

Ruby's DSL, Python's `train()` and the command line all build the same recipe; the saved model
contains it. Fields that are `None` were left out by the user: `presets.complete` fills them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

# Recipes are also read from untrusted model files: their size must be bounded.
LONGEST_NAME, MOST_NAMES = 4096, 100_000

Name: TypeAlias = Annotated[str, Meta(max_length=LONGEST_NAME, pattern=r"^[^\0]*$")]
# Without the pattern: msgspec 0.22 crashes on a union of a string with a pattern and a list.
Column: TypeAlias = Annotated[str, Meta(max_length=LONGEST_NAME)]
Target: TypeAlias = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000)]
Some: TypeAlias = Annotated[int, Meta(ge=1, le=100_000)]
Width: TypeAlias = Annotated[int, Meta(ge=1, le=65_536)]
Positive: TypeAlias = Annotated[float, Meta(gt=0, le=1e6)]
NotNegative: TypeAlias = Annotated[float, Meta(ge=0, le=1e6)]
Probability: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Fraction: TypeAlias = Annotated[float, Meta(ge=0, lt=1)]


ImageSize: TypeAlias = Annotated[int, Meta(ge=96, le=1280, multiple_of=32)]


class Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Immutable and compared by value."""


# Data: where examples come from.


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

    Without `input` it is `path` for images, `text` for texts (two columns make pairs), and for tables every
    column that is neither target nor split.
    """

    input: Column | Annotated[tuple[Column, ...], Meta(max_length=MOST_NAMES)] | None = None
    target: Target | Annotated[tuple[Target, ...], Meta(min_length=1, max_length=MOST_NAMES)] = "label"
    split: Name = "split"


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


# Augmentation.


class Flip(Base, frozen=True, tag="flip"):
    """Mirror left to right."""

    probability: Probability = 0.5


class Crop(Base, frozen=True, tag="crop"):
    """A random crop of at least `min_scale` of the area, resized to the input size."""

    min_scale: Annotated[float, Meta(gt=0, le=1)] = 0.5


class Rotate(Base, frozen=True, tag="rotate"):
    """Rotate by a random angle between -`degrees` and +`degrees`."""

    degrees: Annotated[float, Meta(gt=0, le=180)] = 15.0


class Color(Base, frozen=True, tag="color"):
    """Change brightness, contrast and saturation by a factor within 1 ± `strength`."""

    strength: Annotated[float, Meta(gt=0, lt=1)] = 0.2


class Scale(Base, frozen=True, tag="scale"):
    """Detection: shrink by a random factor down to `min_scale`, and place at random."""

    min_scale: Annotated[float, Meta(gt=0, le=1)] = 0.5


class Mosaic(Base, frozen=True, tag="mosaic"):
    """Detection: with this probability, four images in one."""

    probability: Probability = 0.5


Augmentation: TypeAlias = Flip | Crop | Rotate | Color | Scale | Mosaic


# The head: the new layers on top of the backbone.


class LinearHead(Base, frozen=True, tag="linear"):
    """One dense layer."""

    dropout: Fraction = 0.0


class MlpHead(Base, frozen=True, tag="mlp"):
    """Dense layers with ReLU between them; `hidden` are their widths."""

    hidden: Annotated[tuple[Width, ...], Meta(max_length=32)] = (256,)
    dropout: Fraction = 0.1


class LogisticHead(Base, frozen=True, tag="logistic"):
    """scikit-learn's LogisticRegression; `c` is the inverse of the strength of its L2 penalty."""

    c: Annotated[float, Meta(gt=0, le=1e12)] = 1.0


class SvmHead(Base, frozen=True, tag="svm"):
    """A support vector machine, scikit-learn's SVC or SVR."""

    c: Annotated[float, Meta(gt=0, le=1e12)] = 1.0
    kernel: Literal["rbf", "linear"] = "rbf"


class RandomForestHead(Base, frozen=True, tag="random_forest"):
    """scikit-learn's random forest of so many `trees`."""

    trees: Some = 300
    max_depth: Some | None = None


class GradientBoostingHead(Base, frozen=True, tag="gradient_boosting"):
    """scikit-learn's histogram gradient boosting with at most so many `trees` per output."""

    trees: Some = 200
    learning_rate: Positive = 0.1


class KnnHead(Base, frozen=True, tag="knn"):
    """k-nearest neighbours: majority vote, or mean."""

    neighbors: Count = 5


# Heads without gradients, which can't be trained together with the backbone.
ClassicHead: TypeAlias = LogisticHead | SvmHead | RandomForestHead | GradientBoostingHead | KnnHead

# Detection heads: a feature pyramid of so many `channels`, and a detector on it.

Channels: TypeAlias = Annotated[int, Meta(ge=32, le=512, multiple_of=32)]
Layers: TypeAlias = Annotated[int, Meta(ge=1, le=4)]


class FcosHead(Base, frozen=True, tag="fcos"):
    """FCOS: no anchors; so many `layers` before the classes, and before the boxes."""

    channels: Channels = 64
    layers: Layers = 2


class RetinanetHead(Base, frozen=True, tag="retinanet"):
    """RetinaNet: nine anchors per position and the focal loss."""

    channels: Channels = 64
    layers: Layers = 2


class SsdHead(Base, frozen=True, tag="ssd"):
    """SSD: one convolution per level, the fastest."""

    channels: Channels = 64


class FasterRcnnHead(Base, frozen=True, tag="faster_rcnn"):
    """Faster R-CNN: proposals, then two dense layers of `hidden` width for each."""

    channels: Channels = 64
    hidden: Width = 256


DetectionHead: TypeAlias = FcosHead | RetinanetHead | SsdHead | FasterRcnnHead

Head: TypeAlias = LinearHead | MlpHead | ClassicHead | DetectionHead


# Steps, in the order in which they are taken.


class Freeze(Base, frozen=True, tag="freeze"):
    """Stop training the whole backbone, its `first` blocks, or the named `blocks`."""

    first: Some | None = None
    blocks: Annotated[tuple[Name, ...], Meta(max_length=MOST_NAMES)] | None = None


class Unfreeze(Base, frozen=True, tag="unfreeze"):
    """Resume training of the `last` blocks, the named `blocks`, or `all` of the backbone."""

    last: Some | None = None
    blocks: Annotated[tuple[Name, ...], Meta(max_length=MOST_NAMES)] | None = None
    all: bool | None = None


class Lora(Base, frozen=True, tag="lora"):
    """Train low-rank adapters of this `rank` beside the frozen dense layers of the backbone, merged into them
    at the end (Hu et al. 2021, LoRA); `alpha` / `rank` scales them."""

    rank: Width = 8
    alpha: Positive = 16.0
    dropout: Fraction = 0.0


Optimizer: TypeAlias = Literal["lbfgs", "adam", "adamw", "sgd"]
Schedule: TypeAlias = Literal["constant", "cosine"]


class Train(Base, frozen=True, tag="train"):
    """Train the head and the blocks that are not frozen.

    `early_stopping` is the number of epochs without a better validation loss after which training
    ends (0: never). `warmup` is the share of all steps during which the learning rate rises from 0.
    `class_weights` is `balanced`, `none`, or a weight per label. `layer_decay` multiplies the
    learning rate of each block relative to the block above it. `label_smoothing` is the share of the target
    distribution that all tokens of a generated text have in common.
    """

    epochs: Some | None = None
    optimizer: Optimizer | None = None
    learning_rate: Positive | None = None
    momentum: Fraction | None = None
    weight_decay: NotNegative | None = None
    batch_size: Count | None = None
    loss: Name | None = None
    schedule: Schedule | None = None
    warmup: Fraction | None = None
    early_stopping: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    class_weights: Literal["none", "balanced"] | dict[Name, Positive] | None = None
    layer_decay: Annotated[float, Meta(gt=0, le=1)] | None = None
    label_smoothing: Fraction | None = None


# Options of mini-batch optimizers (Adam, AdamW, SGD), which do not apply to L-BFGS.
OF_MINIBATCHES = (
    "epochs",
    "learning_rate",
    "weight_decay",
    "batch_size",
    "schedule",
    "warmup",
    "early_stopping",
    "layer_decay",
)

Step: TypeAlias = Freeze | Unfreeze | Lora | Train

# Kinds of transfer between domains.

AdaptMethod: TypeAlias = Literal[
    "auto", "coral", "subspace", "tca", "optimal_transport", "mixture", "mcc", "ensemble"
]
WeighMethod: TypeAlias = Literal["kmm", "kliep", "ulsif", "discriminator", "tradaboost", "label_shift"]


class Adapt(Base, frozen=True):
    """Bring the source and the target domain together (feature-based transfer).

    `components` is the number of dimensions of `subspace`, `tca` and `mixture`, `strength` the weight of the
    loss of `mcc`, and the regularization of `coral`, `tca` and `optimal_transport` (None:
    the method's defaults).
    """

    method: AdaptMethod = "auto"
    components: Width | None = None
    strength: Positive | None = None


class Weigh(Base, frozen=True):
    """Weight the examples of the source domain (instance-based transfer), by at most `limit` times their
    mean."""

    method: WeighMethod
    limit: Annotated[float, Meta(ge=1, le=1e6)] = 10.0


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
    `map_labels` renames labels of the source.
    """

    version: Literal[1] = 1
    data: Source
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
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    device: Annotated[str, Meta(pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)\Z")] = "auto"
    precision: Precision = "auto"
    preset: Preset = "fast"
    budget: Positive | None = None


def to_plain(recipe: Recipe) -> dict[str, Any]:
    """Convert to dicts, lists, strings and numbers; `parse_recipe` restores the same recipe."""
    plain: dict[str, Any] = msgspec.to_builtins(recipe)
    return plain
