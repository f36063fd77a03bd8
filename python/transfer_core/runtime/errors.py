"""Errors raised to users, one class per kind of remedy.

The class name crosses the bridge: Ruby raises `Transfer::<the same name>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from transfer_core.runtime.installation import install_command

# Characters of a message, whatever data it quotes.
LONGEST_MESSAGE = 8 * 1024


def shortened(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """`text` without its middle if it has more than `longest` characters.

    >>> shortened("abcdefghij", 4)
    'ab… (6 more characters) …ij'
    """
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}… ({len(text) - 2 * half} more characters) …{text[-half:]}"


class TransferError(Exception):
    """Base of all errors that transfer_core raises on purpose; a message has bounded length."""

    def __init__(self, message: str = "") -> None:
        super().__init__(shortened(message))

    @property
    def details(self) -> dict[str, Any]:
        """Plain data that travels with the message, for programs rather than people."""
        return {}


@dataclass(frozen=True)
class Problem:
    """One error in a recipe: its path (`steps[1].epochs`) and message."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class RecipeError(TransferError):
    """Invalid options or values in a recipe; lists every problem found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type[RecipeError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)

    @property
    def details(self) -> dict[str, Any]:
        """The problems as `{path, message}`, so that Ruby can point at the user's line."""
        return {"problems": [{"path": p.path, "message": p.message} for p in self.problems]}


class DataError(TransferError):
    """The data can't be used as it is; the message has the file and the remedy."""

    def __init__(self, message: str, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path

    @property
    def details(self) -> dict[str, Any]:
        """The offending file, where there is one."""
        return {"path": self.path} if self.path else {}


class ConfigurationError(TransferError):
    """The machine or its settings don't support the request (a device, a folder, a variable)."""


class WeightsNotFound(TransferError):
    """No copy of the pretrained weights was found; the message lists the searched locations."""


class ModelFileError(TransferError):
    """A saved model is truncated, altered, from a newer version, or not a model at all."""


class SignatureError(ModelFileError):
    """A saved model is not signed by the demanded key, or a key can't be used."""


class DependencyError(TransferError):
    """An optional package is missing; the message has the command that installs it."""

    def __init__(self, feature: str, package: str, extra: str = "") -> None:
        super().__init__(f"{feature} needs the package {package}. Fix: {install_command(package, extra)}")
        self.package = package


class ProtocolError(TransferError):
    """The other end of the bridge violated the protocol."""


class Cancelled(TransferError):
    """The user stopped the call; `run` is the id of a training that can be resumed."""

    def __init__(self, message: str, run: str | None = None) -> None:
        super().__init__(message)
        self.run = run

    @property
    def details(self) -> dict[str, Any]:
        """The run, where there is one."""
        return {"run": self.run} if self.run else {}


class Overloaded(TransferError):
    """The prediction queue is full; the request can be retried later."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"{limit} requests for predictions are being answered already (serving_queue_limit): ask again "
            "in a moment, ask with more inputs at once, raise the limit, or add a process"
        )
        self.limit = limit

    @property
    def details(self) -> dict[str, Any]:
        """The limit of the queue."""
        return {"limit": self.limit}


class OutOfMemory(TransferError):
    """This machine or its device ran out of memory."""


class TransferWarning(UserWarning):
    """A warning outside of any call that could report it."""


# The search takes quadratic time in the length, and no valid name is this long.
_LONGEST_WORD = 200


def did_you_mean(word: object, known: Sequence[str]) -> str:
    """Suggest the nearest known name as a clause (`, did you mean "adam"?`), or an empty string.

    >>> did_you_mean("mobilnet_v2", ["mobilenet_v2", "resnet18"])
    ', did you mean "mobilenet_v2"?'
    """
    nearest = get_close_matches(str(word)[:_LONGEST_WORD], known, n=1, cutoff=0.6)
    return f', did you mean "{nearest[0]}"?' if nearest else ""
