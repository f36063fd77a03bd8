"""What is a recipe, what is not, and what the user is told."""

# ruff: noqa: E501

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from transfer_core.recipe.augmentations import Crop, Flip, Rotate
from transfer_core.recipe.heads import LinearHead, MlpHead
from transfer_core.recipe.parser import parse_recipe
from transfer_core.recipe.schema import Columns, PathSource, Splits, SplitSizes, StreamSource, to_plain
from transfer_core.recipe.steps import Freeze, Train, Unfreeze
from transfer_core.runtime.errors import RecipeError

LEAST = {"data": "photos", "backbone": "mobilenet_v2"}
TRAIN_WORDS = (
    "epochs, optimizer, learning_rate, momentum, weight_decay, batch_size, loss, schedule, warmup, "
    "early_stopping, class_weights, group_weights, layer_decay, label_smoothing"
)
WORDS = (
    "version, data, corrections, from, source, unlabelled, map_labels, backbone, weights, trust, task, columns, text, languages, "
    "generation, split, on_bad_input, augment, image_size, head, steps, train, adapt, weigh, distill, "
    "regularize, reuse, keep_examples, seed, device, precision, processes, preset, budget, engine, storage"
)
FULL = {
    "data": {"train": "a", "valid": {"stream": "s1"}, "test": "c"},
    "backbone": "resnet18",
    "weights": "IMAGENET1K_V1",
    "task": "classification",
    "columns": {"input": "file", "target": ["x", "y"], "split": "part"},
    "split": {"test": 0.1, "valid": 0},
    "on_bad_input": "skip",
    "augment": ["flip", {"type": "crop", "min_scale": 1}, {"type": "rotate"}],
    "head": {"type": "mlp", "hidden": [64, 8], "dropout": 0.5},
    "steps": [
        {"type": "freeze", "first": 3},
        {"type": "train", "epochs": 5, "optimizer": "sgd", "momentum": 0.9, "learning_rate": 1},
        {"type": "unfreeze", "last": 2},
        {"type": "unfreeze", "blocks": ["layer4"]},
        {"type": "unfreeze", "all": True},
        {"type": "train", "class_weights": {"cat": 2}, "warmup": 0.1, "early_stopping": 0},
    ],
    "seed": 2**32 - 1,
    "device": "cuda:1",
    "precision": "bfloat16",
    "preset": "best",
}


def problems(words):
    with pytest.raises(RecipeError) as caught:
        parse_recipe(words)
    return [str(problem) for problem in caught.value.problems]


def test_the_least_that_can_be_said():
    recipe = parse_recipe(LEAST)
    assert recipe.data == PathSource("photos")
    assert (recipe.weights, recipe.task, recipe.seed, recipe.device) == ("pretrained", "auto", 0, "auto")
    assert (recipe.precision, recipe.preset, recipe.on_bad_input) == ("auto", "fast", "raise")
    assert (recipe.head, recipe.augment, recipe.steps, recipe.train) == (None, None, (), Train())
    assert (recipe.columns, recipe.split) == (Columns(), SplitSizes(test=0.2, valid=0.15))


def test_everything_that_can_be_said():
    recipe = parse_recipe(FULL)
    assert recipe.data == Splits(PathSource("a"), StreamSource("s1"), PathSource("c"))
    assert recipe.columns == Columns("file", ("x", "y"), "part")
    assert recipe.augment == (Flip(), Crop(1.0), Rotate())
    assert recipe.head == MlpHead((64, 8), 0.5)
    assert recipe.steps == (
        Freeze(first=3),
        Train(epochs=5, optimizer="sgd", momentum=0.9, learning_rate=1.0),
        Unfreeze(last=2),
        Unfreeze(blocks=("layer4",)),
        Unfreeze(all=True),
        Train(class_weights={"cat": 2.0}, warmup=0.1, early_stopping=0),
    )


@pytest.mark.parametrize("words", [LEAST, FULL, {**LEAST, "train": {"epochs": 3}}])
def test_a_recipe_is_read_back_as_it_was_written(words):
    recipe = parse_recipe(words)
    assert parse_recipe(to_plain(recipe)) == recipe
    assert parse_recipe(json.loads(json.dumps(to_plain(recipe)))) == recipe


