"""Special tokens around sources and targets, also read from untrusted saved models; no torch here."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from transfer_core.backbones.encoder_decoder.sequence_shape import Token
from transfer_core.recipe.schema import Languages
from transfer_core.runtime.errors import Problem, RecipeError, did_you_mean

# A token, or the token of a language of the recipe.
Place: TypeAlias = Token | Literal["source", "target"]
Places: TypeAlias = Annotated[tuple[Place, ...], Meta(max_length=8)]
Code: TypeAlias = Annotated[str, Meta(max_length=100)]
Words: TypeAlias = Annotated[str, Meta(max_length=1000)]


class TokenLayout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tokens around a source and a target.

    Parameters
    ----------
    source_before, source_after, target_before, target_after
        Tokens before and after a source and a target.
    start
        The first input of the decoder, which is not a part of the target.
    unknown
        The token of unknown pieces.
    languages
        Code to token of the languages that the network was trained with; empty if it needs none.
    prefixes
        Text before a source by `source-target` codes, as T5 needs.
    """

    source_before: Places = ()
    source_after: Places = ()
    target_before: Places = ()
    target_after: Places = ()
    start: Place
    unknown: Token
    languages: Annotated[dict[Code, Token], Meta(max_length=10_000)] = {}
    prefixes: Annotated[dict[Code, Words], Meta(max_length=10_000)] = {}

    @property
    def needs(self) -> tuple[str, ...]:
        """The languages that a recipe must name: `source`, `target`."""
        places = (
            self.start,
            *self.source_before,
            *self.source_after,
            *self.target_before,
            *self.target_after,
        )
        return tuple(word for word in ("source", "target") if word in places)

    def resolved(self, languages: Languages, name: str) -> TokenLayout:
        """Replace languages by their tokens.

        Parameters
        ----------
        languages
            Codes of a recipe.
        name
            The backbone, for errors.

        Raises
        ------
        RecipeError
            At `languages`, for a missing or unknown code, or codes for a network without languages.
        """
        tokens = {word: self._token(word, getattr(languages, word), name) for word in self.needs}
        if not self.needs and not self.prefixes and languages != Languages():
            message = f"{name} has a single pair of languages. Fix: leave it out"
            raise RecipeError([Problem("languages", message)])

        def filled(places: Places) -> Places:
            return tuple(tokens[place] if isinstance(place, str) else place for place in places)

        return msgspec.structs.replace(
            self,
            source_before=filled(self.source_before),
            source_after=filled(self.source_after),
            target_before=filled(self.target_before),
            target_after=filled(self.target_after),
            start=filled((self.start,))[0],
        )

    def prefix(self, languages: Languages) -> str:
        """The text before a source; empty if there is none."""
        return self.prefixes.get(f"{languages.source}-{languages.target}", "")

    def _token(self, word: str, code: str | None, name: str) -> int:
        known = self.languages
        if code in known:
            return known[code]
        examples = ", ".join(sorted(known)[:12]) + (", …" if len(known) > 12 else "")
        if code is None:
            fix = 'Fix: languages source: "…", target: "…"'
            message = f"{name} translates between several languages and needs the {word}. {fix} ({examples})"
            raise RecipeError([Problem("languages", message)])
        nearest = did_you_mean(code, list(known))
        message = f'{name} has no language "{code:.40}"{nearest} (one of: {examples})'
        raise RecipeError([Problem(f"languages.{word}", message)])
