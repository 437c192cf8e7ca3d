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

OPERATIONS = 22
PER_OPERATION = 25
ADMIN = {"username": "anna", "password": "correct horse"}
KNOWN = [ADMIN, {"username": "bert", "password": "battery staple"}]
"""Whom a caller knows; a name drawn at random is never anybody's. Anna stays, being the last admin."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def api(serve: Any, make_artifact: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a server with room for any number of failed logins."""
    with serve(make_artifact(), tmp_path_factory.mktemp("described"), login_attempts=10_000) as (address, _):
        yield f"http://{address}"


def operations_of(address: str) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    return [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]


def with_known(case: Any, known: dict[str, str] | None) -> Any:
    """Put a known name, and its password, where any would stand."""
    for place in (case.path_parameters, case.body):
        if known and isinstance(place, dict):
            place.update({name: value for name, value in known.items() if name in place})
    return case


def is_of_anna(case: Any) -> bool:
    """Tell whether a change would end the token that the fuzzer itself carries."""
    return case.operation.path.endswith("/password") and bool(case.path_parameters["username"] == ADMIN["username"])


def test_every_answer_is_one_that_the_description_names(api: str) -> None:
    operations = operations_of(api)
    token = httpx.post(f"{api}/token", data=ADMIN, trust_env=False).json()["access_token"]
    seen: set[tuple[str, int]] = set()

    @settings(max_examples=OPERATIONS * PER_OPERATION, suppress_health_check=list(HealthCheck), database=None)
    @given(
        case=st.builds(
            with_known,
            st.one_of([operation.as_strategy() for operation in operations]),
            st.sampled_from([None, *KNOWN]),
        )
    )
    def check(case: Any) -> None:
        if is_of_anna(case):
            return
        # No schema can say which text is a table, that a tensor's shape is that of its data, or who is known.
        described = case.operation.path == "/predict" and case.media_type == "application/json"
        excluded = [] if described else [positive_data_acceptance]
        answer = case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, excluded_checks=excluded)
        seen.add((case.operation.path, answer.status_code))

    assert len(operations) == OPERATIONS
    check()
    assert {("/token", 200), ("/admin/users", 201), ("/admin/users/{username}/disable", 204)} <= seen, seen


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
