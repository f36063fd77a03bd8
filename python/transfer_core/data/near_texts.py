"""Near-duplicate texts: equal up to case, punctuation, links, mentions and a few words.

MinHash (Broder, On the Resemblance and Containment of Documents, 1997) of 5-character shingles with banded
locality-sensitive hashing (Leskovec, Rajaraman & Ullman, Mining of Massive Datasets, chapter 3): linear time.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_core.data.groups import Edge

Hashes: TypeAlias = npt.NDArray[np.uint64]

_ADDRESSED = re.compile(r"https?://\S+|www\.\S+|@\w+")
_BETWEEN_WORDS = re.compile(r"[\W_]+")
_RUN = 5
_MOST_CHARACTERS = 10_000
_FEWEST_RUNS = 16  # shorter texts must be equal: one word is a large part of them
_BANDS, _ROWS = 16, 4
_SIMILARITY = 0.75
_CHARACTERS_AT_ONCE = 1 << 20


def near_texts(texts: Sequence[Any], check: Callable[[], None]) -> list[Edge]:
    """Pairs that connect all near-duplicates of N texts or text pairs; `check` raises on cancellation."""
    first: dict[str, int] = {}
    edges = []
    for row, text in enumerate(texts):
        name = normalized(text)
        if name and first.setdefault(name, row) != row:
            edges.append(Edge(first[name], row, 0.0))
    long = {name: row for name, row in first.items() if len(name) >= _RUN + _FEWEST_RUNS}
    if len(long) < 2:
        return edges
    check()
    rows = np.array(list(long.values()))
    signatures = np.concatenate(list(_signatures(list(long), check)))
    one, other = _in_one_bucket(signatures)
    similarity = np.empty(len(one))
    for start in range(0, len(one), 1 << 16):
        chunk = slice(start, start + (1 << 16))
        similarity[chunk] = (signatures[one[chunk]] == signatures[other[chunk]]).mean(axis=1)
    near = similarity >= _SIMILARITY
    distances = (1 - similarity[near]) / (1 - _SIMILARITY)
    pairs = zip(rows[one[near]].tolist(), rows[other[near]].tolist(), distances.tolist(), strict=True)
    return edges + [Edge(*pair) for pair in pairs]


def normalized(text: Any) -> str:
    """Normalize a text: lower case, no links and mentions, single spaces between words.

    >>> normalized("RT @anna: What a DAY!! https://t.co/x")
    'rt what a day'
    """
    joined = text if isinstance(text, str) else "\n".join(text)
    plain = unicodedata.normalize("NFKC", joined[:_MOST_CHARACTERS]).casefold()
    return _BETWEEN_WORDS.sub(" ", _ADDRESSED.sub(" ", plain)).strip()


def _signatures(names: Sequence[str], check: Callable[[], None]) -> Iterator[Hashes]:
    """MinHash signatures (n, permutations), n texts at a time."""
    ends = np.cumsum([len(name) for name in names])
    start = 0
    while start < len(names):
        check()
        limit = ends[start] + _CHARACTERS_AT_ONCE
        stop = max(start + 1, int(np.searchsorted(ends, limit)))
        yield _minima(names[start:stop])
        start = stop


def _minima(names: Sequence[str]) -> Hashes:
    lengths = np.array([len(name) for name in names])
    characters = np.frombuffer("".join(names).encode("utf-32-le"), np.uint32).astype(np.uint64)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    runs = np.zeros(len(characters) - _RUN + 1, np.uint64)
    for place in range(_RUN):
        runs = runs * np.uint64(0x100000001B3) + characters[place : len(characters) - _RUN + 1 + place]
    within = np.ones(len(runs), bool)
    for end in range(1, _RUN):  # runs that begin in one text and end in the next
        within[(starts[1:] - end)[starts[1:] - end < len(runs)]] = False
    runs = _mixed(runs[within])
    first = np.concatenate([[0], np.cumsum(lengths - _RUN + 1)[:-1]])
    return np.stack([np.minimum.reduceat(runs * a + b, first) for a, b in _PERMUTATIONS], axis=1)


def _in_one_bucket(signatures: Hashes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Candidate pairs with an equal band: each text with the first of its bucket."""
    pairs = []
    for band in range(_BANDS):
        values = np.ascontiguousarray(signatures[:, band * _ROWS : (band + 1) * _ROWS])
        keys = values.view(np.dtype((np.void, values.itemsize * _ROWS))).ravel()
        _, first, bucket = np.unique(keys, return_index=True, return_inverse=True)
        leaders = first[bucket]
        followers = np.flatnonzero(leaders != np.arange(len(leaders)))
        pairs.append(np.stack([leaders[followers], followers]))
    found = np.unique(np.concatenate(pairs, axis=1), axis=1)
    return found[0], found[1]


def _mixed(values: Hashes) -> Hashes:
    """Mix the bits of each value (the finalizer of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


_PERMUTATIONS = [
    (np.uint64(a | 1), np.uint64(b))
    for a, b in np.random.default_rng(0).integers(1 << 63, size=(_BANDS * _ROWS, 2), dtype=np.uint64).tolist()
]