@pytest.mark.parametrize(
    ("source", "meant"),
    [
        ("a", PathSource("a")),
        (Path("a/b"), PathSource("a/b")),
        ({"type": "path", "path": "a"}, PathSource("a")),
        ({"stream": "s1"}, StreamSource("s1")),
        ({"train": Path("a")}, Splits(PathSource("a"))),
        (
            {"type": "splits", "train": {"stream": "s"}, "test": "b"},
            Splits(StreamSource("s"), None, PathSource("b")),
        ),
    ],
)
def test_short_forms_of_data(source, meant):
    assert parse_recipe({**LEAST, "data": source}).data == meant


def test_short_forms_of_the_rest():
    recipe = parse_recipe({**LEAST, "head": "linear", "augment": ["flip"], "weights": Path("w.pt")})
    assert (recipe.head, recipe.augment, recipe.weights) == (LinearHead(), (Flip(),), "w.pt")


def test_numbers_of_numpy_are_numbers():
    train = {"epochs": np.int64(3), "learning_rate": np.float32(0.5), "warmup": np.float64(0.25)}
    assert parse_recipe({**LEAST, "train": train}).train == Train(epochs=3, learning_rate=0.5, warmup=0.25)


WRONG_VALUES = [
    ({"data": 3}, "data: expected a path, or a path each for train, valid and test (got 3)"),
    ({"data": None}, "data: expected a path, or a path each for train, valid and test (got nothing)"),
    ({"data": {"train": 3}}, "data.train: expected a path (got 3)"),
    ({"data": {"valid": "b"}}, "data.train: is missing"),
    ({"data": {"type": "folder"}}, 'data: unknown data "folder" (one of: path, stream, splits)'),
    ({"data": {"type": ["path"]}}, "data.type: expected a path, or a path each for train, valid and test (got [\"path\"])"),
    ({"backbone": 3}, "backbone: expected a name (got 3)"),
    ({"weights": None}, "weights: expected a name (got nothing)"),
    ({"task": 3}, "task: expected a name (got 3)"),
    ({"columns": {"target": ["x", "y", "x"]}}, 'columns.target: names "x" twice'),
    ({"columns": {"input": ["a", "a"]}}, 'columns.input: names "a" twice'),
    ({"columns": {"target": 3}}, "columns.target: expected a name or a list of names (got 3)"),
    ({"columns": {"type": "x"}}, 'columns.type: unknown word "type" (one of: input, target, split, group)'),
    ({"columns": "label"}, 'columns: expected options (input, target, split, group) (got "label")'),
    ({"split": {"test": 1}}, "split.test: expected a number of at least 0 and below 1 (got 1)"),
    ({"on_bad_input": "ignore"}, 'on_bad_input: unknown on_bad_input "ignore" (one of: raise, skip)'),
    ({"augment": "flip"}, 'augment: expected a list of flip, crop, rotate, color, blur, noise, jpeg, grayscale, rand_augment, style, mixup, cutmix, scale or mosaic (got "flip")'),
    ({"augment": ["flp"]}, 'augment[0]: unknown augmentation "flp", did you mean "flip"? (one of: flip, crop, rotate, color, blur, noise, jpeg, grayscale, rand_augment, style, mixup, cutmix, scale, mosaic)'),
    ({"augment": ["flip", 3]}, "augment[1]: expected flip, crop, rotate, color, blur, noise, jpeg, grayscale, rand_augment, style, mixup, cutmix, scale or mosaic (got 3)"),
    ({"augment": [{"type": "flip", "probability": 1.5}]}, "augment[0].probability: expected a number of at least 0 and at most 1 (got 1.5)"),
    ({"augment": [{"type": "crop", "min_scale": 0}]}, "augment[0].min_scale: expected a number above 0 and at most 1 (got 0)"),
    ({"augment": [{"type": "rotate", "degrees": 181}]}, "augment[0].degrees: expected a number above 0 and at most 180 (got 181)"),
    ({"augment": [{"type": "jpeg", "min_quality": 0}]}, "augment[0].min_quality: expected a whole number of at least 1 and at most 95 (got 0)"),
    ({"augment": [{"type": "style", "method": "colour"}]}, 'augment[0].method: unknown method "colour", did you mean "color"? (one of: color, fourier)'),
    ({"augment": [{"type": "mixup", "alpha": 0}]}, "augment[0].alpha: expected a number above 0 and at most 100 (got 0)"),
    ({"augment": [{"type": "color", "strength": 1}]}, "augment[0].strength: expected a number above 0 and below 1 (got 1)"),
    ({"head": "linaer"}, 'head: unknown head "linaer", did you mean "linear"? (one of: linear, mlp, logistic, svm, random_forest, gradient_boosting, knn, prototype, cosine, fcos, retinanet, ssd, faster_rcnn, queries)'),
    ({"head": 3}, "head: expected linear, mlp, logistic, svm, random_forest, gradient_boosting, knn, prototype, cosine, fcos, retinanet, ssd, faster_rcnn or queries (got 3)"),
    ({"head": {}}, "head.type: expected linear, mlp, logistic, svm, random_forest, gradient_boosting, knn, prototype, cosine, fcos, retinanet, ssd, faster_rcnn or queries (got nothing)"),
    ({"head": {"type": "linear", "hidden": [3]}}, 'head.hidden: unknown word "hidden" for linear (one of: dropout)'),
    ({"head": {"type": "mlp", "hidden": 256}}, "head.hidden: expected a list of whole numbers of at least 1 and at most 65536 (got 256)"),
    ({"head": {"type": "mlp", "hidden": [0]}}, "head.hidden: expected a list of whole numbers of at least 1 and at most 65536 (got [0])"),
    ({"steps": {"type": "train"}}, 'steps: expected a list of freeze, unfreeze, lora or train (got {"type": "train"})'),
    ({"steps": [{"type": "trian"}]}, 'steps[0]: unknown step "trian", did you mean "train"? (one of: freeze, unfreeze, lora, train)'),
    ({"steps": [{"epochs": 3}]}, "steps[0].type: expected freeze, unfreeze, lora or train (got nothing)"),
    ({"steps": [None]}, "steps[0]: expected freeze, unfreeze, lora or train (got nothing)"),
    ({"steps": [{"type": "train", "epoch": 3}]}, f'steps[0].epoch: unknown word "epoch" for train, did you mean "epochs"? (one of: {TRAIN_WORDS})'),
    ({"steps": [{"type": "train", "epochs": 0}]}, "steps[0].epochs: expected a whole number of at least 1 and at most 100000 (got 0)"),
    ({"steps": [{"type": "unfreeze", "all": 1}]}, "steps[0].all: expected true or false (got 1)"),
    ({"steps": [{"type": "freeze", "blocks": "layer1"}]}, 'steps[0].blocks: expected a list of names (got "layer1")'),
    ({"train": "adam"}, f'train: expected options ({TRAIN_WORDS}) (got "adam")'),
    ({"train": {"epochs": 2.5}}, "train.epochs: expected a whole number of at least 1 and at most 100000 (got 2.5)"),
    ({"train": {"epochs": True}}, "train.epochs: expected a whole number of at least 1 and at most 100000 (got true)"),
    ({"train": {"optimizer": "addam"}}, 'train.optimizer: unknown optimizer "addam", did you mean "adam"? (one of: lbfgs, adam, adamw, sgd)'),
    ({"train": {"learning_rate": 0}}, "train.learning_rate: expected a number above 0 and at most 1000000 (got 0)"),
    ({"train": {"learning_rate": "1e-3"}}, 'train.learning_rate: expected a number above 0 and at most 1000000 (got "1e-3")'),
    ({"train": {"learning_rate": float("nan")}}, "train.learning_rate: expected a number above 0 and at most 1000000 (got NaN)"),
    ({"train": {"learning_rate": float("inf")}}, "train.learning_rate: expected a number above 0 and at most 1000000 (got Infinity)"),
    ({"train": {"learning_rate": 10**400}}, f"train.learning_rate: expected a number above 0 and at most 1000000 (got 1{'0' * 58}…)"),
    ({"train": {"weight_decay": -1}}, "train.weight_decay: expected a number of at least 0 and at most 1000000 (got -1)"),
    ({"train": {"early_stopping": -1}}, "train.early_stopping: expected a whole number of at least 0 and at most 100000 (got -1)"),
    ({"train": {"class_weights": {"cat": 0}}}, 'train.class_weights: expected none, balanced, or a number above 0 and at most 1000000 for each label (got {"cat": 0})'),
    ({"train": {"class_weights": {"cat": float("inf")}}}, 'train.class_weights: expected none, balanced, or a number above 0 and at most 1000000 for each label (got {"cat": Infinity})'),
    ({"train": {"class_weights": "balancd"}}, 'train.class_weights: unknown class_weights "balancd", did you mean "balanced"? (one of: none, balanced)'),
    ({"seed": -1}, "seed: expected a whole number of at least 0 and below 4294967296 (got -1)"),
    ({"seed": b"1"}, "seed: expected a whole number of at least 0 and below 4294967296 (got bytes)"),
    ({"device": "gpu"}, 'device: expected auto, cpu, mps, cuda, or one GPU as in cuda:1 (got "gpu")'),
    ({"version": 2}, "version: expected 1 (got 2)"),
    ({"backbone": "x" * 4097}, "backbone: expected at most 4096 characters (got 4097)"),
    ({"weights": "w\0.pth"}, 'weights: expected no NUL character (got "w\\u0000.pth")'),
    ({"data": "a\0b"}, 'data.path: expected no NUL character (got "a\\u0000b")'),
    ({"data": {"train": {"train": {"train": "a"}}}}, "data.train.type: expected a path (got nothing)"),
    ({"columns": {"target": ""}}, 'columns.target: expected a name or a list of names (got "")'),
    ({"columns": {"target": ["a", ""]}}, 'columns.target: expected a name or a list of names (got ["a", ""])'),
    ({"columns": {"input": ["a"] * 100_001}}, "columns.input: expected at most 100000 values (got 100001)"),
    ({"augment": ["flip"] * 101}, "augment: expected at most 100 values (got 101)"),
    ({"steps": [{"type": "train"}] * 101}, "steps: expected at most 100 values (got 101)"),
    ({"steps": [{"type": "freeze", "blocks": ["a\0"]}]}, 'steps[0].blocks: expected a list of names (got ["a\\u0000"])'),
    ({"head": {"type": "mlp", "hidden": [1] * 100_000}}, "head.hidden: expected at most 32 values (got 100000)"),
    ({"head": {"type": "mlp", "hidden": [65_537]}}, "head.hidden: expected a list of whole numbers of at least 1 and at most 65536 (got [65537])"),
    ({"head": {"type": "random_forest", "trees": 100_001}}, "head.trees: expected a whole number of at least 1 and at most 100000 (got 100001)"),
    ({"head": {"type": "knn", "neighbors": 2**62}}, f"head.neighbors: expected a whole number of at least 1 and at most 1000000 (got {2**62})"),
    ({"train": {"epochs": 100_001}}, "train.epochs: expected a whole number of at least 1 and at most 100000 (got 100001)"),
    ({"train": {"batch_size": 10**9}}, "train.batch_size: expected a whole number of at least 1 and at most 1000000 (got 1000000000)"),
    ({"train": {"learning_rate": 1e300}}, "train.learning_rate: expected a number above 0 and at most 1000000 (got 1e+300)"),
    ({"device": "cuda:1\n"}, 'device: expected auto, cpu, mps, cuda, or one GPU as in cuda:1 (got "cuda:1\\n")'),
    ({"a" * 10**6: 1}, f'{"a" * 60}: unknown word "{"a" * 58}… (one of: {WORDS})'),
    ({str(n): 1 for n in range(10**5)}, "expected at most 100 words (got 100002)"),
    ({"bakbone": "x"}, f'bakbone: unknown word "bakbone", did you mean "backbone"? (one of: {WORDS})'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"), WRONG_VALUES, ids=[message[:50] for _, message in WRONG_VALUES]
)
def test_a_wrong_word_or_value(words, message):
    assert problems({**LEAST, **words}) == [message]


FREEZE, TRAIN, UNFREEZE = {"type": "freeze"}, {"type": "train"}, {"type": "unfreeze", "all": True}
TO_CONVERGENCE = "L-BFGS fits to convergence on all rows and takes no {}"
WRONG_COMBINATIONS = [
    ({"steps": [TRAIN], "train": {"epochs": 1}}, ["train: give training words either as keywords or as steps, not both"]),
    ({"steps": [FREEZE]}, ["steps: no train step: the head would never be fitted"]),
    ({"steps": [TRAIN, UNFREEZE]}, ["steps[1]: nothing is trained after it: add a train step, or leave it out"]),
    ({"steps": [{**FREEZE, "first": 1, "blocks": ["a"]}, TRAIN]}, ["steps[0]: freeze takes first or blocks, not both"]),
    ({"steps": [{**FREEZE, "blocks": []}, TRAIN]}, ["steps[0].blocks: names no block"]),
    ({"steps": [{"type": "unfreeze"}, TRAIN]}, ["steps[0]: unfreeze takes one of last, blocks, all"]),
    ({"steps": [{**UNFREEZE, "last": 3}, TRAIN]}, ["steps[0]: unfreeze takes one of last, blocks, all"]),
    ({"steps": [{**UNFREEZE, "all": False}, TRAIN]}, ["steps[0]: unfreeze takes one of last, blocks, all"]),
    ({"steps": [{**TRAIN, "loss": "cross_entropy"}, {**TRAIN, "loss": "mean_squared_error"}]}, ["steps: all train steps must use the same loss"]),
    ({"train": {"momentum": 0.9}}, ["train.momentum: only the optimizer sgd takes momentum"]),
    ({"steps": [{**TRAIN, "optimizer": "adam", "momentum": 0.9}]}, ["steps[0].momentum: only the optimizer sgd takes momentum"]),
    (
        {"train": {"optimizer": "lbfgs", "epochs": 1, "learning_rate": 1, "batch_size": 1, "schedule": "cosine", "warmup": 0, "early_stopping": 0, "weight_decay": 0}},
        [f"train.{word}: {TO_CONVERGENCE.format(word)}" for word in ("epochs", "learning_rate")]
        + ["train.weight_decay: L-BFGS chooses the strength of its regularisation by cross-validation and takes no weight_decay"]
        + [f"train.{word}: {TO_CONVERGENCE.format(word)}" for word in ("batch_size", "schedule", "warmup", "early_stopping")],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "messages"), WRONG_COMBINATIONS, ids=[m[0][:50] for _, m in WRONG_COMBINATIONS]
)
def test_words_that_do_not_go_together(words, messages):
    assert problems({**LEAST, **words}) == messages


def test_training_words_beside_freezing_alone_are_the_step_after_it():
    recipe = parse_recipe({**LEAST, "steps": [FREEZE, UNFREEZE], "train": {"epochs": 3}})
    assert recipe == parse_recipe({**LEAST, "steps": [FREEZE, UNFREEZE, {**TRAIN, "epochs": 3}]})


def test_every_problem_is_told_at_once():
    assert problems({"steps": [{"type": "train", "epochs": 0}], "seed": "x"}) == [
        "steps[0].epochs: expected a whole number of at least 1 and at most 100000 (got 0)",
        'seed: expected a whole number of at least 0 and below 4294967296 (got "x")',
        'data: is missing. Fix: data: "photos/" (a folder per label), "table.csv", or rows { input:, label: }',
        'backbone: is missing. Fix: backbone: "mobilenet_v2" (images),'
        ' "hf/sentence-transformers/all-MiniLM-L6-v2" (texts) or "sklearn:ColumnTransformer" (tables)',
    ]


@pytest.mark.parametrize(
    ("words", "shown"), [(3, "3"), (None, "nothing"), ([1], "[1]"), ("photos", '"photos"')]
)
def test_what_is_no_recipe_at_all(words, shown):
    assert problems(words) == [f"expected the words of a recipe (got {shown})"]


def random_value(rng, depth=0):
    """Anything plain, with words of the vocabulary in it so that the parser's inner parts are reached."""
    words = [*WORDS.split(", "), *TRAIN_WORDS.split(", "), "type", "path", "stream", "first", "blocks", "all"]
    names = [
        "linear",
        "mlp",
        "freeze",
        "train",
        "unfreeze",
        "flip",
        "lbfgs",
        "path",
        "splits",
        "balanced",
        "",
    ]
    leaves = [
        None,
        True,
        0,
        -1,
        3,
        10**400,
        0.5,
        float("nan"),
        float("inf"),
        b"\xff",
        np.float32(1),
        object(),
    ]
    kind = rng.random()
    if depth > 3 or kind < 0.3:
        return rng.choice(leaves)
    if kind < 0.5:
        return rng.choice(names)
    if kind < 0.65:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    keys = [rng.choice([*words, *words, 3, None, ("a",)]) for _ in range(rng.randrange(5))]
    return {
        key: rng.choice(names) if key == "type" and rng.random() < 0.8 else random_value(rng, depth + 1)
        for key in keys
    }


def outcome(words):
    try:
        return parse_recipe(words)
    except RecipeError as error:
        return error


def test_whatever_comes_is_a_recipe_or_a_recipe_error():
    rng = random.Random(0)
    some = [
        {word: random_value(rng) for word in rng.sample(WORDS.split(", "), rng.randrange(4))}
        for _ in range(1500)
    ]
    outcomes = [outcome({**LEAST, **words}) for words in some] + [
        outcome(random_value(rng)) for _ in range(200)
    ]
    errors = [out for out in outcomes if isinstance(out, RecipeError)]
    assert 50 < len(errors) < len(outcomes) - 50
    assert all(error.problems and "`" not in str(error) for error in errors)
    assert json.dumps([error.details for error in errors])


def test_reading_a_recipe_needs_no_torch():
    code = "import sys, transfer_core.recipe.parser; print('torch' in sys.modules or 'numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout == "False\n"
