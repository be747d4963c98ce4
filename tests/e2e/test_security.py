"""A web page that the operator opens cannot start runs, read answers, or choose what a worker executes."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.e2e.installation import Installation

PAGE = {"Origin": "http://evil.example", "Content-Type": "application/json"}


def test_a_web_page_cannot_run_a_command_on_a_worker(installation: Installation, tmp_path: Path) -> None:
    """Send the request that runs a command under Prefect's defaults, each time with more of the required headers."""
    marker = tmp_path / "ran"
    body = {"job_variables": {"command": f"touch {marker}", "env": {"E2EMERN_HOME": "/tmp"}, "working_dir": "/"}}
    deployment = installation.post("deployments/filter", {"deployments": {"name": {"any_": ["doctor"]}}})[0]["id"]
    url = f"{installation.url}/deployments/{deployment}/create_flow_run"
    user, password = installation.auth_string.split(":", 1)

    no_token, unauthorized = (403, {"detail": "Missing CSRF token."}), (401, {"exception_message": "Unauthorized"})
    assert answer(httpx.post(url, json=body, headers=PAGE)) == no_token
    assert answer(httpx.post(url, json=body, headers=PAGE, auth=(user, password))) == no_token
    assert answer(httpx.get(f"{installation.url}/csrf-token", params={"client": "page"}, headers=PAGE)) == unauthorized
    assert installation.connection
    ours = installation.connection.headers
    token = {name: ours[name] for name in ("Prefect-Csrf-Client", "Prefect-Csrf-Token")}
    assert answer(httpx.post(url, json=body, headers=PAGE | token)) == unauthorized
    assert answer(httpx.post(url, json=body, headers=PAGE | token, auth=(user, "guessed"))) == unauthorized
    rebound = {"Host": "evil.example", "Origin": "http://evil.example"}  # a name of theirs that resolves to 127.0.0.1
    assert answer(httpx.get(f"{installation.url}/deployments/{deployment}", headers=rebound)) == unauthorized

    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    assert "Access-Control-Allow-Origin" not in httpx.options(url, headers=asked).headers

    run = installation.post(f"deployments/{deployment}/create_flow_run", body)["id"]  # with everything that is needed
    ended = installation.end_of(run)
    assert ended["state_type"] in ("COMPLETED", "FAILED")  # the doctor ran: FAILED before the first night
    assert not marker.exists()


def test_the_ui_is_served_and_asks_for_the_password(installation: Installation) -> None:
    site = installation.url.removesuffix("/api")
    page = httpx.get(site, follow_redirects=True)
    assert page.status_code == 200
    assert "<html" in page.text
    settings = httpx.get(f"{site}/ui-settings").json()
    assert (settings["auth"], settings["csrf_enabled"]) == ("BASIC", True)


def test_the_secret_is_kept_where_only_its_owner_reads_it(installation: Installation) -> None:
    (kept,) = (installation.folder / "prefect").glob("e2emern-auth")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.read_text().strip() == installation.auth_string
    assert len(installation.auth_string) > 40


def answer(response: httpx.Response) -> tuple[int, object]:
    return response.status_code, response.json()
