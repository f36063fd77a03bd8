"""Write python/transfer_core/backbones/timm/listed.json from the installed timm.

    python scripts/build_timm_facts.py results-imagenet.csv
    python scripts/build_timm_facts.py --check              builds every model again, and compares

The table is timm's own, `results/results-imagenet.csv` in its repository
(github.com/huggingface/pytorch-image-models): accuracy on ImageNet-1K's validation photos, measured by timm's
author for each file of weights. Parameters are counted on models without memory; licences, origins and places
are those of timm's pretrained configurations. Papers are those that the docstring of a model's file names,
each with its title; where it names several, the rules below say which model is from which.
"""

from __future__ import annotations

import argparse
import ast
import csv
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import timm
import torch

from transfer_core.backbones.timm.timm_facts import UNTAGGED, license_of, place_of, trained_on
from transfer_core.backbones.timm.timm_listed import Listed, ListedWeights, TimmList

OUTPUT = Path(__file__).parents[1] / "python/transfer_core/backbones/timm/listed.json"

# timm's file and how a model's name begins, or what is in it (after a *) → arXiv id; the first that fits.
# No rule: the first paper of the file. Empty: none that timm names describes the architecture.
PAPERS = [
    ("beit", "beitv2", "2208.06366"),
    ("byoanet", "*halo", "2103.12731"),
    ("byoanet", "*lambda", "2102.08602"),
    ("byoanet", "*bot", "2101.11605"),
    ("byobnet", "gernet", "2006.14090"),
    ("byobnet", "repvgg", "2101.03697"),
    ("byobnet", "mobileone", "2206.04040"),
    ("byobnet", "regnetz", "2103.06877"),
    ("byobnet", "*_clip", "2103.00020"),
    ("byobnet", "", ""),
    ("convnext", "convnextv2", "2301.00808"),
    ("cspnet", "darknet", "1804.02767"),
    ("deit", "deit3", "2204.07118"),
    ("efficientnet", "*efficientnetv2", "2104.00298"),
    ("efficientnet", "*_cc_", "1904.04971"),
    ("efficientnet", "efficientnet_x", "2102.05610"),
    ("efficientnet", "efficientnet_h", "2102.05610"),
    ("efficientnet", "*mixnet", "1907.09595"),
    ("efficientnet", "*mnasnet", "1807.11626"),
    ("efficientnet", "*edgetpu", "2204.14007"),
    ("efficientnet", "mobilenetv1", "1704.04861"),
    ("efficientnet", "mobilenetv2", "1801.04381"),
    ("efficientnet", "fbnetc", "1812.03443"),
    ("efficientnet", "spnasnet", "1904.02877"),
    ("efficientnet", "tinynet", "2010.14819"),
    ("efficientnet", "", "1905.11946"),
    ("eva", "*clip", "2303.15389"),
    ("eva", "eva02", "2303.11331"),
    ("eva", "eva_", "2211.07636"),
    ("eva", "vit_pe", "2504.13181"),
    ("eva", "*dinov3", "2508.10104"),
    ("eva", "*lingbot", "2607.05247"),
    ("eva", "*rope", "2403.13298"),
    ("fastvit", "fastvit_mci", "2311.17049"),
    ("ghostnet", "ghostnetv2", "2211.12905"),
    ("ghostnet", "ghostnetv3", "2404.11202"),
    ("hgnet", "", ""),
    ("hieradet_sam2", "hieradet", "2306.00989"),
    ("lcnetv2", "", ""),
    ("maxxvit", "coat", "2106.04803"),
    ("metaformer", "poolformer_", "2111.11418"),
    ("metaformer", "", "2210.13452"),
    ("mlp_mixer", "gmlp", "2105.08050"),
    ("mlp_mixer", "resmlp", "2105.03404"),
    ("mobilenetv3", "mobilenetv4", "2404.10518"),
    ("mobilenetv3", "lcnet", "2109.15099"),
    ("mobilenetv3", "fbnetv3", "2006.02049"),
    ("mobilevit", "mobilevitv2", "2206.02680"),
    ("naflexvit", "*siglip", "2502.14786"),
    ("nfnet", "nf_", "2101.08692"),
    ("nfnet", "", "2102.06171"),
    ("regnet", "regnetz", "2103.06877"),
    ("resnet", "wide_", "1605.07146"),
    ("resnet", "resnetrs", "2103.07579"),
    ("resnet", "resnetblur", "1904.11486"),
    ("resnet", "eca", "1910.03151"),
    ("resnet", "se", "1709.01507"),
    ("resnet", "resnext", "1611.05431"),
    ("resnetv2", "", "1603.05027"),
    ("swin_transformer", "swin_s3", "2111.14725"),
    ("vision_transformer", "*tipsv2", "2604.12012"),
    ("vision_transformer", "*reg4_dinov2", "2309.16588"),
    ("vision_transformer", "*dinov2", "2304.07193"),
    ("vision_transformer", "*siglip", "2303.15343"),
    ("vision_transformer", "*clip", "2103.00020"),
    ("vision_transformer", "*36x1", "2203.09795"),
    ("vision_transformer", "*18x2", "2203.09795"),
    ("vision_transformer", "*intern", "2410.16261"),
    ("vision_transformer", "vit_so", "2305.13035"),
    ("vision_transformer", "vit_giga", "2106.04560"),
    ("vision_transformer", "vit_giant", "2106.04560"),
    ("vision_transformer", "aimv2", "2411.14402"),
    ("vision_transformer", "beit3", "2208.10442"),
    ("vision_transformer", "eva", "2211.07636"),
    ("vision_transformer", "flexivit", "2212.08013"),
    ("vision_transformer_hybrid", "*mci", "2311.17049"),
    ("vision_transformer_sam", "", "2304.02643"),
    ("vovnet", "ese_", "1911.06667"),
    ("xception_aligned", "", "1802.02611"),
]


