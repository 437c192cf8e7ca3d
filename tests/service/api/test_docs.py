"""What the API tells about how to call it: its description, and the page that shows it."""

import json
import re
from typing import Any

import pytest


def test_the_description_has_the_fields_of_the_model_and_an_example_that_works(service: Any) -> None:
    document = service.client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    assert list(schemas["Instance"]["properties"]) == [each.name for each in service.artifact.contract.features]
    assert schemas["Instance"]["required"] == ["size", "kind", "flag"]
    assert service.post(json.dumps(schemas["PredictRequest"]["example"])).json().keys() == {
        "predictions", "probabilities", "model",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_loads_files_of_this_service_by_relative_urls_only(service: Any, path: str) -> None:
    files = {path.removeprefix("/"): service.client.get(path).text}
    while new := {name for text in files.values() for name in linked_files(text)} - files.keys():
        files |= {name: service.client.get(f"/{name}").raise_for_status().text for name in new}
    assert len(files) > 2
    assert not any(
        re.search(r"""(href=|src=|fetch\(|call\(|from |url\()["'`](/|[a-z]+:)""", text) for text in files.values()
    )


def linked_files(text: str) -> set[str]:
    """Return the files that a page or a script loads."""
    return {f"page/{name}" for name in re.findall(r"""(?:src="page/|href="page/|from "\./)([a-z.]+)""", text)}


@pytest.mark.parametrize("path", ["/", "/docs", "/page/page.js"])
def test_pages_run_only_scripts_and_styles_of_this_service(service: Any, path: str) -> None:
    answer = service.client.get(path)
    policy = answer.headers["content-security-policy"]
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"} <= set(
        policy.split("; ")
    )
    assert not re.search(r"<script(?! [^>]*src=)|<style| style=| on[a-z]+=", answer.text) or path.endswith(".js")


@pytest.mark.parametrize("wanted", ["bytes=0-1", "bytes=x", "lines=1-2", "bytes=9999999-", "bytes=5-1"])
def test_a_page_is_sent_whole_whatever_range_is_asked_for(service: Any, wanted: str) -> None:
    whole = service.client.get("/page/page.js")
    part = service.client.get("/page/page.js", headers={"Range": wanted})
    assert (part.status_code, part.content) == (200, whole.content)
    assert whole.headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize("issuer", [None, "http://127.0.0.1:9/staff/"])
def test_the_description_names_each_way_to_authenticate(start: Any, issuer: str | None) -> None:
    client = {"oidc_client_id": "predictions", "oidc_scopes": {"predict": {}}}
    document = start(oidc_issuer=issuer, **client).client.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert schemes.pop("single_sign_on", {}).get("openIdConnectUrl") == (
        issuer and "http://127.0.0.1:9/staff/.well-known/openid-configuration"
    )
    assert schemes.keys() == {"token", "api_key"}
    offered = document["paths"]["/predict"]["post"]["security"]
    assert [next(iter(each)) for each in offered] == ["token", "api_key", *(["single_sign_on"] if issuer else [])]


@pytest.mark.parametrize("name", ["none.js", "..%2fapp.py", "%2e%2e/app.py", "__init__.py", "."])
def test_no_other_files_are_served(service: Any, name: str) -> None:
    assert service.client.get(f"/page/{name}").status_code == 404
