"""An HTTP server on loopback that lists and serves files like NLM's, and misbehaves on request."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Fault = Callable[["Handler", bytes], None]
"""Answers in place of the server; it is given the content of the file."""


@dataclass
class Site:
    """The content of a server under /dumps/. `faults` of a file answer one request each, in order."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)  # else made from the content
    links: list[str] = field(default_factory=list)  # in the listing, besides those of the files
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    validators: bool = True
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    busy: int = 0
    busiest: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, content: bytes, *, md5: bool = True) -> None:
        self.files[name] = content
        if md5:
            self.files[f"{name}.md5"] = f"MD5({name})= {hashlib.md5(content).hexdigest()}\n".encode()

    def requests(self, name: str) -> list[dict[str, str]]:
        """The headers of each request for a file."""
        return [headers for path, headers in self.asked if path == f"/dumps/{name}"]


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site = self.site
        with site.lock:
            site.asked.append((self.path, dict(self.headers.items())))
            site.busy += 1
            site.busiest = max(site.busiest, site.busy)
        try:
            self.answer()
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with site.lock:
                site.busy -= 1

    def answer(self) -> None:
        name = self.path.removeprefix("/dumps/")
        with self.site.lock:
            faults = self.site.faults.get(name or "listing", [])
            fault = faults.pop(0) if faults else None
        content = self.site.files.get(name, b"") if name else self.listing()
        if fault:
            fault(self, content)
        elif name and name not in self.site.files:
            self.send(404, b"")
        else:
            self.serve(name, content)

    def listing(self) -> bytes:
        links = ["?C=N;O=D", "/", *sorted(self.site.files), *self.site.links]
        return "".join(f'<a href="{link}">{link}</a>\n' for link in links).encode()

    def serve(self, name: str, content: bytes) -> None:
        etag = self.etag(name, content)
        if not name or not self.site.validators:
            return self.send(200, content)
        if etag == self.headers.get("If-None-Match"):
            return self.send(304, b"", ETag=etag)
        asked = self.headers.get("Range")
        if asked and self.headers.get("If-Range") == etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            content_range = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self.send(206, content[start:], ETag=etag, Content_Range=content_range)
        return self.send(200, content, ETag=etag)

    def etag(self, name: str, content: bytes) -> str:
        return self.site.etags.get(name) or f'"{hashlib.sha256(content).hexdigest()[:16]}"'

    def send(self, status: int, content: bytes, *, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        if status != 304:
            self.send_header("Content-Length", str(len(content) if length is None else length))
        self.send_header("Content-Type", "text/html")
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def serving() -> Iterator[Site]:
    """A server for the time of the block; the site may be changed meanwhile."""
    handler = type("SiteHandler", (Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        site = Site(f"http://127.0.0.1:{server.server_port}/dumps/")
        handler.site = site  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


def dropped(after: int) -> Fault:
    """Close the connection after some of the announced bytes."""
    return lambda handler, content: handler.send(
        200, content[:after], length=len(content), ETag=handler.etag("", content)
    )


def unavailable(**headers: str) -> Fault:
    return lambda handler, content: handler.send(503, b"busy", **headers)
