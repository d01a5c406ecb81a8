"""`effects`: what we still have to tell others (ship notices, the ERP), and what is to be told again."""

import asyncio
import time
from typing import TYPE_CHECKING

from cyclopts import App

from runners.commands.acting import order_of
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
from runners.naming import orders_named

if TYPE_CHECKING:
    from runners.effects_store import GivenUp, Job
    from runners.settings import Settings

SHOWN_MAX = 50
"""Acts that were given up of which so many are shown, the latest; --json has all that are remembered."""

app = App(
    name="effects",
    help="What we tell others of what we did: ship notices to channels, rows to the ERP.",
    help_epilogue="Examples:\n  orderspine effects list\n  orderspine effects retry taobao:flagship:2231958349",
)


@app.command(name="list")
def list_(*, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """List what is not told yet, the oldest first, and what was given up; works without a running `up`."""
    from runners.effects_store import Jobs  # noqa: PLC0415

    settings = settings_of(data)
    waiting: list[Job] = []
    given_up: list[GivenUp] = []
    try:
        jobs = Jobs(settings.path, read_only=True)
    except FileNotFoundError:
        pass
    else:
        try:
            waiting, given_up = jobs.waiting(), jobs.given_up()
        finally:
            jobs.close()
    now = _now_ms()
    if json:
        failed = [{**each._asdict(), "order": each.stream} for each in given_up]
        print_json({"waiting": [_document(job) for job in waiting], "given_up": failed})
        return Exit.OK
    made = table("order", "effect", "target", "tries", "next try", "why it waits", right=("tries", "next try"))
    for job in waiting:
        wait_s = max(0, job.due_ms - now) // 1000
        name = escape(orders_named(job.stream))
        made.add_row(name, job.effect, escape(job.target), str(job.tries), f"in {wait_s} s", escape(job.reason))
    show(made, f"{len(waiting)} to be told")
    if given_up:
        failed_table = table("order", "effect", "tries", "why it was given up", right=("tries",))
        for each in given_up[:SHOWN_MAX]:
            effect = f"{each.effect} to {each.key.partition('/')[2]}" if "/" in each.key else each.effect
            failed_table.add_row(
                escape(orders_named(each.stream)), escape(effect), str(each.tries), escape(each.reason)
            )
        show(failed_table, f"{len(given_up)} given up; `orderspine effects retry ORDER` tells them again")
    return Exit.OK


@app.command
def retry(order: OrderName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Tell again what others did not take of an order; what they took is not told twice."""
    settings = settings_of(data)
    key = order_of(settings, order)
    again = asyncio.run(_again(settings, key))
    if not again:
        raise Failure(Exit.REFUSED, f"of {order} there is nothing that somebody was to be told and did not take")
    if json:
        print_json([_document(job) for job in again])
    else:
        for job in again:
            show(f"to be told again: {job.effect} of {escape(order)} to {escape(job.target)}")
    return Exit.OK


async def _again(settings: "Settings", key: str) -> "list[Job]":
    from domain.catalogue import decode_event  # noqa: PLC0415
    from domain.order import EffectFailed, EffectSucceeded  # noqa: PLC0415
    from runners.bootstrap import open_log  # noqa: PLC0415
    from runners.effects_kinds import Kinds, all_kinds  # noqa: PLC0415
    from runners.effects_store import Jobs  # noqa: PLC0415
    from runners.effects_wanted import ENDS, Looking  # noqa: PLC0415

    log = open_log(settings, read_only=True)
    kinds = Kinds(settings.path, all_kinds(settings, log, _now_ms))
    jobs = Jobs(settings.path)
    try:
        await kinds.refresh()
        now = _now_ms()
        looking = Looking(log, kinds.all)
        events = log.select_many([key])[key].events
        ends = [decode_event(event.tag, event.data) for event in events if event.tag in ENDS]
        told = {(fact.key, fact.effect) for fact in ends if isinstance(fact, EffectSucceeded)}
        failed = {(fact.key, fact.effect) for fact in ends if isinstance(fact, EffectFailed)}
        again = [
            # In doubt: it may have been told before by somebody else, or in a try nobody heard the end of.
            job._replace(at_ms=now, doubt=1)
            for event in events
            for kind, job in looking.asked_by(event, now)
            if (job.key, job.effect) not in told and (kind.again_all or (job.key, job.effect) in failed)
        ]
        for job in again:
            jobs.again(job)
    finally:
        jobs.close()
        await kinds.close()
        log.close()
    return again


def _document(job: "Job") -> dict[str, object]:
    return {
        "order": job.stream,
        "effect": job.effect,
        "target": job.target,
        "key": job.key,
        "tries": job.tries,
        "due_ms": job.due_ms,
        "reason": job.reason,
    }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
