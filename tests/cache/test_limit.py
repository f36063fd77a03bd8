import sys

import pytest

from transfer_core.cache import cache_limit
from transfer_core.runtime.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("", 10_000_000_000),
        ("2GB", 2_000_000_000),
        ("2gb", 2_000_000_000),
        ("1.5 GiB", 1_610_612_736),
        ("500M", 500_000_000),
        (" 64 KiB ", 65_536),
        ("3TB", 3_000_000_000_000),
        ("123456", 123_456),
        ("0", 0),
        ("none", sys.maxsize),
    ],
)
def test_the_limit(monkeypatch, text, limit):
    monkeypatch.setenv("TRANSFER_CACHE_LIMIT", text)
    assert cache_limit() == limit


@pytest.mark.parametrize("text", ["much", "10 apples", "-1", "GB", "1e9", "10 GBB"])
def test_what_is_no_size(monkeypatch, text):
    monkeypatch.setenv("TRANSFER_CACHE_LIMIT", text)
    with pytest.raises(ConfigurationError) as error:
        cache_limit()
    assert str(error.value) == f'TRANSFER_CACHE_LIMIT is a size such as 10GB or "none", got "{text}"'
