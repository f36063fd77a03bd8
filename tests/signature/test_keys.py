"""Keys in all their formats, and those that can't be used; no error contains a key."""

import os
import subprocess
import sys
import traceback

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from saved_model import message_of
from signing_keys import openssl_key, run, ssh_public_key
from transfer_core.model_file.signature import private_key, required_keys
from transfer_core.model_file.signature.keys import fingerprint, public_key
from transfer_core.runtime.errors import ConfigurationError, SignatureError

pytestmark = pytest.mark.extras


def raw(private):
    return private.public_key().public_bytes_raw()


def test_formats_of_a_public_key(key, tmp_path):
    pem = key.public.read_text()
    private = private_key(key.private)
    kinds = [key.public, str(key.public), pem, "\n" + pem, pem.encode(), private.public_key(), private]
    assert {public_key(kind) for kind in kinds} == {key.raw}
    assert fingerprint(key.raw) == key.fingerprint


def test_openssh_public_keys(tmp_path):
    path = ssh_public_key(tmp_path)
    expected = raw(load_ssh_private_key((tmp_path / "id").read_bytes(), None))
    assert public_key(path) == public_key(path.read_text()) == expected


def test_formats_of_a_private_key(key):
    pem = key.private.read_text()
    kinds = [key.private, str(key.private), pem, pem.encode(), private_key(key.private)]
    assert {raw(private_key(kind)) for kind in kinds} == {key.raw}


def pem_of(folder, *options, **words):
    folder.mkdir()
    return openssl_key(folder, *options, **words)


def test_keys_of_other_algorithms(tmp_path):
    rsa = pem_of(tmp_path / "rsa", "-pkeyopt", "rsa_keygen_bits:2048", algorithm="rsa")
    ec = pem_of(tmp_path / "ec", "-pkeyopt", "ec_paramgen_curve:P-256", algorithm="ec")
    for pair, kind in (
        (rsa, "RSA"),
        (ec, "EC"),
        (pem_of(tmp_path / "x", algorithm="x25519"), "X25519"),
        (pem_of(tmp_path / "448", algorithm="ed448"), "Ed448"),
    ):
        for read, path in ((public_key, pair.public), (private_key, pair.private)):
            assert message_of(SignatureError, read, path).startswith(f"{path} is a key of type {kind}")


def test_a_private_key_where_the_public_one_is_expected_and_the_reverse(key):
    assert message_of(SignatureError, public_key, key.private) == (
        f"{key.private} is a private key, expected the public one. "
        "Fix: openssl pkey -in KEY.pem -pubout -out KEY.pub.pem"
    )
    assert message_of(SignatureError, private_key, key.public) == (
        f"{key.public} is a public key, expected the private one"
    )


def test_an_encrypted_private_key(key, tmp_path):
    path = tmp_path / "encrypted.pem"
    run("openssl", "pkcs8", "-topk8", "-in", key.private, "-out", path, "-passout", "pass:secret")
    assert message_of(SignatureError, private_key, path).startswith(f"{path} is encrypted. Fix: decrypt it")


def test_keys_that_can_not_be_read(tmp_path):
    path = tmp_path / "key.pem"
    for read, kind in ((public_key, "public"), (private_key, "private")):
        path.unlink(missing_ok=True)
        assert (
            message_of(SignatureError, read, path) == f"can't read the key {path}: No such file or directory"
        )
        assert "Is a directory" in message_of(SignatureError, read, tmp_path)
        assert "got int" in message_of(SignatureError, read, 5)
        name = f"{kind} key".upper()
        for text in ("", "no key", f"-----BEGIN {name}-----\nAAAA\n-----END {name}-----"):
            path.write_text(text)
            assert message_of(SignatureError, read, path).startswith(f"{path} is not a {kind} key, expected ")


@pytest.mark.parametrize("content", ["", "%%%", "AAAA", "AAAAC3NzaC1lZDI1NTE5AAAAIA=="])
def test_damaged_openssh_keys(content):
    said = message_of(SignatureError, public_key, f"ssh-ed25519 {content}")
    assert said == "the given key is a damaged OpenSSH public key"
    assert "is a key of type ssh-rsa" in message_of(SignatureError, public_key, f"ssh-rsa {content}")


def test_no_error_contains_a_key(key, tmp_path):
    pem = key.private.read_text()
    secret = pem.splitlines()[1]
    misread = [(private_key, pem.replace(secret[8:12], "AAAA")), (public_key, pem)]
    misread += [(private_key, pem[:-30]), (public_key, pem.replace("PRIVATE", "PUBLIC"))]
    misread += [(read, given.encode()) for read, given in misread]
    for read, given in misread:
        with pytest.raises(SignatureError) as raised:
            read(given)
        shown = "".join(traceback.format_exception(raised.value))
        assert "the given key is " in shown
        assert secret[20:40] not in shown


def test_keys_that_are_required(key, other_key, monkeypatch):
    assert required_keys() is None
    assert required_keys(key.public) == {key.raw}
    assert required_keys([key.public, other_key.public]) == {key.raw, other_key.raw}
    monkeypatch.setenv("TRANSFER_REQUIRE_SIGNATURE", f"{key.public}{os.pathsep}{other_key.public}")
    assert required_keys() == {key.raw, other_key.raw}
    assert required_keys(key.public) == {key.raw}
    monkeypatch.setenv("TRANSFER_REQUIRE_SIGNATURE", str(other_key.public))
    assert message_of(SignatureError, required_keys, key.public) == (
        f"signed_by has the key {key.fingerprint}, which is not among those of TRANSFER_REQUIRE_SIGNATURE. "
        "Fix: pass a key that is, or unset the variable"
    )


def test_no_keys_do_not_mean_no_signature(monkeypatch):
    assert message_of(SignatureError, required_keys, []) == (
        "signed_by is empty, expected at least one public key"
    )
    for value in (":", "/nowhere.pem"):
        monkeypatch.setenv("TRANSFER_REQUIRE_SIGNATURE", value)
        assert message_of(ConfigurationError, required_keys).startswith("TRANSFER_REQUIRE_SIGNATURE: ")


WITHOUT_THE_LIBRARY = """
import sys
sys.modules["cryptography"] = None
from transfer_core.runtime.errors import DependencyError
from transfer_core.model_file.signature import required_keys
print(required_keys())
try:
    required_keys(sys.argv[1])
except DependencyError as error:
    print(error)
"""


def test_without_the_library(key):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_LIBRARY, str(key.public)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": "python"},
        timeout=60,
    )
    assert done.stdout.splitlines() == [
        "None",
        "a signed model needs the package cryptography. "
        f"Fix: {sys.executable} -m pip install 'transfer-core[signing]'",
    ], done.stderr
