"""A warehouse called in the style of Qimen: create, query and cancel delivery orders, query stock.

Methods: `deliveryorder.create`, `deliveryorder.query`, `order.cancel`, `inventory.query`. Fields:
github.com/yellbuy/go-ec-openapi, `qimen/deliveryorder_create.go` and `qimen/order_cancel.go`;
github.com/bububa/opentaobao, `model/qimen` (`DeliveryOrder`, `DeliveryOrderQueryRequest`, `Criteria`, `Item`), which
are made from Taobao's documentation. Codes of failures are each warehouse's own: whether a delivery order is there is
asked, and never read out of a refusal.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from adapters.platforms.answers import ASK_FIRST
from adapters.platforms.http import Answer, Http
from adapters.platforms.places import wall
from adapters.platforms.taobao_client import DOWN, KEYS, LIMITED, REMOTE
from adapters.wms.protocol import TEXT, signed
from adapters.wms.settings import WmsSettings
from adapters.wms.xml import BadXml, Element, listed, node, read, text, write
from domain.platforms import NotAuthorised, OutcomeUnknown, PlatformBusy, PlatformRefused
from domain.wms import DeliveryOrder, Receiver, WmsStock

CALLS_PER_S: Final = 20.0
CRITERIA_MAX: Final = 50
SALE: Final = "JYCK"
"""一般交易出库: goods of an order."""
PICKED: Final = "picked"
_MESSAGE_MAX: Final = 300
_SIGN: Final = "sign-check-failure"
_OK: Final = 200
_NUMBER: Final = re.compile(r"[0-9]{7,}")
"""May be part of a telephone number."""
GONE: Final = frozenset({"CANCELED", "CANCELLED", "CLOSED", "REJECT"})
"""Statuses of a delivery order that nobody picks any more."""
# [inferred] Which platforms Qimen has a code for; others are OTHER.
_SOURCES: Final = {"taobao": "TB", "jd": "JD", "pos": "POS"}


class _Found(NamedTuple):
    reference: str
    status: str


class QimenWms:
    """The port `domain.wms.Wms`. Close it; make it in a running event loop."""

    def __init__(
        self, settings: WmsSettings, secret: Callable[[], str], now_ms: Callable[[], int], *, timeout_s: float = 15.0
    ) -> None:
        """Nothing is sent yet; `secret` is asked at each call.

        Raises:
            ValueError: the address is none.
        """
        self._settings = settings
        self._secret = secret
        self._now_ms = now_ms
        self._http = Http(settings.url, per_s=CALLS_PER_S, burst=int(CALLS_PER_S), timeout_s=timeout_s)

    async def create(self, order: DeliveryOrder) -> str:
        """Have it picked; see `Wms.create`."""
        answer = await self._call("deliveryorder.create", self._create(order), repeatable=False)
        if not _failed(answer):
            return text(answer, "deliveryOrderId")
        # It may be refused because it is there already.
        found = await self._find(order.code, order.warehouse)
        if found is not None and found.status not in GONE:
            return found.reference
        raise _refusal(answer, "the warehouse refuses the delivery order", order.receiver)

    async def knows(self, code: str, warehouse: str) -> bool:
        """Tell whether it is there; see `Wms.knows`."""
        found = await self._find(code, warehouse)
        return found is not None and found.status not in GONE

    async def cancel(self, code: str, warehouse: str) -> str:
        """Call it off; see `Wms.cancel`."""
        asked = node(
            "request",
            warehouseCode=self._theirs(warehouse),
            ownerCode=self._settings.owner_code,
            orderCode=code,
            orderType=SALE,
        )
        answer = await self._call("order.cancel", asked, repeatable=True)
        if not _failed(answer):
            return "cancelled"
        found = await self._find(code, warehouse)
        if found is None:
            return "not there"
        if found.status in GONE:
            return "cancelled"
        refusal = _refusal(answer, f"too late to call it off ({found.status or 'status unknown'})", None)
        raise PlatformRefused(refusal.reason, "ask the warehouse to stop the parcel", code=PICKED)

    async def stock(self, warehouse: str, skus: Sequence[str]) -> list[WmsStock]:
        """Return what there is of SKUs; see `Wms.stock`."""
        theirs = self._theirs(warehouse)
        units: dict[str, int] = {}
        for begin in range(0, len(skus), CRITERIA_MAX):
            criteria = [
                node(
                    "criteria",
                    warehouseCode=theirs,
                    ownerCode=self._settings.owner_code,
                    itemCode=sku,
                    inventoryType="ZP",
                )
                for sku in skus[begin : begin + CRITERIA_MAX]
            ]
            asked = node("request", listed("criteriaList", criteria))
            answer = await self._call("inventory.query", asked, repeatable=True)
            if _failed(answer):
                raise _refusal(answer, "the warehouse does not tell its stock", None)
            for item in answer.findall("items/item"):
                if text(item, "warehouseCode") in ("", theirs) and text(item, "inventoryType") in ("", "ZP"):
                    sku = text(item, "itemCode")
                    units[sku] = units.get(sku, 0) + _units(item, "quantity") + _units(item, "lockQuantity")
        return [WmsStock(sku, units[sku]) for sku in skus if sku in units]

    async def check(self) -> str:
        """Try address and keys with a harmless question; return what to tell a person.

        Raises:
            PlatformError: see its kinds.
        """
        for ours in self._settings.warehouses:
            await self.stock(ours, ["orderspine-check"])
        return f"answers for {', '.join(self._settings.warehouses)}"

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()

    def _theirs(self, warehouse: str) -> str:
        theirs = self._settings.warehouses.get(warehouse)
        if theirs is None:
            raise ValueError(f"{self._settings.name} does not serve warehouse {warehouse}: add it, then retry")
        return theirs

    async def _find(self, code: str, warehouse: str) -> _Found | None:
        asked = node(
            "request",
            ownerCode=self._settings.owner_code,
            warehouseCode=self._theirs(warehouse),
            orderCode=code,
            page=1,
            pageSize=1,
        )
        answer = await self._call("deliveryorder.query", asked, repeatable=True)
        order = answer.find("deliveryOrder")
        if _failed(answer) or text(order, "deliveryOrderCode") != code:
            return None
        return _Found(text(order, "deliveryOrderId"), text(order, "status").upper())

    def _create(self, order: DeliveryOrder) -> Element:
        settings, to = self._settings, order.receiver
        receiver = node(
            "receiverInfo",
            name=to.name,
            zipCode=to.zip,
            mobile=to.phone,
            countryCode=to.country,
            province=to.province,
            city=to.city,
            area=to.district,
            town=to.town,
            detailAddress=to.detail,
            oaid=to.token,
        )
        lines = [
            node(
                "orderLine",
                orderLineNo=number,
                sourceOrderCode=order.order_no,
                ownerCode=settings.owner_code,
                itemCode=line.sku,
                itemName=line.name,
                inventoryType="ZP",
                planQty=line.quantity,
            )
            for number, line in enumerate(order.lines, 1)
        ]
        head = node(
            "deliveryOrder",
            node("senderInfo", **settings.sender) if settings.sender else None,
            receiver,
            deliveryOrderCode=order.code,
            orderType=SALE,
            warehouseCode=self._theirs(order.warehouse),
            orderFlag="COD" if order.collect else "",
            sourcePlatformCode=_SOURCES.get(order.channel, "OTHER"),
            createTime=wall(order.created_ms),
            placeOrderTime=wall(order.ordered_ms or order.created_ms),
            payTime=wall(order.paid_ms) if order.paid_ms else "",
            operateTime=wall(order.created_ms),
            shopNick=order.shop,
            arAmount=order.collect,
            logisticsCode=settings.logistics,
            isUrgency="Y" if order.urgent else "",
            # Whoever prints the label asks the platform by it for what the token stands for.
            oaidOrderSourceCode=order.order_no if to.token else "",
        )
        return node("request", head, listed("orderLines", lines))

    async def _call(self, method: str, asked: Element, *, repeatable: bool) -> Element:
        """Call; return the answer, a success or the warehouse's own refusal."""
        body = write(asked)
        params = signed(self._settings, self._secret(), method, body, self._now_ms())
        read_answer: list[Element] = []

        def judge(answer: Answer) -> None:
            read_answer[:] = [_judged(answer, repeatable=repeatable)]

        await self._http.call(
            "POST",
            "",
            params=params,
            headers={"content-type": TEXT},
            content=body,
            repeatable=repeatable,
            judge=judge,
        )
        return read_answer[0]


