"""Requests that nobody thought of: schemathesis makes them from the server's OpenAPI document."""

import pytest
from hypothesis import HealthCheck, settings

schemathesis = pytest.importorskip("schemathesis")
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from mspt.serve.app import create_app  # noqa: E402
from mspt.serve.settings import Settings  # noqa: E402

# Left out: that all valid data is accepted. No schema can say which bytes are a photo.
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)
app = create_app(Settings(model="fast", timeout_s=20))
schema = schemathesis.openapi.from_asgi("/openapi.json", app)


@schema.parametrize()
@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_the_document_names(case: "schemathesis.Case") -> None:
    case.call_and_validate(checks=CHECKS)


def test_routes_were_found() -> None:
    paths = {operation.ok().path for operation in schema.get_all_operations()}
    assert {"/v1/score", "/v1/score/batch", "/v1/models"} <= paths
