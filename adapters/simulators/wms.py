"""A simulated warehouse that speaks as Qimen's do: takes delivery orders, picks after a while, and calls back.

Written from Taobao's documentation of Qimen; it knows nothing of the client (`adapters.wms`). It can be slow, down,
lose its answers, and confirm twice, too little, or the wrong goods. `python -m adapters.simulators --channel wms`
serves it.
"""

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Literal, Self
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import httpx
import msgspec

from adapters.simulators import wire_wms as wire
from adapters.simulators.exchange import Reply, Request, Seen
from adapters.simulators.faults import BEFORE, Faults
from adapters.simulators.numbers import token_of
from adapters.simulators.platform import Cut
from adapters.simulators.server import served

Confirms = Literal["once", "twice", "twice_anew", "short", "wrong_item", "never", "in_parts", "untracked"]
"""How it confirms: as asked; the same call again; the same again under another id; one unit of the first line too few;
another article in the place of the first; not at all; line by line; without a parcel number."""
APP_KEY: Final = "30000000001"
CUSTOMER: Final = "C00001"
OWNER: Final = "OWNER1"
SECRET: Final = "simulated-secret"  # noqa: S105  invented
WRONG_ITEM: Final = "WRONG-ITEM"
_PREFIX: Final = "taobao.qimen."
_CHINA: Final = timedelta(hours=8)
_GAP_S: Final = 0.2
_TRIES: Final = 50


class SimDelivery(msgspec.Struct):
    """A delivery order as the warehouse has it."""

    code: str
    number: str
    """The warehouse's own."""
    warehouse: str
    lines: dict[str, int]
    """SKU → units."""
    receiver: dict[str, str]
    status: str = "ACCEPT"
    confirmed: list[tuple[bool, str]] = []
    """(accepted, answer) of each call back."""


