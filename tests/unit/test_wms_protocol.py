"""Qimen's wire: signatures, bodies, and what is refused before it can do harm."""

from typing import Any

import msgspec
import pytest

from adapters.wms.client import QimenWms
from adapters.wms.incoming import changes, confirmation
from adapters.wms.protocol import FRESH_MS, Failure, failure, sign, signed, success, verified
from adapters.wms.settings import BadWms, WmsSettings, parse
from adapters.wms.xml import BadXml, node, read, text, write
from domain.delivery import Packed
from domain.platforms import NotAuthorised, OutcomeUnknown, PlatformBusy, PlatformRefused
from domain.wms import CODE_MAX, DeliveryOrder, Receiver, WmsLine, base_of, code_of
from tests.platform_world import NOW_MS, Asked, Reply, Served, pushed

SECRET = "top-secret"
SETTINGS = WmsSettings(
    "north", "http://127.0.0.1:9", "12345678", "C1", "env:NORTH", {"A": "HZ01", "B": "HZ02"}, "OWNER1",
    sender={"name": "铁匠铺", "mobile": "0571-1", "province": "浙江省", "city": "杭州市", "detailAddress": "文一路 1"},
)  # fmt: skip
TO = Receiver("王小明", "13812345678", "", "浙江省", "杭州市", "西湖区", "转塘街道", "路 1 号", "310000")
ORDER = DeliveryOrder(
    "pick-order-taobao:shop1:1/1", "A", "taobao", "shop1", "1", (WmsLine("S1", 2, "茶 <tea> & co"), WmsLine("S2", 1)),
    TO, NOW_MS, NOW_MS,
)  # fmt: skip
CREATED = (
    "<?xml version='1.0' encoding='utf-8'?>\n"
    "<request><deliveryOrder>"
    "<deliveryOrderCode>pick-order-taobao:shop1:1/1</deliveryOrderCode><orderType>JYCK</orderType>"
    "<warehouseCode>HZ01</warehouseCode><sourcePlatformCode>TB</sourcePlatformCode>"
    "<createTime>2026-11-11 00:05:30</createTime><placeOrderTime>2026-11-11 00:05:30</placeOrderTime>"
    "<operateTime>2026-11-11 00:05:30</operateTime><shopNick>shop1</shopNick><logisticsCode>OTHER</logisticsCode>"
    "<senderInfo><name>铁匠铺</name><mobile>0571-1</mobile><province>浙江省</province><city>杭州市</city>"
    "<detailAddress>文一路 1</detailAddress></senderInfo>"
    "<receiverInfo><name>王小明</name><zipCode>310000</zipCode><mobile>13812345678</mobile>"
    "<province>浙江省</province><city>杭州市</city><area>西湖区</area><town>转塘街道</town>"
    "<detailAddress>路 1 号</detailAddress></receiverInfo></deliveryOrder>"
    "<orderLines><orderLine><orderLineNo>1</orderLineNo><sourceOrderCode>1</sourceOrderCode>"
    "<ownerCode>OWNER1</ownerCode><itemCode>S1</itemCode><itemName>茶 &lt;tea&gt; &amp; co</itemName>"
    "<inventoryType>ZP</inventoryType><planQty>2</planQty></orderLine>"
    "<orderLine><orderLineNo>2</orderLineNo><sourceOrderCode>1</sourceOrderCode><ownerCode>OWNER1</ownerCode>"
    "<itemCode>S2</itemCode><inventoryType>ZP</inventoryType><planQty>1</planQty></orderLine></orderLines></request>"
)
CONFIRM = (
    "<request><deliveryOrder><deliveryOrderCode>D1</deliveryOrderCode><deliveryOrderId>W1</deliveryOrderId>"
    "<warehouseCode>HZ01</warehouseCode><outBizCode>OB1</outBizCode><confirmType>0</confirmType>"
    "<operatorName>戴小姐</operatorName></deliveryOrder><packages><package><logisticsCode>YTO</logisticsCode>"
    "<expressCode>YT1</expressCode><weight>0.5</weight><items><item><itemCode>S1</itemCode><quantity>2</quantity></item>"
    "</items></package></packages><orderLines><orderLine><orderLineNo>1</orderLineNo><itemCode>S1</itemCode>"
    "<planQty>2</planQty><actualQty>1</actualQty></orderLine><orderLine><itemCode>S1</itemCode>"
    "<actualQty>1.00</actualQty></orderLine></orderLines></request>"
)
GOOD = write(node("response", flag="success", code="0", deliveryOrderId="W1"))


# --- signatures


