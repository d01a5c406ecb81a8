"""What the OpenAPI document says beyond the types of the handlers: what may be sent, made from the generic contract."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec
from litestar import Request
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody

from adapters.channels.generic_contract import GenericOrder, GenericOrders

DESCRIPTION: Final = """\
OrderSpine takes orders in from every sales channel and shows what became of them.

*Sending twice is harmless.* An order is recognised by channel, shop and order number; what is known already is answered
`repeated`. After a broken connection or a 503, send the same again.

*Errors* are `application/problem+json`: what is wrong (`detail`), where (`where`), what to do (`advice`), and a
`correlation_id`. Every answer has it as `X-Correlation-Id`; a request may bring its own.
"""
EXAMPLE: Final[dict[str, Any]] = {
    "order_no": "SO-2026-0001",
    "shop": "main-shop",
    "status": "paid",
    "currency": "CNY",
    "ordered_at": "2026-03-01T10:03:04+08:00",
    "modified_at": "2026-03-01T10:05:00+08:00",
    "payable": "398.00",
    "paid": "398.00",
    "lines": [{"id": "1", "sku": "SKU-1", "name": "Cordless drill 18 V", "quantity": 2, "unit_price": "199.00"}],
    "receiver": {"province": "浙江省", "city": "杭州市"},
    "invoice_type": "electronic",
}
_REF: Final = "#/components/schemas/{name}"


@dataclass
class PushOperation(Operation):
    """Says that a push has a body; `WholeDocument` says which."""

    def __post_init__(self) -> None:
        """Describe it."""
        self.request_body = RequestBody(
            content={
                "application/json": OpenAPIMediaType(),
                "text/csv": OpenAPIMediaType(),
                "application/octet-stream": OpenAPIMediaType(),
            },
            description='One order, an array of orders, or `{"orders": [...]}`, in the form of `channel`. What is '
            "described here is the form `generic`; others are sent as their platform gives them. At most 32 MiB.",
            required=True,
        )


@dataclass
class WebhookOperation(Operation):
    """Describes the body of a webhook: whatever the platform sends."""

    def __post_init__(self) -> None:
        """Describe it."""
        self.request_body = RequestBody(
            content={"application/json": OpenAPIMediaType(), "application/octet-stream": OpenAPIMediaType()},
            description="What the platform sends, unchanged. At most 1 MiB.",
            required=False,
        )


class WholeDocument(JsonRenderPlugin):
    """Serves the document, completed by the generic contract's own schemas."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Return the document."""
        return super().render(request, completed(openapi_schema))


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with what may be pushed."""
    (order, orders), parts = msgspec.json.schema_components((GenericOrder, GenericOrders), ref_template=_REF)
    schemas = {**document["components"]["schemas"], **parts}
    post = document["paths"]["/api/v1/orders"]["post"]
    content = {
        **post["requestBody"]["content"],
        "application/json": {
            "schema": {"oneOf": [order, {"type": "array", "items": order, "minItems": 1, "maxItems": 500}, orders]},
            "examples": {
                "one": {"summary": "One order", "value": EXAMPLE},
                "many": {"summary": "Several", "value": {"orders": [EXAMPLE, {**EXAMPLE, "order_no": "SO-2026-0002"}]}},
            },
        },
    }
    paths = {name: dict(path) for name, path in document["paths"].items()}
    paths["/api/v1/orders"]["post"] = {**post, "requestBody": {**post["requestBody"], "content": content}}
    for name, path in paths.items():
        for method, operation in path.items():
            path[method] = _plain(operation)
            if name.startswith("/webhooks/"):
                answer = {"description": "What the platform expects to hear.", "content": {"*/*": {}}}
                path[method]["responses"] = {**operation["responses"], "200": answer}
    return {**document, "paths": paths, "components": {**document["components"], "schemas": schemas}}


def _plain(operation: dict[str, Any]) -> dict[str, Any]:
    """Return an operation whose optional parameters are left out and not null: an address cannot say null."""
    parameters = []
    for parameter in operation.get("parameters", ()):
        schema = dict(parameter["schema"])
        schema.pop("description", None)
        if isinstance(kinds := schema.get("type"), list):
            schema["type"] = next(kind for kind in kinds if kind != "null")
        if "enum" in schema:
            schema["enum"] = [value for value in schema["enum"] if value is not None]
        for choice in schema.pop("oneOf", ()):
            if choice != {"type": "null"}:
                schema.update(choice)
        parameters.append({**parameter, "schema": schema})
    return {**operation, "parameters": parameters} if parameters else dict(operation)
