"""Exit with status 3 at the start until the given file exists."""

import os
import sys

from wire import Server, answer

if not os.path.exists(sys.argv[1]):
    os._exit(3)
Server({"pid": lambda server, id, params: answer(id, os.getpid())}).run()
