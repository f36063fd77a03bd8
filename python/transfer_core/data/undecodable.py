"""Find damaged images by decoding all of them at the smallest scale."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from transfer_core.data.bad_input import reason_in
from transfer_core.data.decode import decode_image
from transfer_core.runtime.devices import cores
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress


def undecodable(paths: Sequence[str], progress: Progress) -> dict[int, str]:
    """Map the number of each image that can't be decoded to the reason."""
    pool = ThreadPoolExecutor(cores(), thread_name_prefix="decode")
    try:
        reasons = progress.track(pool.map(_reason, paths), "choose", len(paths), "images")
        return {number: reason for number, reason in enumerate(reasons) if reason}
    finally:
        pool.shutdown(cancel_futures=True)


def _reason(path: str) -> str | None:
    try:
        decode_image(path, at_least=1)
    except DataError as error:
        return reason_in(str(error), path)
    return None
