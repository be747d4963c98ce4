"""Keep everybody else out of the explorer: other machines, other users, and other pages in the same browser.

A page on 127.0.0.1 is reachable for every user of the machine, and for every web page that the browser shows. So

* each request needs a cookie, which the browser gets in exchange for the random token in the printed address;
* the header Host must name this server: a host name of an attacker may resolve to 127.0.0.1 (DNS rebinding);
* a request that changes something needs this server's Origin header and a token that only its pages have;
* Prometheus has no cookies: /metrics, which holds only numbers, may be read with a separate token;
* the content security policy allows only scripts, styles and requests of this server, and no inline script.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import parse_qsl, quote, urlencode

from markupsafe import Markup
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "token"
LONGEST_BODY = 512 * 1024  # bytes of a form

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_LEADING_ON = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>e2emern</title>'
    '<meta http-equiv="refresh" content="0; url={0}"><p><a href="{0}">Continue</a></p></html>'
)
_WITHOUT_COOKIE = "Open the address that `e2emern explore` printed: it holds the token of this server.\n"


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets that this server shares with its visitors.

    Attributes:
        token: in the printed address.
        opening: in the address with which the browser is opened; valid once, since other users see it in the list of
        processes.
        form: in every form of our pages.
        metrics: sent by Prometheus to read /metrics; None if it may not.
    """

    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    opening: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    cookie: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    form: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    metrics: str | None = None


def is_loopback(host: str) -> bool:
    """Return whether a host to listen on is reached from this machine only."""
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


class Guard:
    """Middleware that answers requests which are not allowed, and adds the security headers to all answers."""

    def __init__(self, app: ASGIApp, *, secrets: Secrets, host: str, port: int) -> None:
        """Guard a server that listens on a host and port."""
        self._app, self._secrets, self._host, self._port = app, secrets, host, port
        self._opening: str | None = secrets.opening
        self._cookie = f"e2emern-{port}"  # browsers share cookies between the ports of a host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":  # no web sockets; the events of the server's life are passed on
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        answer = self._refusal(Request(scope, receive)) or self._app
        await answer(scope, receive, send_guarded)

    def _refusal(self, request: Request) -> ASGIApp | None:
        """Return the answer to a request that is not passed on."""
        if not self._is_ours(request.headers.get("host", "")):
            return PlainTextResponse("this server does not have the host name of the request\n", status_code=421)
        if token := request.query_params.get(TOKEN):
            return self._exchanged(request, token)
        if request.method == "GET" and request.url.path == "/metrics" and self._is_prometheus(request):
            return None
        if not _equal(_cookie(request.headers, self._cookie), self._secrets.cookie):
            return PlainTextResponse(_WITHOUT_COOKIE, status_code=403)
        if request.method not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("method not allowed\n", status_code=405)
        if request.method == "POST":
            origin = request.headers.get("origin", "")
            if origin != f"{request.url.scheme}://{request.headers['host']}":
                return PlainTextResponse("forms of other sites are refused\n", status_code=403)
            length = request.headers.get("content-length", "")
            if not length.isdecimal() or int(length) > LONGEST_BODY:
                return PlainTextResponse(f"a form has at most {LONGEST_BODY // 1024} kB\n", status_code=413)
        return None

    def _exchanged(self, request: Request, token: str) -> ASGIApp:
        """Return a page that leads to the address without its token, with the cookie if the token is right.

        A redirect would not do: if another site led to the address, as a terminal in a web page does, the browser would
        not send the new cookie along.
        """
        if self._opening and _equal(token, self._opening):
            self._opening = None
        elif not _equal(token, self._secrets.token):
            return PlainTextResponse(_WITHOUT_COOKIE, status_code=403)
        rest = urlencode([(name, value) for name, value in request.query_params.multi_items() if name != TOKEN])
        path = "/" + quote(request.scope["path"].lstrip("/"))  # `//host` would lead to another site
        page = Markup(_LEADING_ON).format(path + (f"?{rest}" if rest else ""))
        answer = HTMLResponse(page)
        answer.set_cookie(self._cookie, self._secrets.cookie, httponly=True, samesite="strict", path="/")
        return answer

    def _is_prometheus(self, request: Request) -> bool:
        expected = self._secrets.metrics
        return expected is not None and _equal(request.headers.get("authorization", ""), f"Bearer {expected}")

    def _is_ours(self, given: str) -> bool:
        """Return whether a Host header names this server; an address cannot be rebound, a name can."""
        host, _, port = given.rpartition(":")
        if not host:
            host, port = given, "80"
        host = host.removeprefix("[").removesuffix("]").lower()
        if port != str(self._port):
            return False
        if is_loopback(self._host):
            return is_loopback(host)
        return _address(host) is not None or host in {"localhost", self._host.lower(), socket.gethostname().lower()}


async def read_form(request: Request, *, secrets: Secrets) -> list[tuple[str, str]] | None:
    """Return the fields of a form in order; None if it lacks the token of our pages."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_BODY:
            return None
    fields = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=10_000)
    if not _equal(dict(fields).get("form", ""), secrets.form):
        return None
    return [(name, value.replace("\r\n", "\n")) for name, value in fields if name != "form"]


def _cookie(headers: Headers, name: str) -> str:
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(headers.get("cookie", ""))
    except Exception:  # a malformed header has none
        return ""
    return jar[name].value if name in jar else ""


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
