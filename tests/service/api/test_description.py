"""The service against its own OpenAPI document, by a fuzzer."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

PATHS = "^/(predict|model-info|health|metrics|v2)"


@pytest.mark.slow
def test_every_answer_is_one_that_the_description_names(live: Any) -> None:
    address, token, _ = live
    schema = schemathesis.openapi.from_url(f"http://{address}/openapi.json").include(path_regex=PATHS)
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]

    @settings(max_examples=14 * 25, suppress_health_check=list(HealthCheck), database=None)
    @given(case=st.one_of([operation.as_strategy() for operation in operations]))
    def check(case: Any) -> None:
        # No schema can say which text is a table, or that a tensor's shape is that of its data.
        described = case.operation.path == "/predict" and case.media_type == "application/json"
        excluded = [] if described else [positive_data_acceptance]
        case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, excluded_checks=excluded)

    assert len(operations) == 14
    check()
