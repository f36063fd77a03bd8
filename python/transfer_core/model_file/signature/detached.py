"""The signature file beside a model: its text, its parser, signing and verification."""

from __future__ import annotations

import errno
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha512
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from transfer_core.model_file.safetensors_reader import NotRegular, opened
from transfer_core.model_file.signature.keys import PublicKeys, fingerprint, is_signed_by
from transfer_core.runtime.atomic import replacing, unfollowed
from transfer_core.runtime.errors import ConfigurationError, SignatureError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Content: TypeAlias = bytes | bytearray | memoryview

SUFFIX = ".sig"
VERSION = 1
# Bytes of a signature file. The parser reads no more than one byte beyond.
LONGEST = 512
MAGIC = b"transfer-signature: "
LINES = re.compile(
    r"transfer-signature: 1\nalgorithm: ed25519\n"
    r"key: (sha256:[0-9a-f]{64})\nsignature: ([A-Za-z0-9+/]{86}==)\n"
)


@dataclass(frozen=True)
class Signature:
    """The content of a signature file: the signer's fingerprint and the 64 bytes of the signature."""

    key: str
    value: bytes

    def __str__(self) -> str:
        return (
            f"transfer-signature: {VERSION}\nalgorithm: ed25519\nkey: {self.key}\n"
            f"signature: {b64encode(self.value).decode()}\n"
        )


def signed_message(digest: str) -> bytes:
    """The bytes that Ed25519 signs, for the hex SHA-512 of a model file.

    The first line separates them from every other use of the key, and from other versions of the format.
    """
    return f"transfer-rb model signature {VERSION}\n{digest}\n".encode()


def sign_digest(path: str | Path, digest: str, key: Ed25519PrivateKey) -> None:
    """Write the signature file of the model at `path`, whose hex SHA-512 is `digest`.

    Raises
    ------
    ConfigurationError
        The signature file can't be written.
    """
    signer = fingerprint(key.public_key().public_bytes_raw())
    text = str(Signature(signer, key.sign(signed_message(digest))))
    with replacing(_signature_path(path)) as temporary, open(temporary, "w", opener=unfollowed) as file:
        file.write(text)


def remove_signature(path: str | Path) -> None:
    """Remove the signature file of the model at `path`, if there is one; leave any other file of that name.

    Raises
    ------
    ConfigurationError
        The signature file can't be removed.
    """
    signature = _signature_path(path)
    try:
        ours = _read(signature).startswith(MAGIC)
    except OSError:
        return
    try:
        if ours:
            signature.unlink()
    except OSError as error:
        raise ConfigurationError(
            f"can't remove the outdated signature {signature}: {error.strerror}. "
            "Fix: delete it, or sign the model again"
        ) from error


def verify_signature(content: Content, path: str | Path, keys: PublicKeys) -> None:
    """Check that one of `keys` signed the model at `path`, whose bytes are `content`.

    Raises
    ------
    SignatureError
        The signature is missing, malformed, of another key, or does not match `content`.
    DependencyError
        The package cryptography is missing.
    """
    signature = _load(path)
    key = next((key for key in keys if fingerprint(key) == signature.key), None)
    if key is None:
        expected = ", ".join(sorted(map(fingerprint, keys))) or "no key at all"
        raise SignatureError(
            f"{path} is signed with the key {signature.key}, expected {expected}. "
            "Fix: sign it with that key, or pass the signer's public key"
        )
    if not is_signed_by(key, signature.value, signed_message(sha512(content).hexdigest())):
        raise SignatureError(
            f"{_signature_path(path)} does not match {path}: one of them was changed, "
            "or belongs to another. Fix: restore both files, or sign the model again if you trust it"
        )


def _signature_path(path: str | Path) -> Path:
    return Path(f"{path}{SUFFIX}")


def _load(path: str | Path) -> Signature:
    file = _signature_path(path)
    try:
        text = _read(file)
    except FileNotFoundError as error:
        raise SignatureError(
            f"{path} is not signed: there is no file {file}. Fix: transfer sign {path} --key KEY.pem"
        ) from error
    except OSError as error:
        raise SignatureError(f"can't read the signature {file}: {error.strerror}") from error
    return parse(text, file)


def parse(text: bytes, file: str | Path) -> Signature:
    """Parse the bytes of `file`; raises `SignatureError` for every text that `str(Signature)` can't give."""
    version = re.match(rb"transfer-signature: ([1-9][0-9]{0,8})\n", text)
    if not version or len(text) > LONGEST:
        raise SignatureError(f"{file} is not a signature of a model. Fix: sign the model again")
    if int(version[1]) != VERSION:
        raise SignatureError(
            f"{file} has the signature format {int(version[1])}, expected {VERSION}. "
            "Fix: upgrade transfer-rb, or sign the model again"
        )
    algorithm = re.match(rb"[^\n]*\nalgorithm: ([a-z0-9-]{1,40})\n", text)
    if algorithm and algorithm[1] != b"ed25519":
        raise SignatureError(f"{file} has the algorithm {algorithm[1].decode()}, expected ed25519")
    if fields := LINES.fullmatch(text.decode("latin-1")):
        signature = Signature(fields[1], b64decode(fields[2]))
        if str(signature) == fields[0]:  # base64 has several spellings of the last byte, one is allowed
            return signature
    raise SignatureError(f"{file} is damaged. Fix: sign the model again")


def _read(file: Path) -> bytes:
    """At most `LONGEST` + 1 bytes; raises `OSError`, also where there is no regular file."""
    try:
        with opened(file) as source:
            return source.read(LONGEST + 1)
    except NotRegular as error:
        raise OSError(errno.EINVAL, str(error)) from error