def _judged(answer: Answer, *, repeatable: bool) -> Element:
    """Return an answer as XML.

    Raises:
        PlatformError: it is none, or says that the call did not reach the warehouse as it should.
    """
    if answer.status != _OK:
        raise PlatformRefused(f"the warehouse answered with status {answer.status}", code=str(answer.status))
    try:
        root = read(answer.body)
    except BadXml as error:
        reason = f"the warehouse's answer is not XML ({error})"
        raise (PlatformBusy(reason) if repeatable else OutcomeUnknown(reason, ASK_FIRST)) from None
    if root.tag == "error_response":  # of the platform between us and the warehouse
        _raise_error(root, repeatable=repeatable)
    if text(root, "flag") not in ("success", "failure"):
        reason = "the warehouse's answer has no flag"
        raise PlatformBusy(reason) if repeatable else OutcomeUnknown(reason, ASK_FIRST)
    if text(root, "code") == _SIGN:
        raise NotAuthorised("the warehouse does not accept our signature", "look at app_key, customer_id and secret")
    return root


def _raise_error(root: Element, *, repeatable: bool) -> None:
    code = int(text(root, "code")) if text(root, "code").isdecimal() else 0
    sub_code = text(root, "sub_code")[:80]
    reason = f"Qimen: {sub_code or code}"
    if code in KEYS:
        raise NotAuthorised(reason, "look at app_key, customer_id and secret")
    if code in LIMITED | DOWN:
        raise PlatformBusy(reason)
    if code == REMOTE or sub_code.startswith("isp."):
        raise PlatformBusy(reason) if repeatable else OutcomeUnknown(reason, ASK_FIRST)
    raise PlatformRefused(reason, code=sub_code or str(code))


def _failed(answer: Element) -> bool:
    return text(answer, "flag") != "success"


def _refusal(answer: Element, what: str, receiver: Receiver | None) -> PlatformRefused:
    """Return the warehouse's refusal; what it quotes of the receiver is left out, since refusals are recorded."""
    code, message = text(answer, "code")[:80], text(answer, "message")
    for value in (getattr(receiver, field) for field in receiver.__struct_fields__) if receiver is not None else ():
        if value:
            message = message.replace(value, "…")
    if receiver is not None:
        message = _NUMBER.sub("…", message)
    return PlatformRefused(f"{what}: {code} {message[:_MESSAGE_MAX]}".strip(), code=code)


def _units(item: Element, name: str) -> int:
    value = text(item, name) or "0"
    try:
        return int(value)
    except ValueError:
        raise PlatformRefused(f"the warehouse tells {name} as no whole number", "ask whoever runs it") from None
