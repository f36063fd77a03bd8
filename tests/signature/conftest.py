import pytest

from signing_keys import openssl_key


@pytest.fixture(scope="session")
def key(tmp_path_factory):
    """Two files of one Ed25519 key, made by the command openssl: `private` and `public`."""
    return openssl_key(tmp_path_factory.mktemp("key"))


@pytest.fixture(scope="session")
def other_key(tmp_path_factory):
    return openssl_key(tmp_path_factory.mktemp("other"))
