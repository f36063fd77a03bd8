"""Limits on inputs as settings."""

import pytest

from transfer_core.errors import ConfigurationError, DataError, TransferError, shortened
from transfer_core.limits import DEFAULTS, limit


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
