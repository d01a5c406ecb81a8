"""Errors as every answer tells them (RFC 9457): what is wrong, where, what to do, and the id under which to ask."""

from http import HTTPStatus
from typing import Annotated, Any

import msgspec

MEDIA_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a request was not done."""

    type: Annotated[
        str, msgspec.Meta(description="Name of the kind of problem.", examples=["urn:orderspine:problem:too-large"])
    ]
    title: Annotated[str, msgspec.Meta(description="The kind of problem, in words.", examples=["Too large"])]
    status: Annotated[int, msgspec.Meta(description="HTTP status of the answer.", examples=[413])]
    detail: Annotated[
        str, msgspec.Meta(description="What is wrong.", examples=["the body has more than 33554432 bytes"])
    ]
    correlation_id: Annotated[
        str,
        msgspec.Meta(
            description="Id of this request in the gateway's log and in the events it caused.",
            examples=["5d0f6a1c2b3e4f50"],
        ),
    ]
    where: Annotated[
        str, msgspec.Meta(description="The part of the request that is wrong, where one is.", examples=["body"])
    ] = ""
    advice: Annotated[
        str, msgspec.Meta(description="What to do about it.", examples=["send the orders in several requests"])
    ] = ""


TITLES = {
    "bad-request": "Bad request",
    "not-authorised": "Not authorised",
    "forbidden": "Not allowed",
    "not-found": "Not found",
    "method-not-allowed": "Method not allowed",
    "too-slow": "Too slow",
    "conflict": "Under way already",
    "too-large": "Too large",
    "unsupported-media-type": "Unsupported media type",
    "not-taken": "Nothing was taken in",
    "key-used": "Idempotency key used before",
    "internal": "Fault of ours",
    "busy": "Busy",
}


class Refused(Exception):
    """A request that is answered with a problem."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        where: str = "",
        advice: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """`kind` is one of `TITLES`."""
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.where = where
        self.advice = advice
        self.headers = headers or {}

    def problem(self, correlation: str) -> Problem:
        """Return what is answered."""
        return Problem(
            f"urn:orderspine:problem:{self.kind}",
            TITLES[self.kind],
            self.status,
            self.detail,
            correlation,
            self.where,
            self.advice,
        )


def busy(reason: str, retry_after_s: int, advice: str) -> Refused:
    """Return the refusal that asks to come again."""
    return Refused(503, "busy", reason, advice=advice, headers={"Retry-After": str(retry_after_s)})


def of_status(status: int, detail: str) -> Refused:
    """Return the refusal for a plain HTTP status."""
    kinds = {
        401: "not-authorised",
        403: "forbidden",
        404: "not-found",
        405: "method-not-allowed",
        413: "too-large",
        415: "unsupported-media-type",
        503: "busy",
    }
    server_fault = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return Refused(status, kinds.get(status, "internal" if server_fault else "bad-request"), detail)


def encode(problem: Any) -> bytes:
    """Return the bytes of the answer."""
    return msgspec.json.encode(problem)
