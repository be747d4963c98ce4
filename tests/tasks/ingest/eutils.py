"""A server on loopback that answers as NCBI's E-utilities do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs


@dataclass
class Ncbi:
    """E-utilities: PMIDs below 900 exist. `answers` replace the next answers, one each."""

    url: str = ""
    answers: list[tuple[int, bytes, dict[str, str]]] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


def records(ids: list[str]) -> bytes:
    articles = "".join(
        f"<PubmedArticle><MedlineCitation><PMID Version='1'>{pmid}</PMID><Article><ArticleTitle>Gout {pmid}."
        "</ArticleTitle></Article></MedlineCitation></PubmedArticle>"
        for pmid in ids
        if int(pmid) < 900
    )
    return f'<?xml version="1.0" ?>\n<PubmedArticleSet>{articles}</PubmedArticleSet>'.encode()


@contextmanager
def serving() -> Iterator[Ncbi]:
    """Serve E-utilities for the block."""
    site = Ncbi()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            site.times.append(time.monotonic())
            site.asked.append({name: ",".join(values) for name, values in form.items()} | {"path": self.path})
            status, body, headers = (
                site.answers.pop(0) if site.answers else (200, records(form["id"][0].split(",")), {})
            )
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}/entrez/eutils/"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()
