"""Read class folders: `photos/cat/1.jpg`, or `photos/train/cat/1.jpg` with a split."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Iterable, Iterator

from transfer_core.data.bad_input import counted, escaped, explain, printable
from transfer_core.data.example import PART_NAMES, Example, Found, Part
from transfer_core.data.formats import has_image_extension
from transfer_core.runtime.errors import DataError

# Copies of the folder tree, without images, that archives from macOS and Synology drives leave behind.
_NOT_CLASSES = ("__MACOSX", "@eaDir")
_MANIFESTS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
# Errors of `is_dir` for a link that leads to itself, or through a file.
_LEADS_NOWHERE = (errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG)


def read_folder(root: str) -> Found:
    """List the images of a class folder, sorted by class and path.

    The folder right below `root` (or below its train, valid and test folders) is the label; folders
    inside a class count as that class. Hidden files and files without an image extension are ignored.

    Raises
    ------
    DataError
        No images, an image outside the class folders, an ambiguous layout, or a folder that can't be listed.
    """
    try:
        return _read(root)
    except OSError as error:
        place = error.filename or root
        raise DataError(f"{_shown(place)} can't be listed: {explain(error)}", escaped(place)) from error


def read_images(root: str) -> Found:
    """List all images below a folder without labels, sorted by path; raises `DataError` as `read_folder`."""
    try:
        found = [Example(path, None, None, path) for path in sorted(images_below(root))]
    except OSError as error:
        place = error.filename or root
        raise DataError(f"{_shown(place)} can't be listed: {explain(error)}", escaped(place)) from error
    if not found:
        raise DataError(f"{_shown(root)} holds no images{_entries(root)}", escaped(root))
    return Found(found)


def holds_images_alone(root: str) -> bool:
    """Whether a folder holds images and no folders, so that they have no labels."""
    folders, images = _list(root)
    return bool(images) and not folders


def _read(root: str) -> Found:
    folders, images = _list(root)
    parts = _parts(root, folders)
    if parts:
        return _merge(_read_classes(os.path.join(root, name), part) for name, part in parts.items())
    found = _read_classes(root, None)
    if not found.examples and not images:
        raise DataError(f"{_shown(root)} holds no images{_entries(root)}; {_expected(root)}", escaped(root))
    return found


def _parts(root: str, folders: list[str]) -> dict[str, Part]:
    """Map the folders that are split parts; empty if `root` contains classes.

    `train` may also be a class. It is a split part if it contains class folders, or if all folders beside it
    are named like parts; then all of them must be parts.
    """
    named = {name: PART_NAMES[name.lower()] for name in folders if name.lower() in PART_NAMES}
    nested = [name for name in named if _holds_class_folders(os.path.join(root, name))]
    if len(named) < len(folders) and "train" not in (named[name] for name in nested):
        return {}
    for name in folders:
        if name not in nested:
            why = "holds no class folders" if name in named else "is neither valid nor test"
            raise DataError(
                f"{_shown(root)} is split into {', '.join(named)}, but {_shown(root)}{printable(name)} {why} "
                f"(move or rename it, or give data: {{train: …, test: …}}){_manifest_hint(root)}",
                escaped(root),
            )
    return named


def _holds_class_folders(folder: str) -> bool:
    folders, images = _list(folder)
    return bool(folders) and not images


def _read_classes(root: str, part: Part | None) -> Found:
    folders, images = _list(root)
    if images:
        raise DataError(_outside(root, folders, images), escaped(os.path.join(root, images[0])))
    examples: list[Example] = []
    empty = []
    for folder in folders:
        label = unicodedata.normalize("NFC", folder)
        paths = sorted(images_below(os.path.join(root, folder)))
        examples += (Example(path, label, part, path) for path in paths)
        if not paths:
            empty.append(os.path.join(root, folder))
    return Found(examples, tuple(empty) if part in (None, "train") else ())


def _merge(parts: Iterable[Found]) -> Found:
    found = list(parts)
    return Found(
        [example for one in found for example in one.examples],
        tuple(folder for one in found for folder in one.empty),
    )


def images_below(folder: str) -> Iterator[str]:
    """List images recursively, in an order that depends on names alone; each real folder once, so that
    symbolic links can't loop.

    Links to the parent of `folder` aren't followed: it contains the other classes.
    """
    seen = {_identity(os.path.dirname(os.path.abspath(folder)))}
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        if _identity(current) in seen:
            continue
        seen.add(_identity(current))
        folders, images = _list(current)
        yield from (os.path.join(current, name) for name in images)
        waiting += (os.path.join(current, name) for name in reversed(folders))


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _list(folder: str) -> tuple[list[str], list[str]]:
    """The names of the visible folders and of the images in `folder`, sorted."""
    folders, images = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name in _NOT_CLASSES:
                continue
            if _is_folder(entry):
                folders.append(entry.name)
            elif has_image_extension(entry.name):
                images.append(entry.name)
    return sorted(folders), sorted(images)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        # A broken link with an image extension is reported when it is read; others may be classes.
        if has_image_extension(entry.name) or error.errno in _LEADS_NOWHERE:
            return False
        raise


def _outside(root: str, folders: list[str], images: list[str]) -> str:
    first = printable(images[0])
    if folders:
        beside = f"{_shown(root)}{first} lies beside the class folders and has no label"
        return f"{beside}: move it into one of them, or remove it"
    alone = f"{_shown(root)} holds {counted(len(images))} and no class folders"
    return f"{alone}{_manifest_hint(root)}; {_expected(root)}"


def _entries(root: str) -> str:
    """The entries found instead of images, as a clause."""
    names = sorted(os.listdir(root))
    if not names:
        return ", it is empty"
    shown = ", ".join(printable(name) for name in names[:5])
    return f" (found: {shown}{', …' if len(names) > 5 else ''}){_manifest_hint(root)}"


def _manifest_hint(root: str) -> str:
    manifests = sorted(name for name in os.listdir(root) if name.lower().endswith(_MANIFESTS))
    return f', did you mean "{printable(os.path.join(root, manifests[0]))}"?' if manifests else ""


def _expected(root: str) -> str:
    return f"expected a folder per class, {_shown(root)}<label>/<image>"


def _shown(folder: str) -> str:
    return printable(os.path.join(folder, ""))
