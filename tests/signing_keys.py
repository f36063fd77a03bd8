"""Keys and signatures by the commands openssl and ssh-keygen: nothing of ours, and no cryptography."""

import base64
import hashlib
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class KeyPair:
    private: Path
    public: Path

    @property
    def fingerprint(self):
        der = run("openssl", "pkey", "-pubin", "-in", self.public, "-outform", "DER")
        return f"sha256:{hashlib.sha256(der).hexdigest()}"

    @property
    def raw(self):
        return run("openssl", "pkey", "-pubin", "-in", self.public, "-outform", "DER")[-32:]


def run(*command, stdin=None):
    return subprocess.run([*map(str, command)], check=True, capture_output=True, input=stdin).stdout


def openssl_key(folder, *options, algorithm="ed25519"):
    pair = KeyPair(folder / "key.pem", folder / "key.pub.pem")
    run("openssl", "genpkey", "-algorithm", algorithm, *options, "-out", pair.private)
    run("openssl", "pkey", "-in", pair.private, "-pubout", "-out", pair.public)
    return pair


def ssh_public_key(folder):
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "someone@somewhere", "-f", folder / "id")
    return folder / "id.pub"


def message(content, version=1):
    """The signed message as docs/guides/signing.md describes it."""
    return f"transfer-rb model signature {version}\n{hashlib.sha512(content).hexdigest()}\n".encode()


def sign(path, pair, version=1, algorithm="ed25519", key=None):
    """Write the signature file of `path` without our code."""
    text = path.with_name("message")
    text.write_bytes(message(path.read_bytes(), version))
    signature = run("openssl", "pkeyutl", "-sign", "-inkey", pair.private, "-rawin", "-in", text)
    text.unlink()
    lines = [
        f"transfer-signature: {version}",
        f"algorithm: {algorithm}",
        f"key: {key or pair.fingerprint}",
        f"signature: {base64.b64encode(signature).decode()}",
    ]
    Path(f"{path}.sig").write_text("\n".join([*lines, ""]))


def is_signed(path, pair):
    """Whether openssl accepts the signature file of `path`."""
    encoded = re.search("^signature: (.*)$", Path(f"{path}.sig").read_text(), re.MULTILINE)[1]
    text, signature = path.with_name("message"), path.with_name("signature")
    text.write_bytes(message(path.read_bytes()))
    signature.write_bytes(base64.b64decode(encoded))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", pair.public, "-rawin", "-in", text]
    done = subprocess.run([*command, "-sigfile", signature], capture_output=True)
    text.unlink()
    signature.unlink()
    return done.returncode == 0
