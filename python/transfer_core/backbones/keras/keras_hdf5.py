"""Refuse HDF5 files that refer to other files for their data."""

from __future__ import annotations

import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from transfer_core.runtime.errors import ModelFileError


def check_self_contained(path: Path) -> None:
    """Check a file of weights, or those in a `.keras` file.

    Raises
    ------
    ModelFileError
        If it is damaged, or refers to another file.
    """
    import h5py

    try:
        with ExitStack() as opened:
            files: list[Any] = [path]
            if zipfile.is_zipfile(path):
                archive = opened.enter_context(zipfile.ZipFile(path))
                names = [name for name in archive.namelist() if name.endswith((".h5", ".hdf5"))]
                files = [opened.enter_context(archive.open(name)) for name in names]
            inside = all(_is_inside(opened.enter_context(h5py.File(file, "r"))) for file in files)
    except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise ModelFileError(f"{path} can't be read: {error}") from error
    if not inside:
        raise ModelFileError(f"{path} is refused: it refers to other files")


def _is_inside(file: Any) -> bool:
    import h5py

    left, seen = [file["/"]], set()
    while left:
        group = left.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                return False
            if isinstance(link, h5py.SoftLink):  # within the file
                continue
            item = group[name]
            if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
                return False
            place = h5py.h5o.get_info(item.id).addr
            if isinstance(item, h5py.Group) and place not in seen:
                seen.add(place)
                left.append(item)
    return True
