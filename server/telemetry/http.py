"""HTTP: /metrics, /livez and /readyz, in threads of their own."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from nextbest.server.errors import ListenError
from nextbest.server.listener import reason

# Answered at once; one more is closed without an answer.
REQUESTS_MAX = 8
METHODS = "GET, HEAD"
# For all of a request to come, and for an answer to be taken.
REQUEST_S_MAX = 5.0
STOP_S = 5.0

_log = logging.getLogger(__name__)


class Page(NamedTuple):
    """An answer."""

    status: HTTPStatus
    content_type: str
    body: bytes


# The headers and the query; gives a page.
Pages = Mapping[str, Callable[[Mapping[str, str], str], Page]]


def text(status: HTTPStatus, body: str) -> Page:
    """A page of plain text."""
    return Page(status, "text/plain; charset=utf-8", body.encode())


class HttpServer:
    """Serves pages by their paths while the `with` block runs.

    Raises ListenError where the address cannot be listened on.
    """

    def __init__(self, address: str, pages: Pages) -> None:
        host, _, port = address.rpartition(":")
        try:
            self._server = _Server((host.strip("[]"), int(port)), pages)
        except OSError as error:
            raise ListenError(address, reason(error)) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="telemetry-http", daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """Where it listens, with its real port."""
        host, port = self._server.server_address[:2]
        return f"[{host!s}]:{port}" if ":" in str(host) else f"{host!s}:{port}"

    def stop(self) -> None:
        """Serve no more; a request under way is cut off."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(STOP_S)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], pages: Pages) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.pages = pages
        self._room = threading.BoundedSemaphore(REQUESTS_MAX)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # A read's own time begins anew with every byte.
        alarm = threading.Timer(REQUEST_S_MAX, _cut_off, (request,))
        alarm.daemon = True
        alarm.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            alarm.cancel()
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        del request, client_address
        _log.debug("telemetry: a request failed", exc_info=True)


def _cut_off(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "nextbest"
    sys_version = ""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        page = self.server.pages.get(path)
        if page is None:
            known = ", ".join(self.server.pages)
            self._answer(text(HTTPStatus.NOT_FOUND, f"no such page; there are {known}\n"))
            return
        self._answer(page(dict(self.headers.items()), query))

    def do_HEAD(self) -> None:
        self.do_GET()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library refuses, in plain text; it knows no method but ours."""
        # They may quote what was sent.
        del message, explain
        self.close_connection = True
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self._answer(text(HTTPStatus.METHOD_NOT_ALLOWED, f"allowed: {METHODS}\n"))
        else:
            status = HTTPStatus(code)
            self._answer(text(status, f"{status.phrase}\n"))

    def _answer(self, page: Page) -> None:
        self.send_response(page.status)
        if page.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", METHODS)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape every few seconds is not worth a line."""