# Top-1 and top-5 by model, size of images and share of them that is cut out.
Accuracy = dict[tuple[str, int, float], tuple[float, float]]


def main() -> None:
    """One model a line, so that a change shows as a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="?", type=Path)
    parser.add_argument("--check", action="store_true")
    said = parser.parse_args()
    if said.check:
        sys.exit(check())
    accuracy = read_accuracy(said.results)
    models = [describe(name, accuracy) for name in names()]
    papers = {
        arxiv: title for model in models for arxiv, title in papers_of(model.name) if _is_used(arxiv, model)
    }
    head = msgspec.json.encode({"version": timm.__version__, "papers": papers}).decode()
    lines = ",\n".join(msgspec.json.encode(model).decode() for model in models)
    OUTPUT.write_text(f'{head[:-1]},"models":[\n{lines}\n]}}\n')
    print(f"{len(models)} models with {sum(len(m.weights) for m in models)} files → {OUTPUT}")


def check() -> int:
    """Build every listed model and compare; the number of differences."""
    text = msgspec.json.decode(OUTPUT.read_bytes(), type=TimmList)
    wrong = [
        listed.name
        for listed in text.models
        if counted(listed.name) != (listed.parameters, listed.embedding_width)
    ]
    print(f"{len(text.models)} models, {len(wrong)} wrong: {wrong}")
    return len(wrong)


def names() -> list[str]:
    """timm's models, but for those that only test timm, those that read for a language model, and those that
    take no square photos."""
    return [
        name
        for name in timm.list_models(exclude_filters=["test_*", "*_enc"])
        if len(set(_configuration(name).input_size[1:])) == 1 and _configuration(name).crop_mode != "border"
    ]


def describe(name: str, accuracy: Accuracy) -> Listed:
    """What is known of one architecture."""
    configurations = timm.models.get_arch_pretrained_cfgs(name)
    parameters, width = counted(name)
    return Listed(
        name=name,
        family=family(name),
        arxiv=paper(name),
        parameters=parameters,
        embedding_width=width,
        weights={
            full.partition(".")[2] or UNTAGGED: describe_weights(full, configuration, accuracy)
            for full, configuration in configurations.items()
            if configuration.has_weights
        },
    )


def describe_weights(full: str, configuration: Any, accuracy: Accuracy) -> ListedWeights:
    """What is known of one file."""
    _, url, hub = place_of(configuration)
    measured = (full, configuration.input_size[-1], round(configuration.crop_pct, 3))
    top1, top5 = accuracy.get(measured, (None, None))
    ids = configuration.paper_ids or ""
    first = ids if isinstance(ids, str) else ids[0]
    return ListedWeights(
        license=license_of(configuration),
        trained_on=trained_on(full.partition(".")[2]),
        top1=top1,
        top5=top5,
        classes=configuration.num_classes,
        image_size=configuration.input_size[-1],
        paper=re.sub(r"^arXiv:|v\d+$", "", first),
        hub="timm/" if hub == f"timm/{full}" else hub,
        url=url,
        origin=configuration.origin_url or "",
    )


def counted(name: str) -> tuple[int, int]:
    """Parameters with the classifier, and the width of what the classifier is given."""
    with torch.device("meta"):
        model = timm.create_model(name)
    return sum(parameter.numel() for parameter in model.parameters()), model.head_hidden_size


def read_accuracy(path: Path) -> Accuracy:
    """The lines of timm's table."""
    with path.open() as file:
        return {
            (row["model"], int(row["img_size"]), float(row["crop_pct"])): (
                float(row["top1"]),
                float(row["top5"]),
            )
            for row in csv.DictReader(file)
        }


def family(name: str) -> str:
    """The name of timm's file."""
    return timm.model_entrypoint(name).__module__.rpartition(".")[2]


def paper(name: str) -> str:
    """The arXiv id of the paper that describes an architecture; empty if timm names none."""
    for file, beginning, arxiv in PAPERS:
        if file == family(name) and (
            beginning[1:] in name if beginning[:1] == "*" else name.startswith(beginning)
        ):
            return arxiv
    return next((arxiv for arxiv, _ in papers_of(name)), "")


def papers_of(name: str) -> Iterator[tuple[str, str]]:
    """The arXiv ids and titles in the docstring of a model's file."""
    source = inspect.getsource(sys.modules[timm.model_entrypoint(name).__module__])
    text = ast.get_docstring(ast.parse(source)) or ""
    for title, arxiv in re.findall(r"`([^`]+)`\s*-\s*https://arxiv\.org/abs/(\d{4}\.\d{4,5})", text):
        yield arxiv, title


def _is_used(arxiv: str, model: Listed) -> bool:
    return arxiv == model.arxiv or any(weights.paper == arxiv for weights in model.weights.values())


def _configuration(name: str) -> Any:
    return timm.models.get_pretrained_cfg(name)


if __name__ == "__main__":
    main()
