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


def test_the_bare_address_leads_to_the_docs(service: Any) -> None:
    answer = service.client.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "docs")


def test_the_docs_work_behind_a_path_prefix(service: Any) -> None:
    for path in ("/docs", "/docs/docs.js", "/docs/docs.css"):
        assert not re.search(r"""(href=|src=|fetch\(|url\()["']?/""", service.client.get(path).text)


def test_the_docs_load_nothing_from_other_servers(service: Any) -> None:
    page = service.client.get("/docs").text
    files = [file for file in re.findall(r'(?:src|href)="([^"]+)"', page) if file != "login"]
    assert [service.client.get(file).status_code for file in files] == [200] * 3
    assert not any("//" in file for file in files)


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
