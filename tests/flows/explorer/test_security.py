"""Nobody else reads or writes through the explorer, and foreign text stays text."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from e2emern.flows.cli import app as commands
from e2emern.flows.explorer import sql
from e2emern.flows.explorer.annotator import Annotator
from e2emern.flows.explorer.app import make_app
from e2emern.flows.explorer.security import LONGEST_BODY, Guard, Secrets, is_loopback
from e2emern.warehouse.layout import Home
from tests.flows.explorer.conftest import ADDRESS, HOSTILE, SECRETS

PAGES = (
    "/",
    "/?q=breast",
    "/search.json?q=a",
    "/concept/D001943",
    "/together/D001943",
    "/newest/D001943",
    "/document/12",
    "/history/12",
    "/corpus",
    "/models",
    "/sql",
    "/sql.csv?q=SELECT+1",
    "/try",
    "/metrics",
    "/static/explorer.js",
)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_needs_the_cookie(stranger: TestClient, path: str) -> None:
    assert stranger.get(path).status_code == 403
    stranger.cookies.set("e2emern-8642", SECRETS.token)  # the token is not the cookie
    assert stranger.get(path).status_code == 403


def test_prometheus_reads_only_the_metrics_with_a_separate_token(home: Home, client: TestClient) -> None:
    assert "\ne2emern_snapshot_documents 3.0\n" in client.get("/metrics").text
    authorized = {"Authorization": "Bearer abcdefghijklmnopqrstuvwxyz"}
    for token, status in (("abcdefghijklmnopqrstuvwxyz", 200), ("another", 403), (None, 403)):
        app = make_app(home, secrets=Secrets(metrics=token), port=8642, annotator=Annotator(home))
        with TestClient(app, base_url=ADDRESS) as prometheus:
            answer = prometheus.get("/metrics", headers=authorized)
            assert answer.status_code == status
            assert prometheus.get("/corpus", headers=authorized).status_code == 403
            assert prometheus.get("/metrics", headers=authorized | {"Host": "evil.example:8642"}).status_code == 421
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_the_token_is_exchanged_for_a_cookie_and_leaves_the_address(stranger: TestClient) -> None:
    assert stranger.get("/corpus?token=wrong").status_code == 403
    answer = stranger.get(f"/corpus?token={SECRETS.token}&a=b%26c")
    assert '<meta http-equiv="refresh" content="0; url=/corpus?a=b%26c">' in answer.text
    assert re.fullmatch(
        r"e2emern-8642=[\w-]{43}; HttpOnly; Path=/; SameSite=strict", answer.headers["set-cookie"], re.IGNORECASE
    )
    assert stranger.get("/corpus").status_code == 200
    led = stranger.get(f"{ADDRESS}//evil.example/%22%3E?token={SECRETS.token}").text
    assert 'url=/evil.example/%22%3E"' in led


def test_the_address_that_opens_the_browser_counts_once(stranger: TestClient) -> None:
    """Other users of the machine see it in the list of processes."""
    assert [stranger.get(f"/?token={SECRETS.opening}").status_code for _ in range(2)] == [200, 403]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8642", "127.0.0.1", "127.0.0.1:80", "127.0.0.1.evil.example:8642", ""]
)
def test_other_host_names_are_refused(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost:8642", "[::1]:8642", "LOCALHOST:8642"])
def test_the_names_of_this_server_are_accepted(stranger: TestClient, host: str) -> None:
    assert stranger.get("/", headers={"host": host}).status_code == 403  # past the check of the host


def test_on_a_network_addresses_are_allowed_and_names_are_not() -> None:
    guard = Guard(None, secrets=Secrets(), host="0.0.0.0", port=8642)  # type: ignore[arg-type]
    assert [guard._is_ours(host) for host in ("192.168.0.7:8642", "evil.example:8642", "192.168.0.7:80")] == [
        True,
        False,
        False,
    ]


def test_the_headers_of_every_answer(client: TestClient) -> None:
    for answer in (client.get("/"), client.get("/nope"), client.get("/", headers={"host": "evil.example"})):
        policy = answer.headers["content-security-policy"]
        assert ("default-src 'none'" in policy, "script-src 'self';" in policy, "unsafe" in policy) == (
            True,
            True,
            False,
        )
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"


def test_no_page_has_inline_script_or_style_or_another_host(client: TestClient) -> None:
    for path in PAGES:
        text = client.get(path).text
        if not path.startswith(("/sql.csv", "/static")):
            assert re.findall(r"<script(?! src=\"/static/)|\sstyle=|\son\w+=|javascript:", text) == [], path
            assert re.findall(r"(?:src|href|action)=\"(?!/|#)", text) == [], path
            assert re.findall(r"(?<!xmlns=\")https?://", text) == [], path


@pytest.mark.parametrize(
    "path",
    [
        "/document/12",
        "/newest/D001943",
        "/?q=script",
        "/search.json?q=12",
        "/concept/D001943",
        "/together/D001241",
        "/history/12",
        "/correct/12",
        "/nope<script>",
        "/concept/<script>%E2%80%AE",
        "/document/<script>%E2%80%AE%1B",
        "/?q=<script>%E2%80%AE%1B",
    ],
)
def test_hostile_texts_are_escaped(client: TestClient, path: str) -> None:
    text = client.get(path).text
    assert "<script>" not in text.replace('<script src="/static/', "") or path.startswith("/search.json")
    assert not set("\u202e\x1b") & set(text)


def test_hostile_results_of_sql_are_escaped(client: TestClient) -> None:
    sql = "SELECT '<script>alert(1)</script>' || chr(8238) || chr(27) AS \"<b>\u202e\", 1 AS n UNION ALL SELECT 'b', 2"
    text = client.get("/sql", params={"q": sql}).text
    answer = text.partition('id="answer"')[2]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\ufffd\ufffd" in answer
    assert "<b>" not in text
    assert not set("\u202e\x1b") & set(text)
    assert HOSTILE in client.get("/sql.csv", params={"q": "SELECT title FROM documents WHERE pmid = 12"}).text


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/%00",
        "/static/",
    ],
)
def test_path_tricks_are_refused(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "Starlette" not in answer.text


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE x AS SELECT 1",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY (SELECT 1) TO 'copied.csv'",
        "ATTACH 'x.db'",
        "SELECT * FROM 'x.csv'",
    ],
)
def test_sql_that_does_more_than_read_is_refused(client: TestClient, sql: str) -> None:
    assert 'class="problem"' in client.get("/sql", params={"q": sql}).text
    assert client.get("/sql.csv", params={"q": sql}).status_code == 400


def test_the_limits_of_sql(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    text = client.get("/sql", params={"q": "FROM range(501)"}).text
    assert "Truncated after 500 rows" in text
    assert client.get("/sql.csv", params={"q": "FROM range(501)"}).text.count("\n") == 502
    monkeypatch.setattr(sql, "TIMEOUT_S", 0.5)
    slow = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range = 7"
    assert "took longer than 0.5 s" in client.get("/sql", params={"q": slow}).text


def test_forms_need_an_origin_and_a_token(client: TestClient) -> None:
    form, origin = {"form": SECRETS.form, "text": ""}, {"origin": ADDRESS}
    assert client.post("/try", data=form).status_code == 403
    assert client.post("/try", data=form, headers={"origin": "http://evil.example"}).status_code == 403
    assert client.post("/try", data={"text": ""}, headers=origin).status_code == 403
    assert client.post("/try", data=form | {"form": "wrong"}, headers=origin).status_code == 403
    assert client.post("/try", data=form, headers=origin).status_code == 200
    assert client.post("/try", content=b"x" * (LONGEST_BODY + 1), headers=origin).status_code == 413
    assert client.post("/corpus", data=form, headers=origin).status_code == 405
    assert client.put("/try", data=form, headers=origin).status_code == 405


def test_an_address_that_others_can_reach_needs_a_flag(home: Home) -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "127.9.9.9"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "a.example", "127.0.0.1.example"))
    from e2emern.tasks.errors import InputError

    result = CliRunner().invoke(commands, ["explore", "--home", str(home.root), "--host", "0.0.0.0", "--no-browser"])
    assert isinstance(result.exception, InputError)
    assert "--allow-remote" in str(result.exception)