def test_the_signature_is_md5_over_secret_sorted_parameters_body_secret() -> None:
    params = {
        "method": "taobao.qimen.deliveryorder.create",
        "timestamp": "2026-11-11 00:00:01",
        "format": "xml",
        "app_key": "12345678",
        "v": "2.0",
        "sign_method": "md5",
        "customerId": "C1",
    }
    # Worked out by another program (`printf … | md5sum`) from the description of the signature.
    assert sign(SECRET, params, "<request>茶</request>".encode()) == "CB4EE28103CA81D1A7FBED86A43B8406"


def call(body: bytes = b"<request/>", *, secret: str = SECRET, now_ms: int = NOW_MS, **changed: str) -> Any:
    params = signed(SETTINGS, secret, "deliveryorder.confirm", body, NOW_MS) | changed
    if changed and "sign" not in changed:
        params["sign"] = sign(secret, {name: params[name] for name in params if name != "sign"}, body)
    return verified(pushed(body, query=params, now_ms=now_ms), SETTINGS, SECRET)


def test_a_genuine_call_is_known_by_its_method_with_and_without_the_prefix() -> None:
    assert call().method == "deliveryorder.confirm"
    assert call(method="deliveryorder.confirm").method == "deliveryorder.confirm"
    assert call(now_ms=NOW_MS + FRESH_MS).body == b"<request/>"


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"secret": "another"}, "sign-check-failure"),
        ({"sign": ""}, "sign-check-failure"),
        ({"sign": "é" * 32}, "sign-check-failure"),
        ({"sign_method": "hmac"}, "sign-check-failure"),
        ({"app_key": "9"}, "unknown-app-key"),
        ({"customerId": "C2"}, "unknown-customer"),
        ({"timestamp": "yesterday"}, "invalid-timestamp"),
        ({"timestamp": ""}, "invalid-timestamp"),
        ({"now_ms": NOW_MS + FRESH_MS + 1_000}, "invalid-timestamp"),
        ({"now_ms": NOW_MS - FRESH_MS - 1_000}, "invalid-timestamp"),
    ],
)
def test_what_is_not_genuine_is_told_why(how: dict[str, Any], code: str) -> None:
    with pytest.raises(Failure) as refused:
        call(**how)
    assert refused.value.code == code
    assert SECRET not in refused.value.message


def test_a_body_that_was_changed_is_not_genuine() -> None:
    params = signed(SETTINGS, SECRET, "deliveryorder.confirm", b"<request>1</request>", NOW_MS)
    with pytest.raises(Failure):
        verified(pushed(b"<request>2</request>", query=params), SETTINGS, SECRET)


# --- XML


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"hello",
        b"<request>",
        b"<request></request><request></request>",
        b'<!DOCTYPE r [<!ENTITY a "b">]><request>&a;</request>',
        b'<!DOCTYPE r SYSTEM "file:///etc/passwd"><request/>',
        b'<!DOCTYPE r [<!ENTITY x SYSTEM "http://127.0.0.1/">]><request>&x;</request>',
        b"<request>&nothing;</request>",
        b"<a>" * 40 + b"</a>" * 40,
        b"<request>" + b"<a/>" * 200_000 + b"</request>",
        b"<request>" + b"a" * (9 << 20) + b"</request>",
        "<?xml version='1.0' encoding='gbk'?><request>茶</request>".encode("gbk"),
        "<?xml version='1.0' encoding='utf-16'?><request>a</request>".encode("utf-16"),
        b"<request>\xff\xfe</request>",
        b"<request>\x00</request>",
        b"\xef\xbb\xbf<request",
    ],
)
def test_hostile_and_broken_bodies_are_refused(raw: bytes) -> None:
    with pytest.raises(BadXml) as refused:
        read(raw)
    assert len(str(refused.value)) < 200


def test_a_body_is_utf_8_whatever_it_calls_itself() -> None:
    root = read("\ufeff<?xml version='1.0' encoding='gb2312'?><request version='1'><a> 茶 </a></request>".encode())
    assert text(root, "a") == "茶"


def test_what_is_written_can_be_read_whatever_it_holds() -> None:
    root = read(write(node("r", a="<&>\x00\x0b\ud800\uffff茶'\"]]>")))
    assert text(root, "a").endswith("茶'\"]]>")


def test_answers_are_qimens() -> None:
    assert success() == (
        b"<?xml version='1.0' encoding='utf-8'?>\n"
        b"<response><flag>success</flag><code>0</code><message>ok</message></response>"
    )
    assert text(read(failure("busy", "later")), "flag") == "failure"


