"""The service against its own OpenAPI document, by a fuzzer."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

OPERATIONS = 26
PER_OPERATION = 12
ADMIN = {"username": "anna", "password": "correct horse"}
KNOWN = [ADMIN, {"username": "bert", "password": "battery staple"}]
"""Whom a caller knows; a name drawn at random is never anybody's."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def api(serve: Any, make_artifact: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a server with room for any number of failed logins."""
    with serve(make_artifact(), tmp_path_factory.mktemp("described"), login_attempts=10_000) as (address, _):
        yield f"http://{address}"


def operations_of(address: str) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    return [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]


def with_known(case: Any, known: dict[str, str] | None) -> Any:
    """Put a known name, and its password, where any would stand; not where it would cut the fuzzer off."""
    for place in (case.body, case.path_parameters if known != ADMIN else None):
        if known and isinstance(place, dict):
            place.update({name: value for name, value in known.items() if name in place})
    return case


def test_every_answer_is_one_that_the_description_names(api: str) -> None:
    operations = operations_of(api)
    token = httpx.post(f"{api}/token", data=ADMIN, trust_env=False).json()["access_token"]

    @settings(max_examples=OPERATIONS * PER_OPERATION, suppress_health_check=list(HealthCheck), database=None)
    @given(
        case=st.builds(
            with_known,
            st.one_of([operation.as_strategy() for operation in operations]),
            st.sampled_from([None, *KNOWN]),
        )
    )
    def check(case: Any) -> None:
        # No schema can say which text is a table, that a tensor's shape is that of its data, or who is known.
        described = case.operation.path == "/predict" and case.media_type == "application/json"
        excluded = [] if described else [positive_data_acceptance]
        case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, excluded_checks=excluded)

    assert len(operations) == OPERATIONS
    check()
    assert httpx.get(f"{api}/admin/users", headers={"Authorization": f"Bearer {token}"}, trust_env=False).is_success


def test_what_a_known_caller_does_is_answered_as_described(api: str) -> None:
    operations = {(each.method.upper(), each.path): each for each in operations_of(api)}
    login = operations["POST", "/token"].Case(media_type="application/x-www-form-urlencoded", body=ADMIN)
    headers = {"Authorization": f"Bearer {login.call_and_validate().json()['access_token']}"}
    cleo, one = {"username": "cleo", "password": "battery staple"}, "/admin/users/{username}"
    add = operations["POST", "/admin/users"].Case(media_type="application/json", body=cleo)
    changes = [
        operations[method, path].Case(path_parameters={"username": "cleo"})
        for method, path in (("POST", f"{one}/disable"), ("POST", f"{one}/enable"), ("DELETE", one))
    ]

    statuses = [case.call_and_validate(headers=headers).status_code for case in (add, *changes)]

    assert statuses == [201, 204, 204, 204]


def test_a_login_too_many_is_answered_as_described(serve: Any, make_artifact: Any, tmp_path: Any) -> None:
    with serve(make_artifact(), tmp_path, login_attempts=1) as (address, _):
        (operation,) = [each for each in operations_of(f"http://{address}") if each.path == "/token"]
        case = operation.Case(media_type="application/x-www-form-urlencoded", body=ADMIN | {"password": "wrong"})
        statuses = [case.call_and_validate(excluded_checks=[positive_data_acceptance]).status_code for _ in range(2)]
    assert statuses == [401, 429]


def test_every_operation_but_the_open_ones_asks_for_a_token(api: str) -> None:
    operations = operations_of(api)
    with httpx.Client(base_url=api, trust_env=False) as client:
        open_ = {
            operation.path
            for operation in operations
            if client.request(operation.method.upper(), operation.path).status_code != 401
        }
    described = {each.path for each in operations if not each.definition.raw.get("security")}
    assert open_ == described
