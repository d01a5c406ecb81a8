"""The command `orderspine`: registers the verbs; each family is a file in `runners/commands`, imported when used."""

import importlib.util
import io
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from cyclopts import App, CycloptsError, Group, Parameter

from runners.commands.common import Exit, Failure, Printed, print_json, printable
from runners.cycles import look_rarely


class Verb(NamedTuple):
    """A verb (or a group of verbs: the attribute is an `App` then) and where it is found."""

    name: str
    path: str
    """`module:attribute`, below `runners.commands`."""
    group: Group
    help: str
    example: str
    """What stands behind `orderspine`."""


RUN = Group("Run it", sort_key=1)
FEED = Group("Take in", sort_key=2)
ACT = Group("Act on orders and stock (needs a running `up`)", sort_key=3)
LOOK = Group("Look (works without `up`)", sort_key=4)
PROVE = Group("Prove and keep", sort_key=5)

VERBS = (
    Verb("up", "up:up", RUN, "Run OrderSpine on a data directory; Ctrl-C stops it.", "up"),
    Verb("demo", "demo:demo", RUN, "All of it once, in a temporary directory, with checks at the end.", "demo"),
    Verb("status", "orders:status", RUN, "How things stand: positions, what waits, what needs a person.", "status"),
    Verb("ingest", "ingest:ingest", FEED, "Take in orders from files and folders.", "ingest exports/ --shop flagship"),
    Verb(
        "simulate", "simulate:simulate", FEED, "A believable day of trade over the channels.", "simulate --orders 500"
    ),
    Verb(
        "channels",
        "channels:app",
        FEED,
        "The shops' connections: add, check, authorise, pull, compare.",
        "channels list",
    ),
    Verb("wms", "wms:app", FEED, "Warehouses that others run: add, try, list, compare their stock.", "wms list"),
    Verb("carriers", "carriers:app", FEED, "The track services that follow parcels: add, list, test.", "carriers list"),
    Verb("payments", "payments:app", FEED, "The payment services that tell of payments: add, list.", "payments list"),
    Verb(
        "subscribers",
        "subscribers:app",
        FEED,
        "Services that read feeds over the broker: add, list, rotate, revoke.",
        "subscribers list",
    ),
    Verb("api-token", "api_token:app", FEED, "Who may use the HTTP API: add, list, remove.", "api-token add erp"),
    Verb(
        "stock",
        "stock:app",
        ACT,
        "Receive, count, move and show stock; what is to be bought.",
        "stock receive SKU-1=100 --document D-1",
    ),
    Verb("pick", "picking:app", ACT, "What a warehouse is to pick next, and in which order.", "pick next"),
    Verb("scan", "picking:scan", ACT, "An item was scanned into an order's parcel.", "scan 2231958349 6901234567892"),
    Verb("processed", "fulfil:processed", ACT, "A processing area has done its work.", "processed 2231958349"),
    Verb(
        "scan-out", "fulfil:scan_out", ACT, "The goods of an order's pick list left the shelf.", "scan-out 2231958349"
    ),
    Verb(
        "ship",
        "fulfil:ship",
        ACT,
        "The parcel of an order went to the carrier.",
        "ship 2231958349 --tracking SF100 --carrier SF",
    ),
    Verb(
        "resolve",
        "fulfil:resolve",
        ACT,
        "Decide on an interception.",
        "resolve 2231958349 stock_short --decision release",
    ),
    Verb(
        "cancel", "fulfil:cancel", ACT, "Cancel an order, or units of its lines.", "cancel 2231958349 --reason refund"
    ),
    Verb(
        "approve", "people:approve", ACT, "Say yes to what an order waits for.", "approve 2231958349 credit --note fine"
    ),
    Verb(
        "reject", "people:reject", ACT, "Say no: the order stays on hold.", "reject 2231958349 credit --reason overdue"
    ),
    Verb(
        "request-approval",
        "people:request_approval",
        ACT,
        "Keep an order until somebody approves it.",
        "request-approval 2231958349 credit --of finance --people 2",
    ),
    Verb("attach", "people:attach", ACT, "Attach a document to an order.", "attach 2231958349 scan.pdf --kind invoice"),
    Verb("detach", "people:detach", ACT, "Take a document off an order.", "detach 2231958349 invoice-1"),
    Verb(
        "comment",
        "people:comment",
        ACT,
        "Say something about an order; @role or @person calls.",
        'comment 2231958349 "is the credit fine? @finance"',
    ),
    Verb(
        "mentions", "people:mentions", ACT, "Where you are called; --read marks it as read.", "mentions --role finance"
    ),
    Verb(
        "complain",
        "people:complain",
        ACT,
        "Record a customer's complaint.",
        "complain 2231958349 --cause gift_missing --channel phone",
    ),
    Verb(
        "close-complaint",
        "people:close_complaint",
        ACT,
        "Close a complaint.",
        "close-complaint 2231958349 complaint-1",
    ),
    Verb("enquire", "people:enquire", ACT, "Record a customer's enquiry.", "enquire 2231958349 logistics"),
    Verb(
        "record-payment",
        "payments:record_payment",
        ACT,
        "A payment, or a refund, that no service told of.",
        "record-payment 2231958349 --transaction BANK-77 --amount 199.00",
    ),
    Verb(
        "record-track",
        "carriers:record_track",
        ACT,
        "What a carrier told a person of a parcel.",
        "record-track 2231958349 --tracking SF100 --state signed",
    ),
    Verb(
        "statements",
        "statements:app",
        FEED,
        "Statements of account 对账单: import, list.",
        "statements import bill.csv --channel taobao --shop toolshop",
    ),
    Verb(
        "reconcile",
        "reconcile:app",
        ACT,
        "Three-way match 三方对账 with statements; explain what differs.",
        "reconcile day 2026-02-09",
    ),
    Verb("after-sale", "after_sale:app", ACT, "What customers want put right 售后.", "after-sale list"),
    Verb("return", "after_sale:return_", ACT, "Goods of an order came back 退货.", "return 2231958349 1=1"),
    Verb("service", "service:app", ACT, "Service work orders 服务工单.", "service list 2231958349"),
    Verb("skus", "skus:app", ACT, "Which SKU a channel's item is; what waits for one.", "skus unmapped"),
    Verb("rules", "rules:app", ACT, "The rule book: show, check, try, diff, apply.", "rules check rules.toml"),
    Verb("buyers", "buyers:app", ACT, "What was agreed with customers: grade, credit, prices.", "buyers list"),
    Verb("effects", "effects:app", ACT, "What others are still to be told: ship notices, the ERP.", "effects list"),
    Verb(
        "receivers",
        "receivers:app",
        ACT,
        "Who is told of what happened: robots, SMS, e-mail, webhooks.",
        "receivers list",
    ),
    Verb("webhooks", "webhooks:app", ACT, "Who is told over HTTP what happens.", "webhooks list"),
    Verb("quarantine", "quarantine:app", ACT, "What nobody could handle.", "quarantine list"),
    Verb("orders", "orders:orders", LOOK, "List orders.", "orders --state paid"),
    Verb("order", "orders:order", LOOK, "Everything about one order.", "order taobao:flagship:2231958349"),
    Verb("desk", "desk_page:desk", LOOK, "What waits for people, the most urgent first.", "desk --role finance"),
    Verb("thread", "desk_page:thread", LOOK, "What was done and said about an order.", "thread 2231958349"),
    Verb(
        "document",
        "desk_page:document",
        LOOK,
        "Write an attached document into a file.",
        "document 2231958349 invoice-1 --to invoice.pdf",
    ),
    Verb("track", "carriers:track", LOOK, "Where the parcels of an order are.", "track 2231958349"),
    Verb("subscribe", "subscribe:subscribe", LOOK, "Tail a feed: events, or changed documents.", "subscribe events"),
    Verb("kpi", "kpi:app", LOOK, "The merchant's figures, and the orders behind them.", "kpi show --by channel"),
    Verb("intake", "orders:intake", LOOK, "What became of all that came in, by channel and shop.", "intake"),
    Verb(
        "finance",
        "finance:app",
        LOOK,
        "What is handed over to finance 财务.",
        "finance export --day 2026-02-09 --to f.csv",
    ),
    Verb(
        "self-check", "finance:self_check", PROVE, "Hold what people see against the log.", "self-check --orders 2000"
    ),
    Verb("checks", "finance:checks", PROVE, "What self-checks found.", "checks"),
    Verb("schemas", "schemas:schemas", LOOK, "What published events and documents look like.", "schemas order.paid"),
    Verb("audit", "audit:app", PROVE, "History, state at a time, verification, replay.", "audit verify"),
    Verb(
        "privacy",
        "privacy:app",
        PROVE,
        "Forget a person, or give out what is held of one 个人信息.",
        "privacy forget 13800000000 --by customer --reason asked --dry-run",
    ),
    Verb(
        "export",
        "export:app",
        PROVE,
        "OCEL, XES, CloudEvents, EPCIS, tables: for other tools.",
        "export ocel --out o.json",
    ),
    Verb("backup", "backup:backup", PROVE, "A consistent copy while it runs; the keys apart.", "backup copies/monday"),
    Verb("restore", "backup:restore", PROVE, "Bring a copy back.", "restore copies/monday --data restored"),
)
EPILOGUE = """\
Every verb has --help; --data DIR (or ORDERSPINE_DATA) where it looks at a
data directory; and, where a machine might read, --json.

Exit codes: 0 done · 1 refused, a check failed, or no such order, entry or
position here · 2 wrong use: an option, a word, a file · 3 needs a running
`up` · 4 data directory in use or unreadable · 130 Ctrl-C
"""


