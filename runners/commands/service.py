"""`service`: work orders for services that were bought with orders (安装服务 …)."""

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from runners.commands.acting import SENDING, OnOrder, Sending, order_of
from runners.commands.after_sale import word_of
from runners.commands.common import (
    DATA_DEFAULT,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    escape,
    print_json,
    settings_of,
    show,
    table,
)
from runners.commands.fulfil import OrderName

if TYPE_CHECKING:
    from runners.settings import Settings

app = App(
    name="service",
    help="Service work orders 服务工单: agree a day, done, cancel, list.",
    help_epilogue=(
        "Examples:\n"
        "  orderspine service list 2231958349\n"
        "  orderspine service schedule 2231958349 --day 2026-03-01\n"
        "  orderspine service done 2231958349"
    ),
)

NumberOption = Annotated[
    int, Parameter(name="--number", help="Running number of the work order, where there are several.")
]
STAGES = {
    "opened": "待预约 opened",
    "scheduled": "已预约 scheduled",
    "done": "已完成 done",
    "cancelled": "已取消 cancelled",
}


@app.command
def schedule(
    order: OrderName,
    /,
    *,
    day: Annotated[str, Parameter(help="The day that was agreed, YYYY-MM-DD.")],
    number: NumberOption = 0,
    sending: Sending = SENDING,
) -> Exit:
    """Note the day that was agreed with the customer; a later one takes its place."""
    from domain.service_work import ScheduleService  # noqa: PLC0415

    on = sending.on(order)
    body = ScheduleService(on.own, _number(on, order, number), day)
    return on.send(body, "service", "service", f"work order {body.service} of {order} on {day}")


@app.command
def done(
    order: OrderName,
    /,
    *,
    number: NumberOption = 0,
    sending: Sending = SENDING,
) -> Exit:
    """Note that the work is done."""
    from domain.service_work import CompleteService  # noqa: PLC0415

    on = sending.on(order)
    body = CompleteService(on.own, _number(on, order, number))
    return on.send(body, "service", "service", f"work order {body.service} of {order} done")


@app.command
def cancel(
    order: OrderName,
    /,
    *,
    reason: Annotated[str, Parameter(help="customer 客户取消, refunded 已退款, no_staff 无法派单, or other 其他.")],
    number: NumberOption = 0,
    sending: Sending = SENDING,
) -> Exit:
    """Note that the work will not be done."""
    from domain.service_work import CANCELS, CancelService  # noqa: PLC0415

    why = word_of(reason, CANCELS, "--reason")
    on = sending.on(order)
    body = CancelService(on.own, _number(on, order, number), why)
    return on.send(body, "service", "service", f"work order {body.service} of {order} cancelled")


@app.command(name="list")
def list_(order: OrderName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """List an order's work orders; works without a running `up`."""
    settings = settings_of(data)
    found = _services(settings, order_of(settings, order))
    if json:
        print_json(found)
        return Exit.OK
    made = table("number", "service", "lines", "stage", "day", right=("number",))
    for place, each in enumerate(found, 1):
        lines, stage = ", ".join(each.get("lines", ())), each.get("stage", "opened")
        told = (each["service"], lines, STAGES.get(stage, stage), each.get("day", ""))
        made.add_row(str(place), *(escape(text) for text in told))
    show(made)
    return Exit.OK


def _services(settings: "Settings", key: str) -> list[dict[str, Any]]:
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    with closing(open_read_models(settings)) as views:
        found = views.order(key) or {}
    return list(found.get("services", ()))


def _number(on: OnOrder, order: str, number: int) -> int:
    """Return the number of the work order that is meant: the only one that is not over, where none is named.

    Raises:
        Failure: there is none, or there are several.
    """
    if number:
        return number
    over = ("done", "cancelled")
    left = [at for at, each in enumerate(_services(on.settings, on.key), 1) if each.get("stage") not in over]
    if len(left) == 1:
        return left[0]
    if not left:
        raise Failure(Exit.REFUSED, f"{order} has no work order that is not over; name one with --number")
    raise Failure(Exit.USAGE, f"{order} has several work orders: say which with --number ({', '.join(map(str, left))})")
