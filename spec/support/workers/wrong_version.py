"""Use another version of the protocol."""

from wire import hello, read

hello(protocol=2)
read()
