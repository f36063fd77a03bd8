"""What a recipe becomes when nobody says more, and when somebody does."""

import itertools

import pytest
from msgspec.structs import asdict, replace

from transfer_core import backbones
from transfer_core.plan.phases import phases
from transfer_core.plan.plan import complete
from transfer_core.recipe.augmentations import Crop
from transfer_core.recipe.heads import LinearHead, MlpHead
from transfer_core.recipe.parser import parse_recipe
from transfer_core.recipe.schema import PathSource, Recipe, to_plain
from transfer_core.recipe.steps import Freeze, Train, Unfreeze
from transfer_core.runtime.errors import RecipeError

BLOCKS = tuple(f"block{i}" for i in range(8))


def facts(blocks):
    return replace(backbones.facts("mobilenet_v2"), name="tiny", blocks=blocks)


def recipe(**words):
    return Recipe(data=PathSource("photos"), backbone="tiny", **words)


def completed(**words):
    return complete(recipe(**words), facts(BLOCKS))


def trained(**words):
    """The completed train steps, each with how many of the last blocks train in it."""
    found = []
    for phase in phases(completed(**words), BLOCKS):
        assert phase.trainable == BLOCKS[len(BLOCKS) - len(phase.trainable) :]
        found.append((phase.train, len(phase.trainable)))
    return found


def messages(**words):
    with pytest.raises(RecipeError) as caught:
        completed(**words)
    return [str(problem) for problem in caught.value.problems]


LBFGS = Train(optimizer="lbfgs", class_weights="none")
ADAMW = Train(
    optimizer="adamw",
    epochs=5,
    learning_rate=1e-4,
    weight_decay=1e-2,
    batch_size=32,
    schedule="cosine",
    warmup=0.1,
    early_stopping=5,
    class_weights="none",
)


def test_fast_fits_a_linear_head_to_convergence():
    done = completed()
    assert done.steps == (Freeze(), LBFGS)
    assert (done.head, done.augment) == (LinearHead(), ())


def test_balanced_goes_on_with_the_last_quarter():
    done = completed(preset="balanced")
    assert done.steps == (Freeze(), LBFGS, Unfreeze(last=2), replace(ADAMW, early_stopping=3))
    assert (done.head, done.augment) == (LinearHead(), (Crop(min_scale=0.8),))


def test_best_goes_on_with_everything():
    done = completed(preset="best")
    assert done.steps == (Freeze(), LBFGS, Unfreeze(all=True), replace(ADAMW, epochs=15))
    assert done.augment == (Crop(min_scale=0.8),)


def test_balanced_thaws_at_least_one_block():
    small = complete(recipe(preset="balanced"), facts(("a", "b")))
    assert small.steps[2] == Unfreeze(last=1)


@pytest.mark.parametrize("preset", ["fast", "balanced", "best"])
def test_training_words_go_to_the_last_train_step(preset):
    *before, (last, _) = trained(preset=preset, train=Train(epochs=3, learning_rate=0.5))
    assert (last.epochs, last.learning_rate) == (3, 0.5)
    assert last.optimizer == ("adam" if preset == "fast" else "adamw")
    assert [train for train, _ in before] == [LBFGS] * len(before)


@pytest.mark.parametrize("preset", ["fast", "balanced", "best"])
def test_class_weights_go_to_every_train_step(preset):
    weighted = trained(preset=preset, train=Train(class_weights="balanced"))
    assert {train.class_weights for train, _ in weighted} == {"balanced"}
    assert weighted[0][0].optimizer == "lbfgs"


@pytest.mark.parametrize(
    "said",
    [
        {"epochs": 3},
        {"learning_rate": 0.1},
        {"weight_decay": 0.0},
        {"batch_size": 8},
        {"schedule": "constant"},
        {"warmup": 0.0},
        {"early_stopping": 0},
    ],
)
def test_a_head_is_fitted_by_adam_once_a_word_is_said_that_lbfgs_does_not_know(said):
    ((train, _),) = trained(train=Train(**said))
    assert train.optimizer == "adam"
    assert {word: value for word, value in asdict(train).items() if word in said} == said


@pytest.mark.parametrize("head", [MlpHead(), LinearHead(dropout=0.2)])
def test_a_head_that_is_not_convex_is_fitted_by_adam(head):
    ((train, _),) = trained(head=head)
    assert train == Train(
        optimizer="adam",
        epochs=50,
        learning_rate=1e-3,
        weight_decay=1e-4,
        batch_size=32,
        schedule="cosine",
        warmup=0.0,
        early_stopping=10,
        class_weights="none",
    )


@pytest.mark.parametrize(("optimizer", "momentum"), [("adam", None), ("adamw", None), ("sgd", 0.9)])
@pytest.mark.parametrize("preset", ["fast", "balanced", "best"])
def test_nothing_is_left_open_but_the_loss_and_what_does_not_apply(optimizer, momentum, preset):
    last, _ = trained(preset=preset, train=Train(optimizer=optimizer))[-1]
    open_words = {word for word, value in asdict(last).items() if value is None}
    assert open_words == {"loss", "layer_decay", "label_smoothing", "group_weights"} | (
        {"momentum"} if momentum is None else set()
    )
    assert last.momentum == momentum


def test_what_the_user_said_stays():
    said = Train(7, "sgd", 0.3, 0.0, 0.0, 4, None, "constant", 0.0, 0, {"cat": 2.0})
    assert trained(train=said) == [(said, 0)]
    assert trained(steps=(Freeze(), Train(), Unfreeze(all=True), said))[-1] == (said, 8)
    assert completed(augment=(), preset="best").augment == ()


def test_steps_of_ones_own_bring_no_augmentation():
    assert completed(preset="best", steps=(Freeze(), Train())).augment == ()


