"""Calls of warehouses that others run, at `/wms/NAME`: Qimen's XML in, Qimen's XML out, whatever happens.

What is wrong with a call is told as a `failure` in an answer of status 200, as such callers expect it; they call again.
"""

from typing import Protocol

import structlog

from adapters.web.metrics import Metrics
from adapters.web.ports import Busy
from adapters.web.problems import Refused
from adapters.web.webhooks import place_of
from domain.platforms import PushRequest

log = structlog.get_logger(__name__)

TEXT = "text/xml"


class WmsCalls(Protocol):
    """Takes calls of warehouses."""

    async def call(self, name: str, request: PushRequest, correlation: str) -> bytes | None:
        """Return the answer to a call, once what it tells is committed; None where there is no warehouse of that name.

        Raises:
            Busy: not now; it may have been taken in.
        """
        ...

    def failure(self, code: str, message: str) -> bytes:
        """Return the answer that a call was not taken in."""
        ...


async def answer(calls: WmsCalls | None, name: str, request: PushRequest, correlation: str, metrics: Metrics) -> bytes:
    """Return the answer to a call.

    Raises:
        Refused: 404, there is no such warehouse.
    """
    if calls is None:
        raise _unknown()
    try:
        given = await calls.call(name, request, correlation)
    except Busy as busy:
        return calls.failure("busy", f"{busy.reason}; call again later")
    except Exception as error:  # noqa: BLE001  its text may quote the call
        log.error("wms.fault", wms=name, correlation=correlation, fault=place_of(error))  # noqa: TRY400
        return calls.failure("internal", f"this should not happen; call again later (correlation id {correlation})")
    if given is None:
        metrics.refused_push("wms", "unknown warehouse")
        raise _unknown()
    return given


def _unknown() -> Refused:
    advice = "`orderspine wms list` names them"
    return Refused(404, "not-found", "there is no warehouse of this name", where="path", advice=advice)
