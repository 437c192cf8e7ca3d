"""What a client of the API sees through the proxy."""

import contextlib
import json
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.proxy.conftest import CONNECTIONS, MAX_BODY_BYTES, Proxy, proxying, statuses
from tests.service.processes import ADMIN, BODY, Service, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("proxy")]


def problem(answer: httpx.Response) -> dict[str, object]:
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, object] = answer.json()
    assert found["status"] == answer.status_code
    return found


def test_login_and_prediction_work_over_tls(proxy: Proxy) -> None:
    with proxy.client() as client:
        token = client.post("/token", data=ADMIN).json()["access_token"]
        answer = client.post("/predict", json=BODY, headers={"Authorization": f"Bearer {token}"})

    assert answer.json()["predictions"]


def test_plain_http_redirects_to_tls(proxy: Proxy) -> None:
    answer = httpx.post(f"http://127.0.0.1:{proxy.http_port}/predict?a=b", trust_env=False)

    assert (answer.status_code, answer.headers["location"]) == (308, f"https://127.0.0.1:{proxy.port}/predict?a=b")


def test_the_certificate_is_made_once_and_logged_in_one_line(tmp_path: Path, api: str) -> None:
    with proxying(tmp_path, api) as first:
        made = first.certificate.read_bytes()
    with proxying(tmp_path, api) as second:
        assert second.certificate.read_bytes() == made

    assert second.log().count("made a self-signed certificate for localhost") == 1


def test_your_own_certificate_is_used_and_a_renewed_one_loaded_at_a_signal(
    tmp_path: Path, proxy: Proxy, impatient: Proxy, api: str
) -> None:
    def works(at: Proxy) -> bool:
        with contextlib.suppress(httpx.ConnectError), at.client() as client:
            return client.get("/health/live").status_code == 200
        return False

    shutil.copytree(proxy.certificate.parent, tmp_path / "certificates")
    with proxying(tmp_path, api) as other:
        assert works(other)
        shutil.copytree(impatient.certificate.parent, tmp_path / "certificates", dirs_exist_ok=True)
        assert not works(other), "the client trusts only the new one"
        other.process.send_signal(signal.SIGHUP)
        wait_for(lambda: works(other), "the new certificate")

    assert "self-signed" not in other.log()


@pytest.mark.parametrize("path", ["/metrics", "//metrics", "/%6detrics", "/metrics/", "/a/../metrics"])
def test_the_metrics_are_not_reachable(proxy: Proxy, path: str) -> None:
    assert statuses(proxy.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())) == [404]


@pytest.mark.parametrize("prefix", ["/models/flights", "/models/flights/"])
def test_the_api_works_behind_a_path_prefix(tmp_path: Path, api: str, token: dict[str, str], prefix: str) -> None:
    with proxying(tmp_path, api, PATH_PREFIX=prefix) as proxy, proxy.client() as client:
        page = client.get("/models/flights", follow_redirects=True)
        script = client.get(str(page.url.join("page/page.js")))
        answer = client.post("/models/flights/predict", json=BODY, headers=token)
        hidden = [client.get(path).status_code for path in ("/docs", "/models/flights/metrics", "/whole/docs")]

    assert page.url.path == "/models/flights/"
    assert (page.status_code, script.status_code, answer.status_code) == (200, 200, 200)
    assert hidden == [404, 404, 404]


@pytest.mark.parametrize("prefix", ["models", "/a b", "/a;return 200"])
def test_an_invalid_prefix_stops_the_start_with_one_line(tmp_path: Path, prefix: str) -> None:
    with (
        pytest.raises(AssertionError, match=r"error: PATH_PREFIX is .*; expected a path"),
        proxying(tmp_path, "127.0.0.1:1", PATH_PREFIX=prefix),
    ):
        pass


def test_proxy_and_api_agree_on_the_largest_body(proxy: Proxy, token: dict[str, str]) -> None:
    with proxy.client(headers=token) as client:
        sent = [client.post("/predict", content=b" " * (MAX_BODY_BYTES + more)) for more in (0, 1)]
        chunked = client.post("/predict", content=iter([b" " * MAX_BODY_BYTES, b" "]))

    assert sent[0].status_code not in {200, 413}
    assert [problem(each)["status"] for each in (sent[1], chunked)] == [413, 413]


@pytest.mark.parametrize("kind", ["application/x-ndjson", "text/csv; charset=utf-8"])
def test_a_table_of_any_length_streams_through(proxy: Proxy, token: dict[str, str], kind: str) -> None:
    rows = MAX_BODY_BYTES // 5
    lines = ["x0,x1", *["0.25,0.5"] * rows] if "csv" in kind else [json.dumps(BODY["instances"][0])] * rows
    with proxy.client(headers=token | {"Content-Type": kind}, timeout=30) as client:
        answer = client.post("/predict", content="\n".join(lines))

    assert answer.status_code == 200
    assert len(answer.text.splitlines()) >= rows


def attempts(proxy: Proxy, address: str, count: int = 6) -> list[int]:
    """Log in with wrong passwords, all at once; return the statuses."""
    with proxy.client(headers={"X-Forwarded-For": address}) as client, ThreadPoolExecutor(count) as pool:
        forms = [{"username": f"nobody{each}", "password": "wrong"} for each in range(count)]
        return list(pool.map(lambda form: client.post("/token", data=form).status_code, forms))


def test_logins_are_counted_by_the_address_of_the_client(tmp_path: Path, api: str, proxy: Proxy) -> None:
    with proxying(tmp_path, api, FORWARDED_ALLOW_IPS="10.0.0.0/8,127.0.0.1") as behind_another:
        assert 429 in attempts(behind_another, "192.0.2.1")
        assert attempts(behind_another, "192.0.2.2", 1) == [401], "another client has its own limit"
    assert 429 in attempts(proxy, "192.0.2.3")
    assert attempts(proxy, "192.0.2.4", 1) == [429], "a made-up address doesn't help: the real one counts"


def test_a_request_keeps_its_id_or_gets_one(proxy: Proxy, service: Service) -> None:
    with proxy.client() as client:
        given = client.get("/model-info", headers={"X-Request-Id": "from-the-client"})
        drawn = client.get("/model-info").headers["x-request-id"]
        refused = client.get("/metrics").headers["x-request-id"]

    assert given.headers["x-request-id"] == "from-the-client"
    wait_for(lambda: drawn in service.output(), "the line in the API's log")
    wait_for(lambda: refused in proxy.log(), "the line in the proxy's log")
    assert drawn not in proxy.log(), "the API logged that one"


def test_concurrent_requests_of_an_address_are_limited(proxy: Proxy, token: dict[str, str]) -> None:
    half = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
    with contextlib.ExitStack() as held, proxy.client(headers=token) as client:
        for _ in range(CONNECTIONS + 5):
            held.enter_context(proxy.connect()).sendall(half)
        wait_for(lambda: client.post("/predict", json=BODY).status_code == 429, "the limit")
        answer = client.post("/predict", json=BODY)

    assert "requests of your address" in str(problem(answer)["detail"])


def test_without_the_api_the_proxy_answers_502(tmp_path: Path) -> None:
    with proxying(tmp_path, "127.0.0.1:1") as alone, alone.client() as client:
        assert "The API does not answer" in str(problem(client.get("/docs"))["detail"])