class SimWms:
    """The warehouse. Start and stop it with `serving`."""

    def __init__(
        self,
        now_ms: Callable[[], int],
        *,
        secret: str = SECRET,
        callback: str = "",
        pick_after_s: float = 0.05,
        confirms: Confirms = "once",
    ) -> None:
        """Begin without stock and orders; `callback` is where it confirms to ("" = nowhere)."""
        self.now_ms = now_ms
        self.secret = secret
        self.callback = callback
        self.pick_after_s = pick_after_s
        self.confirms: Confirms = confirms
        self.slow_s = 0.0
        self.down = False
        """Whether every call is answered with status 503."""
        self.faults = Faults(lambda: asyncio.get_running_loop().time())
        self.closing = asyncio.Event()
        self.orders: dict[str, SimDelivery] = {}
        self.created: list[str] = []
        """Codes, each time a delivery order really came into being."""
        self.stock: dict[tuple[str, str], int] = {}
        """(warehouse, SKU) → units on the shelf."""
        self.requests: list[Seen] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        """Make ready to call back."""
        self._http = httpx.AsyncClient(timeout=10.0, trust_env=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Give up what is being picked."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.aclose()

    async def answer(self, request: Request) -> Reply:
        """Answer a call, or let it go wrong as planned.

        Raises:
            Cut: the connection is to be cut.
        """
        method = request.query.get("method", "").removeprefix(_PREFIX)
        how = self.faults.take(method)
        if self.slow_s:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.closing.wait(), self.slow_s)
        if self.down:
            given = Reply(b"down", 503, {"content-type": "text/plain"}, "down")
        elif how in BEFORE:
            given = Reply(b"<html>trouble</html>", int(how) if how.isdecimal() else 200, {"content-type": "text/html"})
        else:
            given = self._handle(method, request)
        self.requests.append(Seen(method, given.outcome if how is None else f"fault {how}", self.now_ms(), {}))
        if how in ("timeout", "timeout_after"):
            await self.closing.wait()
        if how in ("cut_before", "cut_after", "timeout", "timeout_after"):
            raise Cut
        if how == "500_after":
            return Reply(b"<html>trouble</html>", 500, {"content-type": "text/html"})
        return given._replace(body=given.body[: len(given.body) // 2]) if how == "wrong_json" else given

    def ship_now(self, code: str) -> None:
        """Begin to pick a delivery order at once, whatever `pick_after_s` says."""
        self._start(self._pick(self.orders[code], 0.0))

    async def report(self, items: list[dict[str, Any]]) -> str:
        """Tell of stock that changed; return the answer. Keys are Qimen's names."""
        body = wire.changes([{"ownerCode": OWNER, **item} for item in items])
        return await self.call_back("stockchange.report", body)

    async def call_back(self, method: str, body: bytes, **changed: str) -> str:
        """Call the callback address, signed; return the answer. `changed` parameters are signed as well."""
        params = {
            "method": _PREFIX + method,
            "timestamp": self._wall(),
            "format": "xml",
            "app_key": APP_KEY,
            "v": "2.0",
            "sign_method": "md5",
            "customerId": CUSTOMER,
            **changed,
        }
        params["sign"] = changed.get("sign") or wire.signature(self.secret, params, body)
        assert self._http is not None, "serve it first"
        answer = await self._http.post(
            f"{self.callback}?{urlencode(params)}", content=body, headers={"content-type": wire.XML}
        )
        return answer.text

    def _handle(self, method: str, request: Request) -> Reply:
        given = dict(request.query)
        sign = given.pop("sign", "")
        if not hmac.compare_digest(sign, wire.signature(self.secret, given, request.body)):
            return wire.reply(wire.response("failure", "sign-check-failure", "Illegal request"), "refused sign")
        if given.get("app_key") != APP_KEY or given.get("customerId") != CUSTOMER:
            return wire.reply(wire.response("failure", "S001", "unknown customer"), "refused customer")
        root = ET.fromstring(request.body)  # noqa: S314  our own tests ask
        match method:
            case "deliveryorder.create":
                return self._create(root)
            case "deliveryorder.query":
                return self._query(root)
            case "order.cancel":
                return self._cancel(root)
            case "inventory.query":
                return self._inventory(root)
        return wire.reply(wire.response("failure", "S000", f"no method {method}"), "refused method")

    def _create(self, root: ET.Element) -> Reply:
        code = wire.text(root, "deliveryOrder/deliveryOrderCode")
        if code in self.orders:
            return wire.reply(wire.response("failure", "S010", f"{code} is there already"), "refused known")
        receiver = root.find("deliveryOrder/receiverInfo")
        to = {each.tag: each.text or "" for each in receiver} if receiver is not None else {}
        if not (to.get("detailAddress") or to.get("oaid")) or not to.get("name"):
            text = f"receiver {to.get('name', '')} {to.get('mobile', '')} has no address"
            return wire.reply(wire.response("failure", "S011", text), "refused receiver")
        lines: dict[str, int] = {}
        for line in root.iterfind("orderLines/orderLine"):
            lines[wire.text(line, "itemCode")] = lines.get(wire.text(line, "itemCode"), 0) + int(
                wire.text(line, "planQty")
            )
        warehouse = wire.text(root, "deliveryOrder/warehouseCode")
        order = SimDelivery(code, token_of("wms", code, 12), warehouse, lines, to)
        self.orders[code] = order
        self.created.append(code)
        self._start(self._pick(order, self.pick_after_s))
        response = wire.response("success", "0", "ok")
        ET.SubElement(response, "createTime").text = self._wall()
        ET.SubElement(response, "deliveryOrderId").text = order.number
        return wire.reply(response)

    def _query(self, root: ET.Element) -> Reply:
        order = self.orders.get(wire.text(root, "orderCode"))
        if order is None:
            return wire.reply(wire.response("failure", "S404", "no such order"), "refused unknown")
        response = wire.response("success", "0", "ok")
        inside = ET.SubElement(response, "deliveryOrder")
        for name, value in (
            ("deliveryOrderCode", order.code),
            ("deliveryOrderId", order.number),
            ("warehouseCode", order.warehouse),
            ("status", order.status),
        ):
            ET.SubElement(inside, name).text = value
        return wire.reply(response)

    def _cancel(self, root: ET.Element) -> Reply:
        order = self.orders.get(wire.text(root, "orderCode"))
        if order is None:
            return wire.reply(wire.response("failure", "S404", "no such order"), "refused unknown")
        if order.status not in ("ACCEPT", "CANCELED"):
            return wire.reply(wire.response("failure", "S020", "it is picked already"), "refused picked")
        order.status = "CANCELED"
        return wire.reply(wire.response("success", "0", "ok"))

    def _inventory(self, root: ET.Element) -> Reply:
        response = wire.response("success", "0", "ok")
        inside = ET.SubElement(response, "items")
        for criteria in root.iterfind("criteriaList/criteria"):
            place = (wire.text(criteria, "warehouseCode"), wire.text(criteria, "itemCode"))
            if place in self.stock:
                locked = sum(
                    order.lines.get(place[1], 0)
                    for order in self.orders.values()
                    if order.warehouse == place[0] and order.status in ("ACCEPT", "PICKED")
                )
                item = ET.SubElement(inside, "item")
                for name, value in (
                    ("warehouseCode", place[0]),
                    ("itemCode", place[1]),
                    ("inventoryType", "ZP"),
                    ("quantity", self.stock[place] - locked),
                    ("lockQuantity", locked),
                ):
                    ET.SubElement(item, name).text = str(value)
        return wire.reply(response)

    async def _pick(self, order: SimDelivery, after_s: float) -> None:
        await asyncio.sleep(after_s)
        if order.status != "ACCEPT":
            return
        order.status = "PICKED"
        for sku, units in order.lines.items():
            place = (order.warehouse, sku)
            self.stock[place] = self.stock.get(place, 0) - units
        order.status = "DELIVERED"
        if not self.callback or self.confirms == "never":
            return
        for body in self._confirmations(order):
            await self._confirm(order, body)

    async def _confirm(self, order: SimDelivery, body: bytes) -> None:
        """Call back until somebody says success."""
        for _ in range(_TRIES):
            try:
                answer = await self.call_back("deliveryorder.confirm", body)
            except httpx.HTTPError as error:
                answer = type(error).__name__
            good = "<flag>success</flag>" in answer
            order.confirmed.append((good, answer))
            if good:
                return
            await asyncio.sleep(_GAP_S)

    def _confirmations(self, order: SimDelivery) -> list[bytes]:
        lines = dict(order.lines)
        first = next(iter(lines))
        tracking = f"SF{token_of('parcel', order.code, 12)}"
        match self.confirms:
            case "short":
                lines[first] -= 1
            case "wrong_item":
                lines[WRONG_ITEM] = lines.pop(first)
            case "untracked":
                tracking = ""
            case "twice" | "twice_anew":
                anew = "-again" if self.confirms == "twice_anew" else ""
                return [self.confirmation(order, lines, tracking, id_) for id_ in ("", anew)]
            case "in_parts":
                parts = list(lines.items())
                return [
                    self.confirmation(
                        order, dict([part]), f"{tracking}-{number}", f"-{number}", final=number == len(parts) - 1
                    )
                    for number, part in enumerate(parts)
                ]
        return [self.confirmation(order, lines, tracking)]

    def confirmation(
        self, order: SimDelivery, lines: Mapping[str, int], tracking: str, ending: str = "", *, final: bool = True
    ) -> bytes:
        """Return the body of a confirmation; `ending` makes its id another one."""
        head = {
            "deliveryOrderCode": order.code,
            "deliveryOrderId": order.number,
            "warehouseCode": order.warehouse,
            "orderType": "JYCK",
            "outBizCode": f"OB-{order.number}{ending}",
            "confirmType": "0" if final else "1",
            "orderConfirmTime": self._wall(),
            "operatorName": "仓管 Li",
        }
        return wire.confirmation(head, order.lines, lines, tracking)

    def _wall(self) -> str:
        return (datetime.fromtimestamp(self.now_ms() / 1000, UTC) + _CHINA).strftime("%Y-%m-%d %H:%M:%S")

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@contextlib.asynccontextmanager
async def serving(wms: SimWms, port: int = 0) -> AsyncIterator[str]:
    """Serve a warehouse on loopback (port 0 = a free one); return its address."""
    async with wms, served(wms, port) as url:
        yield url
