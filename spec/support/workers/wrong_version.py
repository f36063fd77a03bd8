"""Speaks another protocol."""

from wire import hello, read

hello(protocol=2)
read()
