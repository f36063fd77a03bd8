"""What the Python caller may write, and what becomes of it."""

from pathlib import Path

import pytest

import transfer_core
from transfer_core.data.row_streams import name_streams
from transfer_core.pipeline import five_steps
from transfer_core.runtime.errors import ConfigurationError, RecipeError
from transfer_core.runtime.paths import home
from transfer_core.runtime.progress import Progress

ROWS = [{"input": "a.jpg", "label": "cat"}]


@pytest.mark.parametrize(
    ("data", "source", "streams"),
    [
        ("photos/", "photos/", {}),
        (Path("photos"), "photos", {}),
        (ROWS, {"stream": "data"}, {"data": ROWS}),
        (tuple(ROWS), {"stream": "data"}, {"data": tuple(ROWS)}),
        (
            {"train": Path("a"), "test": ROWS},
            {"train": "a", "test": {"stream": "test"}},
            {"test": ROWS},
        ),
        ({"stream": "s1"}, {"stream": "s1"}, {}),
        ({"train": {"stream": "s1"}, "valid": None}, {"train": {"stream": "s1"}, "valid": None}, {}),
        (5, 5, {}),
        (b"photos", b"photos", {}),
    ],
)
def test_data(data, source, streams):
    assert name_streams(data) == (source, streams)


def test_a_generator_is_handed_on_untouched():
    rows = iter(ROWS)
    assert name_streams(rows)[1]["data"] is rows
    assert next(rows) == ROWS[0]


@pytest.fixture
def recipe_of(monkeypatch):
    """The recipe that `train` would run; nothing is trained."""
    ran = []
    monkeypatch.setattr(five_steps, "run", lambda *given: ran.append(given))

    def recipe_of(**words):
        transfer_core.train(**{"backbone": "mobilenet_v2", "data": "photos", **words})
        return ran[-1][0]

    recipe_of.ran = ran
    return recipe_of


def test_words_of_a_train_step_may_stand_alone(recipe_of):
    recipe = recipe_of(epochs=3, optimizer="adam", preset="balanced", augment=["flip"], seed=4)
    assert (recipe.train.epochs, recipe.train.optimizer) == (3, "adam")
    assert (recipe.preset, recipe.seed, len(recipe.augment)) == ("balanced", 4, 1)


def test_words_of_a_train_step_may_stand_together(recipe_of):
    assert recipe_of(train={"epochs": 3}).train.epochs == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"epoks": 3}, 'epoks: unknown word, did you mean "epochs"?'),
        ({"presett": "best"}, 'presett: unknown word, did you mean "preset"?'),
        ({"zzz": 1, "epoks": 3}, 'zzz: unknown word; epoks: unknown word, did you mean "epochs"?'),
        (
            {"train": {"epochs": 2}, "seed": 1, "momentum": 0.5},
            "train: give training words either in train or beside it, not both (beside it: momentum)",
        ),
    ],
)
def test_wrong_words(words, message):
    with pytest.raises(RecipeError) as error:
        transfer_core.train(backbone="mobilenet_v2", data="photos", **words)
    assert str(error.value) == message


@pytest.mark.parametrize("data", [5, None, b"photos", {"trian": "photos"}])
def test_data_that_is_none(data):
    with pytest.raises(RecipeError, match=r"^data"):
        transfer_core.train(backbone="mobilenet_v2", data=data)


def test_callbacks(recipe_of):
    told = []
    recipe_of(on_event=told.append, cancelled=lambda: True)
    _, streams, progress = recipe_of.ran[-1]
    progress.emit({"event": "warning"})
    assert told == [{"event": "warning"}]
    assert progress.cancelled()
    assert streams == {}
    recipe_of()
    assert recipe_of.ran[-1][2] == Progress()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"on_event": 5}, "on_event: expected something that can be called (got 5)"),
        ({"cancelled": True}, "cancelled: expected something that can be called (got true)"),
    ],
)
def test_callbacks_that_can_not_be_called(recipe_of, words, message):
    with pytest.raises(RecipeError) as error:
        recipe_of(**words)
    assert str(error.value) == message
    assert not recipe_of.ran


@pytest.mark.parametrize("run", [5, None, ["a"]])
def test_resume_what_is_no_id(run):
    with pytest.raises(RecipeError, match=r"^run: expected the id of a run \(got "):
        transfer_core.resume(run)


@pytest.mark.parametrize("variable", ["TRANSFER_HOME", "XDG_DATA_HOME"])
def test_the_home_of_nobody(monkeypatch, variable):
    monkeypatch.delenv("TRANSFER_HOME", raising=False)
    monkeypatch.setenv(variable, "~nosuchuser/x")
    with pytest.raises(ConfigurationError) as error:
        home()
    assert str(error.value) == (
        "can't tell whose home folder ~nosuchuser/x means: set TRANSFER_HOME to the full path of a folder"
    )


def test_the_package_gives_a_few_names():
    functions = [
        "audit",
        "check",
        "compare_domains",
        "draw",
        "estimate",
        "learning_curve",
        "load",
        "map_labels",
        "rank",
        "resumable",
        "resume",
        "soup",
        "train",
    ]
    assert transfer_core.__all__ == ["Model", "__version__", *functions]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = transfer_core.nothing