def build_app() -> App:
    """Return the command with every verb of this build."""
    verbs = [verb for verb in VERBS if importlib.util.find_spec(_module(verb)) is not None]
    app = App(
        name="orderspine",
        help="A unified, event-sourced order centre for merchants on many sales channels. 全渠道订单中台",
        help_format="plaintext",
        help_epilogue="Examples:\n" + "\n".join(f"  orderspine {verb.example}" for verb in verbs) + "\n\n" + EPILOGUE,
        version=_version,
        # What may be given several times needs no option that says it is given not at all.
        default_parameter=Parameter(negative_iterable=()),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for verb in verbs:
        path = f"runners.commands.{verb.path}"
        # A group of verbs is an `App` of its own, which says all this itself.
        own = {} if path.endswith(":app") else {"help_epilogue": f"Example: orderspine {verb.example}"}
        app.command(path, name=verb.name, group=verb.group, help=verb.help, **own)
    return app


def _module(verb: Verb) -> str:
    return f"runners.commands.{verb.path.partition(':')[0]}"


def main(tokens: Sequence[str] | None = None) -> None:
    """Run a command line and exit."""
    _open_closed_streams()
    _take_every_letter()
    look_rarely()
    sys.exit(run(list(sys.argv[1:] if tokens is None else tokens)))


def run(tokens: list[str]) -> int:
    """Run a command line and return its exit code; what goes wrong ends as a sentence on stderr.

    With --json the sentence is also the document on stdout, unless a document stands there already.
    """
    Printed.json = False
    try:
        result = build_app()(tokens, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except CycloptsError as error:
        return _end(tokens, Exit.USAGE, str(error))
    except KeyboardInterrupt:
        return _end(tokens, Exit.INTERRUPTED, "interrupted")
    except BrokenPipeError:  # `orderspine orders | head`
        # What could not be written is tried once more when Python ends: let it go nowhere.
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return Exit.OK
    except SystemExit as end:  # the same where a table was being printed: rich makes it the end of the program
        if isinstance(end.__context__, BrokenPipeError):
            return Exit.OK
        raise
    except Exception as error:
        failure = as_failure(error)
        if failure is None:
            raise
        return _end(tokens, failure.code, str(failure))
    return result if isinstance(result, int) else Exit.OK


def _open_closed_streams() -> None:
    """Let what nobody hears go nowhere (`orderspine … >&-`, some daemons).

    Its number is taken by that: the next file that is opened would have it, and what is meant for people in it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115  for all its life


def _take_every_letter() -> None:
    """Show by its number what a terminal of another encoding (GBK, Latin-1) has no letter for."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _end(tokens: list[str], code: Exit, sentence: str) -> Exit:
    """Say how it ended, to people and, where asked for, to machines."""
    sys.stderr.write(f"orderspine: {printable(sentence)}\n")
    if "--json" in tokens and not Printed.json:
        print_json({"error": sentence, "exit": int(code)})
    return code


def as_failure(error: BaseException) -> Failure | None:
    """Return the sentence for an error of the world, None for what only a bug can be."""
    from runners.failures import explain  # noqa: PLC0415

    return error if isinstance(error, Failure) else explain(error)


def _version() -> str:
    from runners.lock import SCHEMA, build_version  # noqa: PLC0415

    return f"OrderSpine {build_version()} (data schema {SCHEMA})"


if __name__ == "__main__":
    main()
