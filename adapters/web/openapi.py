"""What the OpenAPI document says beyond the types of the handlers: what may be sent."""

from dataclasses import dataclass, field
from typing import Any

from litestar.openapi.spec import Example, OpenAPIMediaType, Operation, RequestBody

DESCRIPTION = """\
OrderSpine takes orders in from every sales channel and shows what became of them.

*Sending twice is harmless.* An order is recognised by channel, shop and order number; what is known already is answered
`repeated`. After a broken connection or a 503, send the same again.

*Errors* are `application/problem+json`: what is wrong (`detail`), where (`where`), what to do (`advice`), and a
`correlation_id`. Every answer has it as `X-Correlation-Id`; a request may bring its own.
"""


@dataclass
class PushOperation(Operation):
    """Describes the body of a push."""

    def __post_init__(self) -> None:
        """Describe it."""
        self.request_body = push_body()


@dataclass
class WebhookOperation(Operation):
    """Describes the body of a webhook: whatever the platform sends."""

    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Describe it."""
        self.request_body = RequestBody(
            content={"*/*": OpenAPIMediaType()}, description="What the platform sends, unchanged.", required=False
        )


def push_body() -> RequestBody:
    """Return what may be pushed."""
    return RequestBody(content={"application/json": OpenAPIMediaType(examples={"one": Example(value={})})})
