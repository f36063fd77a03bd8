"""Limits on inputs as settings."""

import pytest
import sklearn.linear_model  # noqa: F401, its threads leave variables behind when they are first imported

import transfer_core
from transfer_core.runtime.errors import ConfigurationError, DataError, TransferError, shortened
from transfer_core.runtime.limits import DEFAULTS, limit


def test_each_has_a_default_and_a_variable(monkeypatch):
    for name, default in DEFAULTS.items():
        assert limit(name) == default
        monkeypatch.setenv(f"TRANSFER_{name.upper()}", " 123 ")
        assert limit(name) == 123


def test_sizes_have_units(monkeypatch):
    monkeypatch.setenv("TRANSFER_MAX_DATA_BYTES", "1.5 GiB")
    assert limit("max_data_bytes") == 1_610_612_736


@pytest.mark.parametrize("said", ["0", "-1", "none", "1e9", "64 MP", "9" * 5000])
def test_a_limit_is_a_number_above_0(monkeypatch, said):
    monkeypatch.setenv("TRANSFER_MAX_PIXELS", said)
    monkeypatch.setenv("TRANSFER_MAX_DATA_BYTES", said)
    with pytest.raises(ConfigurationError, match=r'^TRANSFER_MAX_PIXELS is a whole number above 0, got "'):
        limit("max_pixels")
    with pytest.raises(ConfigurationError, match=r'^TRANSFER_MAX_DATA_BYTES is a size such as 500MB, got "'):
        limit("max_data_bytes")


def test_every_message_has_bounded_length():
    for kind in (TransferError, DataError, ConfigurationError):
        assert str(kind("short")) == "short"
        assert len(str(kind("long" * 10**6))) < 8300


def test_a_text_is_shortened_in_its_middle():
    assert shortened("abcdefgh", 8) == "abcdefgh"
    assert shortened("abcdefghi", 4) == "ab… (5 more characters) …hi"


TEXTS = [{"input": f"{'good' if i % 2 else 'bad'} day {i}", "label": "ab"[i % 2]} for i in range(40)]
ROWS = [{"input": {"size": i, "town": "xy"[i % 2]}, "label": "ab"[i % 2]} for i in range(40)]


@pytest.mark.parametrize(
    ("backbone", "rows", "dear", "said"),
    [
        (
            "sklearn:TfidfVectorizer",
            TEXTS,
            "word " * 10**7,
            "its 50000000 characters are more than",
        ),
        (
            "sklearn:ColumnTransformer",
            ROWS,
            {"size": 1, "town": "x", **{f"c{k}": k for k in range(100_000)}},
            "its 100002 columns are more than max_columns",
        ),
        (
            "sklearn:ColumnTransformer",
            ROWS,
            {"size": 1, "town": "x" * 5_000_000},
            "the 5000000 characters of a cell are more than max_text_length",
        ),
    ],
)
def test_limits_hold_in_training_and_in_use(backbone, rows, dear, said):
    model = transfer_core.train(backbone=backbone, data=rows)
    examples = [*rows, {"input": dear, "label": "a"}]
    for ask in (
        lambda: model.predict(dear),
        lambda: model.predict([rows[0]["input"], dear]),
        lambda: model.embed([dear]),
        lambda: model.evaluate(examples),
        lambda: transfer_core.train(backbone=backbone, data=examples),
    ):
        with pytest.raises(DataError) as raised:
            ask()
        assert said in str(raised.value)
        assert len(str(raised.value)) < 300
