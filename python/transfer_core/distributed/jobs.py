"""Client of Ray's job server, over its REST API: submit, look up, stop and delete jobs.

Not Ray Client, whose work ends with the connection, and without the package ray on this machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, Request, build_opener

from transfer_core.runtime.errors import ConfigurationError, TransferError, shortened

# Without a redirect: the token is for this address alone.
_OPENER = build_opener(type("NoRedirect", (HTTPRedirectHandler,), {"redirect_request": lambda *_: None}))
_MOST_BYTES = 8 << 20
_QUOTED = 500
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")


class Unreachable(TransferError):
    """The job server does not respond."""


class JobServer:
    """The job server of a cluster.

    Parameters
    ----------
    url
        `http://head:8265`.
    timeout_s
        Seconds for a response; the first job of a new cluster takes some.
    """

    def __init__(self, url: str, timeout_s: float = 30.0) -> None:
        self._url = url
        self._timeout_s = timeout_s

    def submit(self, id: str, entrypoint: str, env: Mapping[str, str], gpus: int = 0) -> bool:
        """Submit a job under this id, for a node with so many free GPUs; False if there is one."""
        job = {
            "submission_id": id,
            "entrypoint": entrypoint,
            "runtime_env": {"env_vars": dict(env)},
            **({"entrypoint_num_gpus": gpus} if gpus else {}),
        }
        status, body = self._call("POST", "", job)
        if status >= 400 and "already exists" in body:
            return False
        self._require(status, body, "submit a job")
        return True

    def status(self, id: str) -> str | None:
        """`PENDING`, `RUNNING` or one of `ENDED`; None if there is no such job."""
        status, body = self._call("GET", quote(id))
        if status == 404:
            return None
        self._require(status, body, f"look up the job {id}")
        return str(_parsed(body).get("status"))

    def log(self, id: str) -> str:
        """The end of the output of a job."""
        status, body = self._call("GET", f"{quote(id)}/logs")
        return str(_parsed(body).get("logs", "")) if status == 200 else ""

    def stop(self, id: str) -> None:
        """Ask a job to stop; nothing if it has ended."""
        self._call("POST", f"{quote(id)}/stop")

    def delete(self, id: str) -> None:
        """Delete the entry of a job that has ended, so that its id can be submitted again."""
        self._call("DELETE", quote(id))

    def _require(self, status: int, body: str, action: str) -> None:
        if status in (401, 403):
            raise ConfigurationError(
                f"the Ray cluster at {self._url} refused the token. Fix: set RAY_AUTH_TOKEN, or "
                "RAY_AUTH_TOKEN_PATH, to the token of the cluster"
            )
        if status >= 400:
            raise ConfigurationError(
                f"the Ray cluster at {self._url} could not {action} (HTTP {status}): {_last_line(body)}"
            )

    def _call(
        self, method: Literal["GET", "POST", "DELETE"], path: str, content: object = None
    ) -> tuple[int, str]:
        headers = {"Content-Type": "application/json"}
        if token := _token():
            headers["Authorization"] = f"Bearer {token}"
        data = None if content is None else json.dumps(content).encode()
        request = Request(f"{self._url}/api/jobs/{path}", data, headers, method=method)
        try:
            with _OPENER.open(request, timeout=self._timeout_s) as response:
                return response.status, response.read(_MOST_BYTES).decode(errors="replace")
        except HTTPError as error:
            with error:
                return error.code, error.read(_MOST_BYTES).decode(errors="replace")
        except (URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise Unreachable(
                f"the head of the Ray cluster at {self._url} does not respond ({reason})"
            ) from None


def _token() -> str | None:
    """The token of the environment, as Ray finds it; it is never stored."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if not path:
        return None
    try:
        return Path(path).expanduser().read_text().strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"RAY_AUTH_TOKEN_PATH is {path}, which can't be read ({error}). Fix: set it to a readable file"
        ) from None


def _parsed(body: str) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _last_line(body: str) -> str:
    lines = [line for line in body.strip().splitlines() if line.strip()]
    return shortened(lines[-1] if lines else "no details", _QUOTED)