# --- what comes in


def test_a_confirmation_is_read_with_what_was_really_packed() -> None:
    read_ = confirmation(CONFIRM.encode(), {})
    assert read_ == ("D1", "HZ01", "OB1", "W1", (Packed("YTO", "YT1", (("S1", 2),)),), (("S1", 2),), True)
    assert "戴" not in repr(read_)


def test_a_confirmation_without_an_id_is_told_by_what_it_says() -> None:
    bare = CONFIRM.replace("<outBizCode>OB1</outBizCode>", "")
    one, same = confirmation(bare.encode(), {}), confirmation(bare.replace("戴", "王").encode(), {})
    other = confirmation(bare.replace("YT1", "YT2").encode(), {})
    assert one.identity == same.identity != other.identity


def test_carriers_are_named_as_we_name_them() -> None:
    codes = {"HTKY": "JT", "POSTB": "POST", "SF": "SF", "XYZ": "XYZ"}
    for theirs, ours in codes.items():
        raw = CONFIRM.replace("YTO", theirs).encode()
        assert confirmation(raw, {}).parcels[0].carrier == ours
    assert confirmation(CONFIRM.encode(), {"YTO": "MINE"}).parcels[0].carrier == "MINE"


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("<request>", "<reply>"),
        ("<deliveryOrderCode>D1</deliveryOrderCode>", ""),
        ("<itemCode>S1</itemCode>", "<itemCode></itemCode>"),
        ("<actualQty>1.00</actualQty>", "<actualQty>1.5</actualQty>"),
        ("<actualQty>1.00</actualQty>", "<actualQty>-1</actualQty>"),
        ("<actualQty>1.00</actualQty>", "<actualQty>NaN</actualQty>"),
        ("<actualQty>1.00</actualQty>", "<actualQty>1e99</actualQty>"),
        ("<actualQty>1.00</actualQty>", ""),
        ("<logisticsCode>YTO</logisticsCode>", ""),
    ],
)
def test_a_confirmation_that_cannot_be_counted_is_refused(was: str, now: str) -> None:
    raw = CONFIRM.replace(was, now).replace("</request>", "</reply>" if now == "<reply>" else "</request>")
    with pytest.raises(Failure):
        confirmation(raw.encode(), {})


def test_changes_of_stock_are_read() -> None:
    item = (
        "<item><warehouseCode>HZ01</warehouseCode><outBizCode>OB7</outBizCode><orderCode>PO1</orderCode>"
        "<orderType>CGRK</orderType><itemCode>S1</itemCode><quantity>-12</quantity>"
        "<inventoryType>CC</inventoryType></item>"
    )
    raw = f"<request><items>{item}{item.replace('CC', 'ZP')}</items></request>".encode()
    first, second = changes(raw)
    assert (first.document, first.kind, first.units, first.sellable, second.sellable) == (
        "OB7",
        "CGRK",
        -12,
        False,
        True,
    )
    for bad in (b"<request/>", raw.replace(b"OB7", b""), raw.replace(b"-12", b"many")):
        with pytest.raises(Failure):
            changes(bad)


# --- what goes out


async def asked(*answers: Reply | bytes, order: DeliveryOrder = ORDER) -> tuple[list[Asked], Any]:
    """Create a delivery order at a server that answers so; return what it was asked, and what came of it."""
    left = list(answers)

    def answer(_: Asked) -> Reply:
        given = left.pop(0)
        return given if isinstance(given, Reply) else Reply(given)

    async with Served(answer) as served:
        wms = QimenWms(msgspec.structs.replace(SETTINGS, url=served.url), lambda: SECRET, lambda: NOW_MS)
        try:
            return served.asked, await wms.create(order)
        except Exception as error:  # noqa: BLE001  what came of it
            return served.asked, error
        finally:
            await wms.close()


async def test_a_delivery_order_is_sent_as_qimen_describes_it() -> None:
    (request,), reference = await asked(GOOD)
    assert reference == "W1"
    assert request.body.decode() == CREATED
    assert request.headers["content-type"].startswith("text/xml")
    given = dict(request.query)
    assert given.pop("sign") == sign(SECRET, given, request.body)
    assert (given["method"], given["customerId"]) == ("taobao.qimen.deliveryorder.create", "C1")
    assert "王小明" not in str(given)


