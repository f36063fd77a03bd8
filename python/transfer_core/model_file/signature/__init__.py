"""Detached Ed25519 signatures of saved models. `docs/guides/signing.md` is the format."""

from transfer_core.model_file.signature.detached import (
    SUFFIX,
    remove_signature,
    sign_digest,
    verify_signature,
)
from transfer_core.model_file.signature.keys import PublicKeys, private_key, required_keys

__all__ = [
    "SUFFIX",
    "PublicKeys",
    "private_key",
    "remove_signature",
    "required_keys",
    "sign_digest",
    "verify_signature",
]
