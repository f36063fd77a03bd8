"""Store names or texts and thumbnails of the training examples whose embeddings a model stores."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from transfer_core.heads.gallery import Gallery, with_inputs
from transfer_core.heads.rehearsal import Rehearsal
from transfer_core.model.report_examples import name_of
from transfer_core.pipeline.artifacts import Frozen
from transfer_core.report.numbers import shortened
from transfer_core.report.thumbnails import SMALL, thumbnail
from transfer_core.runtime.parallel import map_on_cores
from transfer_core.runtime.temp_dir import is_spooled
from transfer_core.tasks.criteria import Array

# Characters of a text or row that are stored.
_LONGEST = 500


def gallery_of(
    stored: Rehearsal,
    frozen: Frozen,
    inputs: Sequence[Any],
    digests: Sequence[str],
    penalty: Array | None = None,
) -> Gallery:
    """Add what is shown of the stored examples, the first of these inputs; not with `keep_examples` false.

    Parameters
    ----------
    stored
        With M examples.
    frozen
        Plan, data and the model whose training continues: its examples have no other inputs than those that
        it stores.
    inputs, digests
        At least M inputs as in a data set, and their digests.
    penalty
        See `Gallery`.
    """
    if not frozen.plan.recipe.keep_examples:
        nothing = len(stored.examples)
        return with_inputs(stored, [""] * nothing, [b""] * nothing, penalty)
    before = _stored_by_digest(frozen)
    rows = list(zip(inputs, digests, strict=True))[: len(stored.examples)]
    shown = list(map_on_cores(partial(_shown, frozen, before), rows))
    return with_inputs(stored, [name for name, _ in shown], [image for _, image in shown], penalty)


def _shown(frozen: Frozen, before: dict[str, tuple[str, bytes]], row: tuple[Any, str]) -> tuple[str, bytes]:
    """Name or text, and thumbnail; empty if there is none."""
    input, digest = row
    if input == digest:  # of the model whose training continues
        return before.get(digest, ("", b""))
    modality = frozen.splits.modality.name
    name = name_of(input, modality, frozen.splits.columns)
    if modality == "image":
        # Images given as bytes have a name for this call alone.
        return "" if is_spooled(input) else name, thumbnail(input, SMALL) or b""
    return shortened(name, _LONGEST), b""


def _stored_by_digest(frozen: Frozen) -> dict[str, tuple[str, bytes]]:
    base = frozen.base.novelty if frozen.base else None
    if not isinstance(base, Gallery):
        return {}
    return {
        digest.tobytes().hex(): (base.input(row) or "", base.thumbnail(row) or b"")
        for row, digest in enumerate(base.digests)
    }
