"""The signature file of a model: made here and verified by openssl, made by openssl and verified here."""

import os
import random
import shutil
from hashlib import sha512
from pathlib import Path

import msgspec
import numpy as np
import pytest

from saved_model import HEADER, message_of, same, tensors
from signing_keys import is_signed, sign
from transfer_core.model_file import format as model_file
from transfer_core.model_file.format import read_model, write_model
from transfer_core.model_file.signature import private_key, sign_digest, verify_signature
from transfer_core.model_file.signature.detached import LONGEST, parse
from transfer_core.runtime.errors import ConfigurationError, ModelFileError, SignatureError

pytestmark = pytest.mark.extras


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "signs.transfer"
    write_model(path, tensors(), HEADER)
    return path


@pytest.fixture
def signed(saved, key):
    sign(saved, key)
    return saved


def signature_of(path):
    return Path(f"{path}.sig")


def keys(*pairs):
    return frozenset(pair.raw for pair in pairs)


def refusal(path, *pairs):
    return message_of(SignatureError, read_model, path, keys(*pairs))


def test_a_signature_by_openssl_is_accepted(signed, key, other_key):
    for demanded in (keys(key), keys(other_key, key)):
        header, arrays, _ = read_model(signed, demanded)
        assert header == HEADER
        same(arrays, tensors())


def test_openssl_accepts_our_signature(tmp_path, key, other_key):
    path, digest = tmp_path / "m.transfer", sha512()
    write_model(path, tensors(), HEADER, digest=digest)
    assert digest.hexdigest() == sha512(path.read_bytes()).hexdigest()
    sign_digest(path, digest.hexdigest(), private_key(key.private))
    assert is_signed(path, key)
    assert not is_signed(path, other_key)
    assert read_model(path, keys(key))[0] == HEADER
    ours = signature_of(path).read_text()
    sign(path, key)
    assert signature_of(path).read_text() == ours


def test_a_model_without_a_signature(saved, key):
    assert refusal(saved, key) == (
        f"{saved} is not signed: there is no file {saved}.sig. Fix: transfer sign {saved} --key KEY.pem"
    )
    assert issubclass(SignatureError, ModelFileError)


def test_another_key(signed, key, other_key):
    assert refusal(signed, other_key) == (
        f"{signed} is signed with the key {key.fingerprint}, expected {other_key.fingerprint}. "
        "Fix: sign it with that key, or pass the signer's public key"
    )
    assert "expected no key at all" in message_of(SignatureError, read_model, signed, frozenset())


def test_another_key_under_the_fingerprint_of_the_right_one(saved, key, other_key):
    sign(saved, other_key, key=key.fingerprint)
    assert "does not match" in refusal(saved, key)


def test_the_signature_of_another_model(signed, key, tmp_path):
    other = tmp_path / "other.transfer"
    write_model(other, {}, HEADER)
    shutil.copy(signature_of(signed), signature_of(other))
    assert refusal(other, key) == (
        f"{other}.sig does not match {other}: one of them was changed, or belongs to another. "
        "Fix: restore both files, or sign the model again if you trust it"
    )


def test_a_model_of_which_any_byte_was_changed(signed, key):
    content = signed.read_bytes()
    rng = random.Random(1)
    for place in [*range(0, 20), *rng.sample(range(len(content)), 40), len(content) - 1]:
        changed = bytearray(content)
        changed[place] ^= 1 << rng.randrange(8)
        signed.write_bytes(changed)
        assert "does not match" in refusal(signed, key)
    for changed in (content[:-1], content + b"\0", b""):
        signed.write_bytes(changed)
        assert "does not match" in refusal(signed, key)
    signed.write_bytes(content)
    assert read_model(signed, keys(key))[0] == HEADER


def test_the_signature_is_verified_before_the_file_is_parsed(tmp_path, key):
    """What is no model at all is refused for its signature, and signed for what it is."""
    path = tmp_path / "m.transfer"
    path.write_bytes(b"\x80\x04 a pickle")
    assert "is not signed" in refusal(path, key)
    sign(path, key)
    assert "is not a saved model" in message_of(ModelFileError, read_model, path, keys(key))


def test_a_model_that_is_overwritten_after_its_signature_was_verified(signed, key, tmp_path, monkeypatch):
    other = tmp_path / "other.transfer"
    write_model(
        other,
        {"head.weight": np.ones(2)},
        msgspec.structs.replace(HEADER, labels=("a", "b")),
    )

    def verified_and_overwritten(*arguments):
        verify_signature(*arguments)
        signed.write_bytes(other.read_bytes())

    monkeypatch.setattr(model_file, "verify_signature", verified_and_overwritten)
    header, arrays, _ = read_model(signed, keys(key))
    assert header == HEADER
    same(arrays, tensors())


