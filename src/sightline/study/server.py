"""The study as a page on this machine: the standard library's server, and the few things that it gives out.

`/` is the page, `/study` what the study is, `/pictures/NAME` what it shows; to `/begin` the page posts who takes part,
and is told the trials, and to `/answer` each answer. What only looks, as crawlers and previews of links do, takes
nobody's place. Whatever else is asked for isn't there, so that the key and the answers stay where they are.
"""

import json
import socket
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sightline.errors import DataError
from sightline.study.answers import NoAnswer, add, checked, done, named, now, place
from sightline.study.trials import Answer, Study, Trial

MOST = 4096  # bytes of what is posted
WAIT = 30.0  # seconds for a request that doesn't come to its end
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


def page() -> str:
    """The page, without a study in it."""
    return resources.files("sightline.study").joinpath("page.html").read_text(encoding="utf-8")


def public(study: Study) -> dict[str, Any]:
    """What the page may know of the whole study before anybody takes part."""
    return {"study": study.name, "kind": study.kind, "question": study.question, "count": len(study.orders[0])}


def told(trial: Trial) -> dict[str, Any]:
    """A trial as the page gets it."""
    return {"id": trial.id, "pictures": trial.pictures, "options": trial.options, "about": trial.about}


class Server(ThreadingHTTPServer):
    """Serves the study in a folder at `address`, once `serve_forever` is called, and keeps what is answered.

    `troubled` is told, in a line, what goes wrong on this side. Raises DataError where the folder holds no study, or
    can't be written to, or the port can't be had.
    """

    daemon_threads = True

    def __init__(
        self,
        folder: Path,
        host: str = "127.0.0.1",
        port: int = 8000,
        troubled: Callable[[str], None] = lambda problem: None,
    ) -> None:
        self.folder, self.troubled = folder, troubled
        self.study = Study.load(folder)
        self.page = page().encode()
        self.trials = {trial.id: trial for trial in self.study.trials}
        self.pictures = {f"/{file}": folder / file for trial in self.study.trials for file in trial.pictures}
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        done(folder, "")  # now is the time to hear that answers can't be kept
        try:
            super().__init__((host, port), Handler)
        except (OSError, OverflowError) as error:
            raise DataError(
                f"port {port} of {host} can't be had ({getattr(error, 'strerror', None) or error}); choose another, "
                "or 0 for one that is free"
            ) from error

    @property
    def address(self) -> str:
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def order(self, participant: str) -> tuple[str, ...]:
        """The trials that a participant sees, in order; a new participant has the next order."""
        orders = self.study.orders
        return orders[place(self.folder, participant) % len(orders)]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that left in the midst of an answer is nobody's error."""


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    server_version, sys_version = "sightline", ""
    protocol_version = "HTTP/1.1"
    timeout = WAIT

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        if asked.path == "/":
            self._give(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")
        elif asked.path == "/study":
            self._tell(public, self.server.study)
        elif file := self.server.pictures.get(asked.path):
            self._picture(file)
        else:
            self._say(HTTPStatus.NOT_FOUND, "nothing here")

    def do_POST(self) -> None:
        rule = {"/begin": self._begin, "/answer": self._answer}.get(urlsplit(self.path).path)
        length = self.headers.get("Content-Length", "")
        self.close_connection = True  # what is left unread of a refused body would be taken for the next request
        if rule is None:
            self._say(HTTPStatus.NOT_FOUND, "nothing here")
        elif not length.isascii() or not length.isdigit():
            self._say(HTTPStatus.LENGTH_REQUIRED, "the length is missing")
        elif len(length) > 9 or int(length) > MOST:
            self._say(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {MOST} bytes")
        elif self.headers.get_content_type() != "application/json":  # what other sites' pages can't send unasked
            self._say(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")
        else:
            self.close_connection = False
            self._tell(rule, self.rfile.read(int(length)))

    def _begin(self, body: bytes) -> dict[str, Any]:
        """A participant's trials in order, and which of them are answered; to begin again changes nothing."""
        participant = named(_sent(body).get("participant"))
        trials = [told(self.server.trials[name]) for name in self.server.order(participant)]
        return {"trials": trials, "done": done(self.server.folder, participant)}

    def _answer(self, body: bytes) -> dict[str, Any]:
        """Keep an answer; that it is kept is said only once it is."""
        sent = _sent(body)
        participant = named(sent.get("participant"))
        trial, answer, seconds = checked(sent, self.server.trials)
        if trial not in self.server.order(participant):
            raise NoAnswer(f"trial {trial} isn't among those of {participant}")
        return {"kept": True, "new": add(self.server.folder, Answer(participant, trial, answer, seconds, now()))}

    def _tell(self, rule: Callable[[Any], dict[str, Any]], asked: Any) -> None:
        """What a rule answers, as JSON; or that what was asked is wrong, or that the disk is."""
        try:
            found = rule(asked)
        except NoAnswer as error:
            self._say(HTTPStatus.BAD_REQUEST, str(error))
        except DataError as error:
            self.server.troubled(str(error))
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, "the answers can't be kept at the moment")
        else:
            self._give(HTTPStatus.OK, json.dumps(found).encode(), "application/json")

    def _picture(self, file: Path) -> None:
        try:
            data = file.read_bytes()
        except OSError as error:
            self.server.troubled(f"{file} can't be read ({error.strerror})")
            self._say(HTTPStatus.NOT_FOUND, "nothing here")
        else:
            self._give(HTTPStatus.OK, data, "image/jpeg", "private, max-age=86400")

    def _say(self, status: HTTPStatus, error: str) -> None:
        self._give(status, json.dumps({"error": error}).encode(), "application/json")

    def _give(self, status: HTTPStatus, data: bytes, kind: str, cache: str = "no-store") -> None:
        self.send_response(status)
        told = {"Content-Type": kind, "Content-Length": str(len(data)), "Cache-Control": cache}
        if self.close_connection:
            told["Connection"] = "close"
        for name, value in (HEADERS | told).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Who asked for what is nobody's business."""


def _sent(body: bytes) -> dict[str, Any]:
    """What was posted. Raises NoAnswer where it isn't a JSON object."""
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NoAnswer("what is posted is JSON, an object with participant and what is answered") from error
    if not isinstance(sent, dict):
        raise NoAnswer("what is posted is a JSON object, with participant and what is answered")
    return sent