async def test_what_is_urgent_paid_on_delivery_or_behind_a_token_says_so() -> None:
    order = ORDER._replace(urgent=True, collect="658.00", receiver=Receiver("王**", "138****", token="OAID-1"))
    (request,), _ = await asked(GOOD, order=order)
    sent = read(request.body)
    head = {name: text(sent, f"deliveryOrder/{name}") for name in ("orderFlag", "arAmount", "isUrgency")}
    assert head == {"orderFlag": "COD", "arAmount": "658.00", "isUrgency": "Y"}
    assert text(sent, "deliveryOrder/receiverInfo/oaid") == "OAID-1"
    assert text(sent, "deliveryOrder/oaidOrderSourceCode") == "1"


def refused(code: str, message: str = "") -> bytes:
    return write(node("response", flag="failure", code=code, message=message))


def there(status: str = "ACCEPT") -> bytes:
    order = node("deliveryOrder", deliveryOrderCode=ORDER.code, deliveryOrderId="W7", status=status)
    return write(node("response", order, flag="success", code="0"))


async def test_a_refusal_of_what_is_there_already_counts_as_taken() -> None:
    requests, reference = await asked(refused("S1", "there already"), there())
    assert reference == "W7"
    assert [each.query["method"].rpartition(".")[2] for each in requests] == ["create", "query"]


async def test_a_refusal_says_why_and_nothing_of_the_receiver() -> None:
    _, error = await asked(refused("S2", "王小明 13812345678, +8613912345678: 路 1 号 is outside"), refused("S404"))
    assert isinstance(error, PlatformRefused)
    assert "is outside" in error.reason
    assert not any(part in str(error) for part in ("王小明", "13812345678", "8613912345678", "路 1 号"))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refused("sign-check-failure"), NotAuthorised),
        (Reply(b"<html>busy</html>", 503), OutcomeUnknown),
        (Reply(b"", cut=True), OutcomeUnknown),
        (b"<html>busy", OutcomeUnknown),
        (b"<response><code>0</code></response>", OutcomeUnknown),
        (Reply(b"", 429, (("retry-after", "60"),)), PlatformBusy),
        (Reply(b"", 404), PlatformRefused),
        (b"<error_response><code>25</code><msg>Invalid signature</msg></error_response>", NotAuthorised),
        (b"<error_response><code>7</code></error_response>", PlatformBusy),
        (b"<error_response><code>15</code><sub_code>isp.x</sub_code></error_response>", OutcomeUnknown),
        (b"<error_response><code>40</code><sub_code>isv.x</sub_code></error_response>", PlatformRefused),
    ],
)
async def test_every_way_a_call_may_end_is_told_apart(answer: Any, kind: type[Exception]) -> None:
    _, error = await asked(answer)
    assert type(error) is kind, error


# --- codes and settings


def test_a_code_is_short_plain_and_the_same_for_ever() -> None:
    short = "pick-order-taobao:shop1:2231958349/1"
    long_one = "pick-order-taobao:=E6=97=97=E8=88=B0=E5=BA=97:2231958349/12"
    assert (code_of(short), code_of(short, 7)) == (short, f"{short}.7")
    codes = {code_of(f"{long_one}{number}", revision) for number in range(50) for revision in (0, 1, 9_999_999)}
    assert len(codes) == 150
    assert max(map(len, codes)) <= CODE_MAX
    assert base_of(code_of(long_one, 3)) == code_of(long_one)


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "no rth"},
        {"url": "ftp://x"},
        {"url": "http://u:p@host/"},
        {"url": "http://host:x/"},
        {"app_key": " "},
        {"secret": "top-secret"},
        {"warehouses": {}},
        {"warehouses": {"A": "X", "B": "X"}},
        {"warehouses": {"": "X"}},
        {"compare_every_s": 5},
        {"sender": {"color": "red"}},
        {"colour": "red"},
    ],
)
def test_settings_that_mean_nothing_are_refused_without_telling_a_secret(changed: dict[str, Any]) -> None:
    raw = msgspec.json.encode([msgspec.to_builtins(SETTINGS) | changed])
    with pytest.raises(BadWms) as refused_:
        parse(raw, "wms.json")
    assert "top-secret" not in str(refused_.value)


def test_two_systems_cannot_serve_one_warehouse() -> None:
    other = msgspec.structs.replace(SETTINGS, name="south", warehouses={"B": "X"})
    with pytest.raises(BadWms, match="B is served by north"):
        parse(msgspec.json.encode([SETTINGS, other]), "wms.json")
    off = msgspec.structs.replace(other, enabled=False)
    assert len(parse(msgspec.json.encode([SETTINGS, off]), "wms.json")) == 2


def test_a_receiver_never_shows_itself() -> None:
    assert "王小明" not in repr(ORDER)
