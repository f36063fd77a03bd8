"""How a frozen backbone runs fastest on this machine while its embeddings stay what they are."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from statistics import median

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from transfer_core.features.inference import INFERENCE_VERSION, Inference, Plan, Variants
from transfer_core.features.pixels import normalize, to_batch
from transfer_core.features.probe import probe_photos
from transfer_core.runtime.devices import fast_dtype
from transfer_core.runtime.measurements import remembered

# The cosine between an embedding and the one of the published network in float32. Of a thousand pictures some
# are rounded worse than the worst of a few: on the probe half of the error may be made that 0.999 allows.
AGREEMENT = 0.9995

# Where the processor has fast arithmetic in fewer bits, only a clear loss speaks against it: the noise of the
# measurement must not decide.
CLEARLY_SLOWER, WORTH_DOUBLING = 1.05, 1.03

# Batches to try, from the first on while they pay: activations of few images stay in a core's cache, a GPU
# wants more to do at once.
BATCHES = {"cpu": (4, 8, 16), "cuda": (32, 64, 128, 256), "mps": (16, 32)}

# What is not made of torch's layers is run as it is. So many images suit ONNX Runtime on one core, which is
# slower with more, and TensorFlow on all, which is hardly faster.
FOREIGN_BATCH = 8

# A network this slow shows in one run how fast it is.
SLOW_S = 0.1

# Of so many photos what passes between all blocks is in memory at the same time.
_PROBED_AT_ONCE = 4


def plan_for(variants: Variants, precision: str) -> Plan:
    """The plan for a backbone on its device, measured once per machine and weights."""
    backbone = variants.backbone
    if not backbone.facts.plain:
        return Plan(len(backbone.blocks), "float32", FOREIGN_BATCH, fused=False)
    return remembered_plan(variants, precision, lambda: measured_plan(variants, precision))


def remembered_plan(variants: Variants, precision: str, measure: Callable[[], Plan]) -> Plan:
    """What `measure` has found for this backbone on this machine."""
    device, backbone = variants.device, variants.backbone
    place = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    key = f"plan: {backbone.identity}, {precision} on {place}, version {INFERENCE_VERSION}"
    return Plan(**remembered(key, lambda: asdict(measure())))


@torch.no_grad()
def measured_plan(variants: Variants, precision: str) -> Plan:
    """The fastest plan, by a short timing, whose embeddings of a probe agree with the published network's.

    Any `precision` but `auto` is the user's own choice.
    """
    probes = _probes(variants)
    plan = agreeing_plan(variants, precision, probes)
    return _with_batch_that_pays(variants, plan, probes[0]) if plan.fused else plan


@torch.no_grad()
def agreeing_plan(variants: Variants, precision: str, probes: Sequence[Tensor], begin: int = 0) -> Plan:
    """The same for batches of `probes`, without the batch's size; the first `begin` blocks stay exact."""
    blocks = len(variants.backbone.blocks)
    published = Plan(blocks, "float32", BATCHES[variants.device.type][0], fused=False)
    exact = replace(published, fused=True)
    dtype = fast_dtype(variants.device) if precision == "auto" else precision
    if dtype and precision == "auto":
        variants.prepare("float32", dtype)
    network = variants.network(exact)
    if not _agree(network(probes[0]), variants.network(published)(probes[0])):
        return published
    if not dtype or dtype == "float32":
        return exact
    if precision != "auto":
        return replace(exact, exact=begin, dtype=dtype)
    first = begin
    for probe in probes:
        between = list(_between_blocks(network, probe))
        first = _first_inexact_block(variants, dtype, between, first)
    if first == blocks:
        return exact
    return _faster(variants, exact, replace(exact, exact=first, dtype=dtype), probes[0])


def _probes(variants: Variants) -> list[Tensor]:
    preprocessing = variants.backbone.preprocessing
    photos = to_batch(probe_photos(preprocessing.crop_size)).to(variants.device)
    return list(torch.split(normalize(photos, preprocessing, torch.float32), _PROBED_AT_ONCE))


def _between_blocks(network: Inference, photos: Tensor) -> Iterator[Tensor]:
    """What enters each block, and what leaves the last, of a network all of whose blocks are exact."""
    yield photos
    for block in network.exact:
        photos = block(photos)
        yield photos


def _first_inexact_block(variants: Variants, dtype: str, between: list[Tensor], begin: int) -> int:
    """From which block on, or `begin`, rounding to `dtype` keeps the agreement, found by bisection.

    What is rounded early is carried through all that follows, so it is the early blocks that must stay exact.
    """
    blocks, pool = variants.blocks(dtype), variants.pool
    expected = pool(between[-1])

    def agrees(first: int) -> bool:
        if first == len(blocks):
            return True
        x = between[first].to(getattr(torch, dtype))
        for block in blocks[first:]:
            x = block(x)
        return _agree(pool(x.float()), expected)

    return begin if agrees(begin) else bisect_left(range(len(blocks)), True, lo=begin + 1, key=agrees)


def _agree(embeddings: Tensor, expected: Tensor) -> bool:
    found, right = embeddings.flatten(1).double(), expected.flatten(1).double()
    # Without a least length: random weights give tiny numbers. None at all is not agreement.
    cosine = cosine_similarity(found, right, eps=1e-100)
    return bool(((cosine >= AGREEMENT) | (found == right).all(dim=1)).all())


def _faster(variants: Variants, exact: Plan, rounded: Plan, photos: Tensor) -> Plan:
    """`rounded`, unless it is slower. Both are run in turn: what else the machine does slows both down."""
    networks = variants.network(exact), variants.network(rounded)
    ratios: list[float] = []
    while len(ratios) < 3:
        exactly, roundedly = (_seconds(network, photos) for network in networks)
        ratios.append(roundedly / exactly)
        if exactly > SLOW_S:
            break
    return exact if median(ratios) > CLEARLY_SLOWER else rounded


def _with_batch_that_pays(variants: Variants, plan: Plan, photos: Tensor) -> Plan:
    network = variants.network(plan)
    best, least = plan.batch, math.inf
    for size in BATCHES[variants.device.type]:
        try:
            seconds = _seconds_per_photo(network, photos, size)
        except torch.cuda.OutOfMemoryError:
            break
        if least < WORTH_DOUBLING * seconds:
            break
        best, least = size, seconds
        if seconds * size > SLOW_S:
            break
    return replace(plan, batch=best, seconds=0.0 if math.isinf(least) else least)


def _seconds_per_photo(network: Inference, photos: Tensor, size: int) -> float:
    batch = photos.repeat(-(-size // len(photos)), 1, 1, 1)[:size].contiguous(
        memory_format=torch.channels_last
    )
    return min(_seconds(network, batch) for _ in range(2)) / size


def _seconds(network: Inference, batch: Tensor) -> float:
    """On a CPU of this thread's own work: what other programs take doesn't count."""
    if batch.device.type == "cpu":
        start = time.thread_time()
        network(batch)
        return time.thread_time() - start
    start = time.perf_counter()
    network(batch).sum().item()
    return time.perf_counter() - start