STEPS = {
    "freeze, train": ((Freeze(), Train()), [0]),
    "train": ((Train(),), [0]),
    "then the last": ((Freeze(), Train(), Unfreeze(last=3), Train()), [0, 3]),
    "then more and more": ((Train(), Unfreeze(last=1), Train(), Unfreeze(last=4), Train()), [0, 1, 4]),
    "then all, then only the head": ((Train(), Unfreeze(all=True), Train(), Freeze(), Train()), [0, 8, 0]),
    "freeze the first": ((Train(), Unfreeze(all=True), Freeze(first=6), Train()), [0, 2]),
    "named blocks": ((Train(), Unfreeze(blocks=("block7", "block6")), Train()), [0, 2]),
    "named blocks frozen": ((Train(), Unfreeze(all=True), Freeze(blocks=BLOCKS[:5]), Train()), [0, 3]),
    "freeze first means the rest trains": ((Freeze(first=5), Train()), [0, 3]),
    "unfrozen from the start": ((Unfreeze(last=2), Train()), [0, 2]),
    "frozen twice": ((Freeze(), Freeze(first=1), Train()), [0]),
}


@pytest.mark.parametrize(("steps", "blocks"), STEPS.values(), ids=STEPS.keys())
def test_what_trains_in_each_step(steps, blocks):
    assert [count for _, count in trained(steps=steps)] == blocks


def test_blocks_are_named_in_the_order_of_the_backbone():
    done = completed(steps=(Train(), Unfreeze(blocks=("block5", "block1")), Train()))
    assert phases(done, BLOCKS)[1].trainable == ("block1", "block5")


def test_a_head_is_fitted_before_the_backbone_may_change():
    said = replace(ADAMW, class_weights="balanced")
    done = completed(steps=(Freeze(first=5), said))
    prefit = (Freeze(), replace(LBFGS, class_weights="balanced"), Unfreeze(all=True))
    assert done.steps == (*prefit, Freeze(first=5), said)


def test_a_second_train_step_fine_tunes_even_with_nothing_thawed():
    assert trained(steps=(Train(), Train())) == [(LBFGS, 0), (ADAMW, 0)]


CASES = list(
    itertools.product(
        ["fast", "balanced", "best"],
        [None, MlpHead(), LinearHead(0.1)],
        [{"train": Train(epochs=2)}, {"train": Train(optimizer="sgd")}, {}]
        + [{"steps": steps} for steps, _ in STEPS.values()],
    )
)


@pytest.mark.parametrize(("preset", "head", "words"), CASES)
def test_completing_twice_is_completing_once(preset, head, words):
    once = completed(preset=preset, head=head, **words)
    assert complete(once, facts(BLOCKS)) == once
    assert parse_recipe(to_plain(once)) == once


LBFGS_MESSAGE = (
    "L-BFGS fits a linear head without dropout on a frozen backbone, in the first train step; "
    "use adam, adamw or sgd"
)
SAID_LBFGS = Train(optimizer="lbfgs")


def test_lbfgs_may_be_asked_for():
    assert trained(train=SAID_LBFGS) == [(LBFGS, 0)]
    assert trained(steps=(SAID_LBFGS, Unfreeze(last=1), Train())) == [(LBFGS, 0), (ADAMW, 1)]


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ({"train": SAID_LBFGS, "head": MlpHead()}, "train.optimizer"),
        ({"train": SAID_LBFGS, "head": LinearHead(0.5)}, "train.optimizer"),
        ({"train": SAID_LBFGS, "preset": "balanced"}, "train.optimizer"),
        ({"steps": (Freeze(), SAID_LBFGS), "head": MlpHead()}, "steps[1].optimizer"),
        ({"steps": (Freeze(), Train(), Unfreeze(last=1), SAID_LBFGS)}, "steps[3].optimizer"),
        ({"steps": (Unfreeze(all=True), SAID_LBFGS)}, "steps[1].optimizer"),
        ({"steps": (Train(), SAID_LBFGS)}, "steps[1].optimizer"),
    ],
)
def test_lbfgs_is_refused_where_the_problem_is_not_convex(words, path):
    assert messages(**words) == [f"{path}: {LBFGS_MESSAGE}"]


def test_blocks_that_the_backbone_lacks():
    steps = (Freeze(first=9), Train(), Unfreeze(last=10), Unfreeze(blocks=("blok3", "stem")), Train())
    assert messages(steps=steps) == [
        "steps[0].first: tiny has only 8 blocks (got 9)",
        "steps[2].last: tiny has only 8 blocks (got 10)",
        'steps[3].blocks: unknown block "blok3", did you mean "block3"? (tiny has 8 blocks, block0 … block7)',
        'steps[3].blocks: unknown block "stem" (tiny has 8 blocks, block0 … block7)',
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            {"task": "clasification"},
            'task: unknown task "clasification", did you mean "classification"? '
            "(one of: auto, classification, detection, multi_label, regression, text_to_text, translation)",
        ),
        (
            {"steps": (Freeze(), Train(loss="cross_entropi"))},
            'steps[1].loss: unknown loss "cross_entropi", did you mean "cross_entropy"? '
            "(one of: binary_cross_entropy, contrastive, cross_entropy, detection, mean_squared_error, "
            "token_cross_entropy)",
        ),
        (
            {"train": Train(loss="hinge")},
            'train.loss: unknown loss "hinge" '
            "(one of: binary_cross_entropy, contrastive, cross_entropy, detection, mean_squared_error, "
            "token_cross_entropy)",
        ),
    ],
)
def test_names_of_tasks_and_losses(words, message):
    with pytest.raises(RecipeError) as caught:
        completed(**words)
    assert [str(problem) for problem in caught.value.problems] == [message]
