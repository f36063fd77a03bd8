"""torchvision's classification and detection models as a source of backbones."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from transfer_core.backbones.catalogue_entry import BOX_AP, TOP1, Entry
from transfer_core.backbones.places import has_copy
from transfer_core.backbones.registry import Source, register
from transfer_core.backbones.torchvision.torchvision_published import (
    PREFIX,
    all_facts,
    detector_facts,
    published_facts,
)


def _entries() -> Iterator[Entry]:
    for facts in (*all_facts(), *detector_facts()):
        for weights in facts.weights:
            assert weights.preprocessing
            detects = weights.box_ap is not None
            yield Entry(
                name=facts.name,
                backbone=facts.name,
                weights=weights.name,
                source="torchvision",
                modality="image",
                trained_for="detection" if detects else "classification",
                family=facts.family,
                parameters=facts.parameters,
                embedding_width=facts.embedding_width,
                input_size=weights.preprocessing.crop_size,
                license=weights.license,
                noncommercial=weights.noncommercial,
                trained_on=weights.trained_on,
                paper=facts.paper,
                arxiv=facts.arxiv,
                code_url=facts.code_url,
                weights_url=weights.url,
                metric=BOX_AP if detects else TOP1,
                metric_value=weights.box_ap if detects else weights.top1,
                metric_source="https://pytorch.org/vision/stable/models.html",
            )


def _is_local(entry: Entry) -> bool:
    return find_spec("torchvision") is not None and has_copy(
        published_facts(entry.backbone).published(entry.weights)
    )


register(
    Source(
        name="torchvision",
        loading="transfer_core.backbones.torchvision.torchvision_loading",
        prefixes=(PREFIX,),
        packages=("torchvision",),
        published=published_facts,
        entries=_entries,
        is_local=_is_local,
        fixed_networks=True,
    )
)
