"""Ed25519 keys: PEM files, PEM text, OpenSSH public keys, objects of `cryptography`."""

from __future__ import annotations

import os
import re
from base64 import b64decode
from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from transfer_core.runtime.errors import ConfigurationError, DependencyError, SignatureError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# The 32 bytes of RFC 8032 each.
PublicKeys: TypeAlias = frozenset[bytes]

SETTING = "TRANSFER_REQUIRE_SIGNATURE"
LARGEST_KEY_FILE = 65_536
# The DER of a public key (RFC 8410) and the content of an OpenSSH public key, both before the 32 bytes.
SPKI = bytes.fromhex("302a300506032b6570032100")
OPENSSH = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"
KEYGEN = "Fix: create a key with transfer keygen"


def required_keys(signed_by: Any = None) -> PublicKeys | None:
    """The public keys of which one must have signed a model; None if it need not be signed.

    Parameters
    ----------
    signed_by
        A public key (see `public_key`) or an iterable of them. Each must be among those of the environment
        variable `TRANSFER_REQUIRE_SIGNATURE` if that is set; None: all of those.

    Raises
    ------
    SignatureError
        A key of `signed_by` is unusable, or not among the required ones.
    ConfigurationError
        A key of the environment variable is unusable.
    """
    required = _keys_of_environment()
    if signed_by is None:
        return required
    several = isinstance(signed_by, Iterable) and not isinstance(signed_by, str | bytes)
    given = frozenset(public_key(each) for each in (signed_by if several else [signed_by]))
    if not given:
        raise SignatureError("signed_by is empty, expected at least one public key")
    if required is not None and (other := given - required):
        raise SignatureError(
            f"signed_by has the key {fingerprint(min(other))}, which is not among those of {SETTING}. "
            "Fix: pass a key that is, or unset the variable"
        )
    return given


def public_key(given: Any) -> bytes:
    """The 32 bytes of a public key: a path to PEM (SubjectPublicKeyInfo) or OpenSSH text, such text, or an
    object of `cryptography`; raises `SignatureError`."""
    library = _library()
    if isinstance(given, library.Ed25519PrivateKey):
        given = given.public_key()
    if isinstance(given, library.Ed25519PublicKey):
        return bytes(given.public_bytes_raw())
    text, name = _text(given)
    if b"PRIVATE KEY-----" in text:
        raise SignatureError(
            f"{name} is a private key, expected the public one. "
            "Fix: openssl pkey -in KEY.pem -pubout -out KEY.pub.pem"
        )
    if text.startswith(b"ssh-"):
        return _openssh(text, name)
    try:
        key = library.load_pem_public_key(text)
    except (ValueError, library.UnsupportedAlgorithm) as error:
        raise SignatureError(
            f"{name} is not a public key, expected Ed25519 in PEM or OpenSSH format. {KEYGEN}"
        ) from error
    if not isinstance(key, library.Ed25519PublicKey):
        raise SignatureError(f"{name} is {_kind(key)}, expected an Ed25519 key. {KEYGEN}")
    return bytes(key.public_bytes_raw())


def private_key(given: Any) -> Ed25519PrivateKey:
    """A private key: a path to PEM (PKCS #8), such text, or an object of `cryptography`; raises
    `SignatureError`, never with the key's text in it."""
    library = _library()
    if isinstance(given, library.Ed25519PrivateKey):
        return cast("Ed25519PrivateKey", given)
    text, name = _text(given)
    if b"PUBLIC KEY-----" in text or text.startswith(b"ssh-"):
        raise SignatureError(f"{name} is a public key, expected the private one")
    if b"ENCRYPTED" in text:
        raise SignatureError(
            f"{name} is encrypted. Fix: decrypt it and pass the object: "
            "sign=cryptography.hazmat.primitives.serialization.load_pem_private_key(pem, passphrase)"
        )
    try:
        key = library.load_pem_private_key(text, None)
    except (ValueError, TypeError, library.UnsupportedAlgorithm):
        raise SignatureError(
            f"{name} is not a private key, expected Ed25519 in PEM format (PKCS #8). {KEYGEN}"
        ) from None
    if not isinstance(key, library.Ed25519PrivateKey):
        raise SignatureError(f"{name} is {_kind(key)}, expected an Ed25519 key. {KEYGEN}")
    return cast("Ed25519PrivateKey", key)


def fingerprint(key: bytes) -> str:
    """`sha256:` and the hex SHA-256 of a public key as DER (SubjectPublicKeyInfo)."""
    return f"sha256:{sha256(SPKI + key).hexdigest()}"


def is_signed_by(key: bytes, signature: bytes, message: bytes) -> bool:
    """Verify an Ed25519 signature; False for a wrong one, and for 32 bytes that are not a public key."""
    library = _library()
    try:
        library.Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (library.InvalidSignature, ValueError):
        return False
    return True


def _keys_of_environment() -> PublicKeys | None:
    setting = os.environ.get(SETTING, "")
    if not setting:
        return None
    try:
        return frozenset(public_key(path) for path in setting.split(os.pathsep))
    except SignatureError as error:
        raise ConfigurationError(f"{SETTING}: {error}") from error


def _text(given: Any) -> tuple[bytes, str]:
    """The text of a key, and its name in errors, which must not contain the text."""
    if isinstance(given, bytes):
        return given.lstrip(), "the given key"
    if isinstance(given, str) and re.match(r"\s*(-----BEGIN|ssh-[a-z0-9-]+ )", given):
        return given.lstrip().encode(errors="replace"), "the given key"
    if not isinstance(given, str | os.PathLike):
        raise SignatureError(
            f"a key is a path, PEM text or an object of cryptography, got {type(given).__name__}. {KEYGEN}"
        )
    path = os.path.expanduser(given)
    try:
        with open(path, "rb") as file:
            return file.read(LARGEST_KEY_FILE).lstrip(), str(path)
    except (OSError, ValueError) as error:
        raise SignatureError(f"can't read the key {path}: {getattr(error, 'strerror', error)}") from error


def _openssh(text: bytes, name: str) -> bytes:
    kind, *rest = text.split(maxsplit=2)
    if kind != b"ssh-ed25519":
        raise SignatureError(f"{name} is a key of type {kind.decode('latin-1')[:40]}, expected ssh-ed25519")
    try:
        content = b64decode(rest[0], validate=True)
    except (IndexError, ValueError):
        content = b""
    if len(content) != len(OPENSSH) + 32 or not content.startswith(OPENSSH):
        raise SignatureError(f"{name} is a damaged OpenSSH public key")
    return content[len(OPENSSH) :]


def _kind(key: object) -> str:
    """`an RSA key`, for a key object of another algorithm."""
    algorithm = type(key).__name__.removesuffix("PublicKey").removesuffix("PrivateKey").lstrip("_")
    return f"a key of type {algorithm}"


def _library() -> Any:
    try:
        from transfer_core.model_file.signature import library
    except ImportError:
        raise DependencyError("a signed model", "cryptography", "signing") from None
    return library
