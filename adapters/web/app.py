"""The application: routes, their documentation, and how errors are told. `make_app` puts the guard before all of it."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import structlog
from litestar import Litestar, Request, Response, get, post
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.spec import Components, SecurityScheme, Tag
from litestar.params import HeaderParameter, PathParameter, QueryParameter

from adapters.web.callbacks import CallbackDesk, Callbacks
from adapters.web.callbacks import Kind as CallbackKind
from adapters.web.documents import KEY_EXAMPLE, NotTaken, OrderDetail, OrderPage, Receipt, State, detail_of, row_of
from adapters.web.guard import Guard, Limits, Passed, as_refused
from adapters.web.memory import Memory
from adapters.web.metrics import CONTENT_TYPE, Metrics
from adapters.web.openapi import DESCRIPTION, PushOperation, WebhookOperation, WholeDocument
from adapters.web.ports import Busy, Hooks, Intake, Question, Records, Standing, Watch
from adapters.web.problems import MEDIA_TYPE, Problem, Refused, encode, of_status
from adapters.web.pushes import Push, Pushes
from adapters.web.schemas import Published
from adapters.web.schemas import routes as schema_routes
from adapters.web.tokens import TokenBook
from adapters.web.webhooks import Webhooks, place_of
from adapters.web.wms import TEXT, WmsCalls
from adapters.web.wms import answer as wms_answer
from domain.ids import BadId, is_key, order_key

log = structlog.get_logger(__name__)

LIMIT_MAX = 200
WORKER_LAG_S_MAX = 10.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_POSITION = re.compile(r"[0-9]{1,18}")

_ERRORS = {
    400: "Not understood: what, where and what to do about it.",
    401: "No token, or an unknown one.",
    403: "The token has no right to this.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    409: "A request with the same idempotency key is being served.",
    413: "The body is too large, or holds more orders than are taken at once.",
    415: "A type of body that is not taken.",
    503: "Not now; nothing is lost by sending it again after `Retry-After` seconds.",
}

_DETAILS = {404: "there is nothing at this address", 405: "this is not how this address is used"}

AnyRequest = Request[Any, Any, Any]


def _errors(*statuses: int) -> dict[int, ResponseSpec]:
    return {
        status: ResponseSpec(Problem, description=_ERRORS[status], media_type=MEDIA_TYPE, generate_examples=False)
        for status in statuses
    }


def make_app(
    *,
    intake: Intake,
    hooks: Hooks,
    records: Records,
    callbacks: CallbackDesk,
    watch: Watch,
    tokens: TokenBook,
    memory: Memory,
    metrics: Metrics,
    limits: Limits,
    now_ms: Callable[[], int],
    version: str,
    wms: WmsCalls | None = None,
    schemas: Mapping[str, Published] | None = None,
) -> Guard:
    """Return the ASGI application; `schemas`: what is published, by name."""
    webhooks = Webhooks(hooks, intake, memory, metrics, now_ms)
    pushes = Pushes(intake, memory, metrics)
    services = Callbacks(callbacks, metrics)

    async def webhook(request: AnyRequest, connection: str) -> Response[bytes]:
        passed = _passed(request)
        asked = webhooks.request(request.method, request.scope["query_string"], request.scope["headers"], passed.body)
        answer = await webhooks.push(connection, asked, passed.correlation)
        return Response(answer.body, status_code=answer.status, media_type=answer.content_type)

    Name = Annotated[  # noqa: N806  a type
        str,
        PathParameter(
            description="Name of the connection in `channels.json`, or of its channel where it is the only one."
        ),
    ]

    @post(
        "/webhooks/{connection:str}",
        operation_id="takeWebhook",
        operation_class=WebhookOperation,
        summary="Take a platform's push",
        tags=["webhooks"],
        status_code=200,
        responses=_errors(400, 401, 404, 408, 413, 415, 503),
    )
    async def take_webhook(request: AnyRequest, connection: Name) -> Response[bytes]:
        """Verify a push by the platform's rules, make it durable, and give the answer the platform expects."""
        return await webhook(request, connection)

    @get(
        "/webhooks/{connection:str}",
        operation_id="checkWebhook",
        summary="Answer a platform's check of the address",
        tags=["webhooks"],
        responses=_errors(400, 401, 404, 503),
    )
    async def check_webhook(request: AnyRequest, connection: Name) -> Response[bytes]:
        """Some platforms ask, signed, whether the address is ours before they push to it."""
        return await webhook(request, connection)

    @post("/wms/{name:str}", status_code=200, include_in_schema=False)
    async def take_wms_call(
        request: AnyRequest, name: Annotated[str, PathParameter(description="Name of the WMS in `wms.json`.")]
    ) -> Response[bytes]:
        """Take a call of a warehouse that others run."""
        passed = _passed(request)
        asked = webhooks.request(request.method, request.scope["query_string"], request.scope["headers"], passed.body)
        given = await wms_answer(wms, name, asked, passed.correlation, metrics)
        return Response(given, media_type=TEXT)

    async def callback(request: AnyRequest, kind: CallbackKind, name: str, place: str) -> Response[bytes]:
        passed = _passed(request)
        asked = webhooks.request(request.method, request.scope["query_string"], request.scope["headers"], passed.body)
        answer = await services.call(kind, name, place, asked, passed.correlation)
        return Response(answer.body, status_code=answer.status, media_type=answer.content_type)

    Service = Annotated[str, PathParameter(description="Name of the service in its file.")]  # noqa: N806  a type

    @post(
        "/tracks/{service:str}/{order:str}",
        operation_id="takeTrack",
        operation_class=WebhookOperation,
        summary="Take what a carriers' track service tells of a parcel",
        tags=["webhooks"],
        status_code=200,
        responses=_errors(400, 401, 404, 408, 413, 415, 503),
    )
    async def take_track(
        request: AnyRequest,
        service: Service,
        order: Annotated[str, PathParameter(description="Key of the order, as the service was given it.")],
    ) -> Response[bytes]:
        """Verify it, record it, and answer as the service expects; failures are told in its form, too."""
        return await callback(request, "tracks", service, order)

    @post(
        "/payments/{service:str}",
        operation_id="takePayment",
        operation_class=WebhookOperation,
        summary="Take a payment service's notice",
        tags=["webhooks"],
        status_code=200,
        responses=_errors(400, 401, 404, 408, 413, 415, 503),
    )
    async def take_payment(request: AnyRequest, service: Service) -> Response[bytes]:
        """Verify it, record it, and answer as the service expects; failures are told in its form, too."""
        return await callback(request, "payments", service, "")

    @post(
        "/api/v1/orders",
        operation_id="pushOrders",
        operation_class=PushOperation,
        summary="Push orders",
        tags=["orders"],
        status_code=200,
        security=[{"token": []}],
        responses={
            200: ResponseSpec(
                Receipt, description="Committed: every order was taken in or known already.", generate_examples=False
            ),
            202: ResponseSpec(
                Receipt, description="Durable, not handled yet (`wait=durable`).", generate_examples=False
            ),
            207: ResponseSpec(
                Receipt,
                description="Committed: some orders were refused or quarantined, the others taken in.",
                generate_examples=False,
            ),
            **_errors(400, 401, 403, 408, 409, 413, 415, 503),
            422: ResponseSpec(
                NotTaken,
                description="Nothing in it could be taken in (its bytes are kept), or the idempotency key was used for "
                "another request.",
                media_type=MEDIA_TYPE,
                generate_examples=False,
            ),
        },
    )
    async def push_orders(
        request: AnyRequest,
        channel: Annotated[
            str,
            QueryParameter(
                description="Whose form the body has; `generic` is OrderSpine's own, described here.", max_length=64
            ),
        ] = "generic",
        shop: Annotated[str, QueryParameter(description="The shop, where the body names none.", max_length=200)] = "",
        wait: Annotated[
            Literal["commit", "durable"],
            QueryParameter(
                description="`commit`: answer when the orders are handled, with what became of each. `durable`: answer "
                "when they are safe on the disk."
            ),
        ] = "commit",
        idempotency_key: Annotated[
            str | None,
            HeaderParameter(
                name="Idempotency-Key",
                description="The same key with the same request gets the same answer for 24 hours. Not needed for "
                "safety: an order that comes again is recognised.",
                pattern=r"^[\x21-\x7e]{1,200}$",
            ),
        ] = None,
    ) -> Response[bytes]:
        """Take one order or an array of them; sending the same again changes nothing."""
        _check_query(request, {"channel", "shop", "wait"})
        passed = _passed(request)
        given = await pushes.push(
            Push(
                passed.body,
                request.headers.get("content-type", ""),
                channel,
                shop,
                wait == "commit",
                idempotency_key,
                passed.holder,
                passed.correlation,
            )
        )
        headers = {"Idempotent-Replayed": "true"} if given.replayed else {}
        return Response(given.body, status_code=given.status, media_type=given.media_type, headers=headers)

    @get(
        "/api/v1/orders",
        operation_id="listOrders",
        summary="List orders",
        tags=["orders"],
        security=[{"token": []}],
        responses=_errors(400, 401, 403, 503),
    )
    async def list_orders(
        request: AnyRequest,
        status: Annotated[State | None, QueryParameter(description="Only orders in this state.")] = None,
        channel: Annotated[str | None, QueryParameter(description="Only this channel.", max_length=64)] = None,
        shop: Annotated[str | None, QueryParameter(description="Only this shop.", max_length=200)] = None,
        text: Annotated[
            str | None,
            QueryParameter(description="Only orders of this order number or tracking number, exactly.", max_length=200),
        ] = None,
        changed_since: Annotated[
            datetime | None,
            QueryParameter(
                description="Only orders that changed at or after this time, RFC 3339 with an offset (in an address, "
                "`+` is written `%2B`)."
            ),
        ] = None,
        limit: Annotated[int, QueryParameter(description="Most orders of a page.", ge=1, le=LIMIT_MAX)] = 50,
        cursor: Annotated[
            str | None, QueryParameter(description="`next` of the page before.", pattern=r"^[0-9]{1,18}$")
        ] = None,
    ) -> OrderPage:
        """Return orders, the last changed first. The read models follow the log within about a second."""
        _check_query(request, {"status", "channel", "shop", "text", "changed_since", "limit", "cursor"})
        question = Question(
            status or "",
            channel or "",
            shop or "",
            text or "",
            _since(changed_since),
            _before(cursor),
            limit + 1,
        )
        page = await records.orders(question)
        rows = [row_of(row) for row in page.rows[:limit]]
        more = str(rows[-1].position) if len(page.rows) > limit else None
        return OrderPage(rows, more, page.position)

    @get(
        "/api/v1/orders/{key:str}",
        operation_id="getOrder",
        summary="Look at one order",
        tags=["orders"],
        security=[{"token": []}],
        responses=_errors(400, 401, 403, 404, 503),
    )
    async def get_order(
        key: Annotated[
            str,
            PathParameter(
                description=f"Key of the order (`{KEY_EXAMPLE}`), or `channel:shop:order number` as they are."
            ),
        ],
    ) -> OrderDetail:
        """Return everything about an order that is not personal."""
        name = _order_key(key)
        row = await records.order(name) if name else None
        if row is None:
            raise Refused(
                404, "not-found", "there is no such order", where="path", advice="GET /api/v1/orders lists them"
            )
        return detail_of(row)

    @get(
        "/healthz", operation_id="health", summary="Whether the gateway runs", tags=["probes"], media_type="text/plain"
    )
    async def health() -> str:
        """Return `ok` as long as the gateway serves requests."""
        return "ok\n"

    @get(
        "/readyz",
        operation_id="readiness",
        summary="Whether orders are taken in",
        tags=["probes"],
        responses={
            503: ResponseSpec(
                Standing, description="Not ready; `refusal` says why, or a figure does.", generate_examples=False
            )
        },
    )
    async def readiness() -> Response[Standing]:
        """Return how broker, worker, read models and disk are; 503 where orders cannot be taken in and handled."""
        standing = watch.standing
        ready = not standing.refusal and standing.worker and standing.worker_lag_s < WORKER_LAG_S_MAX
        return Response(standing, status_code=200 if ready else 503)

    @get("/metrics", operation_id="metrics", summary="Figures for Prometheus", tags=["probes"], media_type="text/plain")
    async def figures() -> Response[bytes]:
        """Return all figures in Prometheus's text form."""
        return Response(metrics.render(watch.standing), media_type=CONTENT_TYPE)

    app = Litestar(
        [
            take_webhook,
            check_webhook,
            take_wms_call,
            take_track,
            take_payment,
            push_orders,
            list_orders,
            get_order,
            health,
            readiness,
            figures,
            *schema_routes(schemas or {}, _errors(400, 401, 403, 404, 503)),
        ],
        exception_handlers={
            Refused: _refused,
            Busy: _busy,
            ValidationException: _invalid,
            HTTPException: _http,
            Exception: _fault,
        },
        openapi_config=OpenAPIConfig(
            title="OrderSpine gateway",
            version=version,
            description=DESCRIPTION,
            path="/schema",
            use_handler_docstrings=True,
            render_plugins=[WholeDocument()],
            components=Components(
                security_schemes={
                    "token": SecurityScheme(
                        type="http", scheme="bearer", description="`orderspine api-token add NAME` makes one."
                    )
                }
            ),
            tags=[
                Tag("orders", "Push orders, and look at them."),
                Tag("schemas", "What events and documents look like, in every version."),
                Tag("webhooks", "Where platforms push to."),
                Tag("probes", "For whoever keeps it running."),
            ],
        ),
        logging_config=None,
        request_max_body_size=None,
        debug=False,
        pdb_on_exception=False,
    )
    return Guard(app, tokens, watch, metrics, limits)