def test_a_signature_of_which_any_byte_was_changed(signed, key):
    text = signature_of(signed).read_bytes()
    rng = random.Random(3)
    for place in range(len(text)):
        changed = bytearray(text)
        changed[place] ^= 1 << rng.randrange(8)
        signature_of(signed).write_bytes(changed)
        refusal(signed, key)
    for cut in range(0, len(text), 11):
        signature_of(signed).write_bytes(text[:cut])
        refusal(signed, key)
    signature_of(signed).write_bytes(text)
    assert read_model(signed, keys(key))[0] == HEADER


def test_texts_that_are_no_signature():
    rng = random.Random(2)
    words = [b"transfer-signature: 1\n", b"algorithm: ed25519\n", b"key: sha256:", b"0" * 64, b"signature: "]
    words += [b"\n", b"=" * 2, b"A" * 86, b"\r\n", b"\xff\x00", b"transfer-signature: 99999999999\n", b"2\n"]
    for _ in range(3000):
        text = b"".join(rng.choices(words, k=rng.randrange(9)))
        message_of(SignatureError, parse, text, "m.sig")


def test_the_other_spelling_of_a_signature_in_base64(signed, key):
    """The last digit before == has four bits that mean nothing."""
    text = signature_of(signed).read_text()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    digit = text[-4]
    signature_of(signed).write_text(text[:-4] + alphabet[alphabet.index(digit) + 1] + text[-3:])
    assert refusal(signed, key) == f"{signed}.sig is damaged. Fix: sign the model again"


def test_another_version_and_another_algorithm(saved, key):
    sign(saved, key, version=2)
    assert refusal(saved, key) == (
        f"{saved}.sig has the signature format 2, expected 1. "
        "Fix: upgrade transfer-rb, or sign the model again"
    )
    text = signature_of(saved).read_text()
    signature_of(saved).write_text(text.replace("transfer-signature: 2", "transfer-signature: 1"))
    assert "does not match" in refusal(saved, key)  # the version is signed, too
    sign(saved, key, algorithm="rsa-pss")
    assert refusal(saved, key) == f"{saved}.sig has the algorithm rsa-pss, expected ed25519"


def test_a_signature_that_is_too_long_or_no_regular_file(signed, key):
    file = signature_of(signed)
    file.write_bytes(file.read_bytes() + b"x" * LONGEST)
    assert refusal(signed, key) == f"{file} is not a signature of a model. Fix: sign the model again"
    file.unlink()
    os.mkfifo(file)
    assert refusal(signed, key) == f"can't read the signature {file}: is not a file"
    file.unlink()
    file.mkdir()
    assert refusal(signed, key) == f"can't read the signature {file}: is not a file"


def test_saving_without_a_key_removes_the_signature_of_the_model_before(signed, key):
    write_model(signed, tensors(), HEADER)
    assert not signature_of(signed).exists()
    assert "is not signed" in refusal(signed, key)


def test_a_signature_of_another_kind_is_left_alone(saved):
    signature_of(saved).write_bytes(b"\x88\x75 of GnuPG")
    write_model(saved, tensors(), HEADER)
    assert signature_of(saved).read_bytes() == b"\x88\x75 of GnuPG"


def test_a_save_that_fails_leaves_model_and_signature(signed, key):
    message_of(ModelFileError, write_model, signed, {"head.weight": [object()]}, HEADER)
    assert read_model(signed, keys(key))[0] == HEADER


def test_a_crash_after_the_model_was_replaced_leaves_no_valid_signature(signed, key, monkeypatch):
    class PowerFailure(BaseException):
        pass

    replace = os.replace

    def fail_after(*paths):
        replace(*paths)
        raise PowerFailure

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail_after)
        with pytest.raises(PowerFailure):
            write_model(signed, {}, HEADER)
    assert read_model(signed)[1] == {}
    assert signature_of(signed).exists()
    assert "does not match" in refusal(signed, key)


def test_a_signature_that_can_not_be_written(saved, key):
    signature_of(saved).mkdir()
    digest = sha512(saved.read_bytes()).hexdigest()
    said = message_of(ConfigurationError, sign_digest, saved, digest, private_key(key.private))
    assert said == f"can't save to {saved}.sig: it is a folder; add the name of a file"
