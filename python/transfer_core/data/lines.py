"""Iterate over the lines of a text file with a limit on record length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from transfer_core.data.bad_input import printable
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.limits import excess, limit


class Lines(Iterator[str]):
    """Lines of `file`, at most `max_line_length` characters per record.

    A CSV record may span several lines: the reader resets `length` to 0 after each record.
    """

    def __init__(self, file: TextIO, path: str) -> None:
        self.number = 0
        self.length = 0
        self._file, self._path, self._most = file, path, limit("max_line_length")

    def __next__(self) -> str:
        line = self._file.readline(self._most - self.length + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self.length += len(line)
        if self.length > self._most:
            problem = excess("max_line_length", self.length, f"its first {self.length} characters")
            raise DataError(f"{printable(self._path)} line {self.number}: {problem}", self._path)
        return line