def _passed(request: AnyRequest) -> Passed:
    passed: Passed = request.scope["state"]["passed"]
    return passed


def _check_query(request: AnyRequest, known: set[str]) -> None:
    """Refuse what would be passed over: parameters that mean nothing, and all but one of those of the same name."""
    given = Counter(name for name, _ in request.query_params.multi_items())
    unknown = sorted(set(given) - known)
    if unknown:
        raise Refused(
            400,
            "bad-request",
            f"there is no parameter {unknown[0][:40]!r}",
            where="query",
            advice=f"known are {', '.join(sorted(known))}",
        )
    for name, times in given.items():
        if times > 1:
            raise Refused(
                400, "bad-request", "it is there more than once", where=f"query {name}", advice="give it one value"
            )


def _since(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise Refused(
            400,
            "bad-request",
            "the time has no offset, so it could be any of 24 hours",
            where="query changed_since",
            advice="write 2026-03-01T10:00:00%2B08:00, or 2026-03-01T02:00:00Z",
        )
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _before(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not _POSITION.fullmatch(cursor):
        raise Refused(400, "bad-request", "this is no cursor", where="query cursor", advice="use `next` as it is")
    return int(cursor)


def _order_key(text: str) -> str | None:
    if is_key(text):
        return text
    parts = text.split(":", 2)
    if len(parts) != 3:  # noqa: PLR2004  channel, shop, number
        return None
    try:
        return order_key(*parts)
    except BadId:
        return None


def _answer(request: AnyRequest, refused: Refused) -> Response[bytes]:
    return Response(
        encode(refused.problem(_passed(request).correlation)),
        status_code=refused.status,
        media_type=MEDIA_TYPE,
        headers=refused.headers,
    )


def _refused(request: AnyRequest, error: Refused) -> Response[bytes]:
    return _answer(request, error)


def _busy(request: AnyRequest, error: Busy) -> Response[bytes]:
    return _answer(request, as_refused(error))


def _invalid(request: AnyRequest, error: ValidationException) -> Response[bytes]:
    first: Any = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    source = first.get("source", "query")
    where = f"{getattr(source, 'value', source)} {first.get('key', '')}".strip()
    said = str(first.get("message", error.detail))
    return _answer(request, Refused(400, "bad-request", said, where=where, advice="see /schema/openapi.json"))


def _http(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    refused = of_status(error.status_code, _DETAILS.get(error.status_code, error.detail))
    refused.advice = "see /schema/openapi.json"
    if error.headers:
        refused.headers = dict(error.headers)
    return _answer(request, refused)


def _fault(request: AnyRequest, error: Exception) -> Response[bytes]:
    correlation = _passed(request).correlation
    log.error("http.fault", correlation=correlation, fault=place_of(error))
    return _answer(
        request, Refused(500, "internal", "this should not happen", advice=f"tell us the correlation id {correlation}")
    )
