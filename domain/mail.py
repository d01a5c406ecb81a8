"""What travels in the MAIL stream: an address, who sends it, when it was seen, and one body.

MessagePack, because raw payloads travel in it as they are. The body is a command of the addressed actor or a channel's
raw bytes, which the worker has translated before the actor's turn.
"""

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from domain import (
    after_sale,
    approvals,
    barcodes,
    buyers,
    care,
    cellular,
    delivery,
    finance,
    intake,
    mapping,
    order,
    payments,
    picking,
    privacy,
    reorder,
    rulebook,
    service_work,
    shelf,
    skus,
    stock,
    talk,
    tracking,
    views,
)
from domain.decider import Command
from domain.envelope import By
from domain.ids import kind_of, token_of
from domain.timehub import MS_MAX


class ChannelPayload(Command, frozen=True):
    """One order's slice of what a channel sent, byte for byte."""

    channel: str
    shop: str
    order_no: str
    raw: bytes = b""
    ref: str = ""
    """Where an edge has put bytes too big for the broker; `raw` is empty then."""


class AsideReport(Command, frozen=True):
    """What came in and is no order: its bytes, and what an edge made of them."""

    channel: str
    shop: str
    kind: str
    """hint, ignored, refused or quarantined."""
    reason: str
    raw: bytes = b""
    ref: str = ""
    order_no: str = ""


Body = (
    ChannelPayload
    | AsideReport
    | picking.ScanItem
    | picking.UnscanItem
    | order.ScanOut
    | order.Ship
    | order.ConfirmProcessing
    | delivery.ConfirmDelivery
    | order.CancelLines
    | order.ResolveInterception
    | order.TimerDue
    | order.RecordEffect
    | tracking.RecordTrack
    | payments.RecordPayment
    | order.ResendQuarantined
    | order.DiscardQuarantined
    | approvals.RequestApproval
    | approvals.Approve
    | approvals.Reject
    | approvals.AttachDocument
    | approvals.DetachDocument
    | talk.Comment
    | talk.ReadMentions
    | care.Complain
    | care.CloseComplaint
    | care.Enquire
    | after_sale.OpenAfterSale
    | after_sale.ApproveAfterSale
    | after_sale.DeclineAfterSale
    | after_sale.AnnounceReturn
    | after_sale.ReceiveReturn
    | after_sale.RefundAfterSale
    | after_sale.SendReplacement
    | after_sale.CloseAfterSale
    | service_work.ScheduleService
    | service_work.CompleteService
    | service_work.CancelService
    | stock.ReceiveStock
    | stock.ExpectStock
    | stock.AdjustStock
    | stock.ProtectStock
    | shelf.CountStock
    | shelf.MoveStock
    | shelf.MarkDamaged
    | shelf.ScrapDamaged
    | shelf.SetPicking
    | reorder.SetReorderLevel
    | intake.RecordUnmatched
    | intake.RecordReconciled
    | intake.RecordStockCompared
    | intake.DiscardAside
    | mapping.ChangeMapping
    | buyers.SetBuyer
    | skus.SetSkus
    | skus.RemoveSkus
    | rulebook.ChangeRules
    | barcodes.SetBarcodes
    | barcodes.RemoveBarcodes
    | finance.TakeLines
    | finance.CloseStatement
    | finance.JudgeOrders
    | finance.ExplainDifference
    | views.RecordCheck
    | cellular.Tick
    | privacy.ForgetPerson
    | privacy.RecordDisclosure
    | privacy.WithdrawForgetting
)
"""Everything that may be mailed. Other commands exist inside a turn only."""


class Mail(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One message of the mail."""

    to: str
    """Key of the actor."""
    body: Body
    observed_at: Annotated[int, msgspec.Meta(ge=0, le=MS_MAX)]
    """The sender's clock, UTC ms; what no calendar has makes it no message of the mail."""
    by: By
    source_tag: str = ""
    correlation: str = ""
    reply_to: str = ""
    """Subject to answer on after the commit; "" = nobody waits."""


class Reply(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What became of one message, told after the commit."""

    sequence: int
    """Of the message, in the mail stream."""
    outcome: str
    """One of `domain.cell.Outcome`."""
    reason: str = ""


class Replies(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One commit's answers to one `reply_to`."""

    position: int
    """Of the last event in the log after the commit: a read model that has reached it shows what happened."""
    replies: tuple[Reply, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Mail)
_body_encoder = msgspec.json.Encoder()
_body_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Body)


def encode_mail(mail: Mail) -> bytes:
    """Return the bytes that travel."""
    return _encoder.encode(mail)


def decode_mail(data: bytes) -> Mail:
    """Read a message.

    Raises:
        msgspec.DecodeError: these bytes are no mail of ours.
    """
    return _decoder.decode(data)


def encode_body(body: Command) -> str:
    """Return a body as JSON text, for a message that waits in an event."""
    return _body_encoder.encode(body).decode()


def decode_body(text: str) -> Any:
    """Read what `encode_body` wrote."""
    return _body_decoder.decode(text.encode())


def subject_of(cell: str, to: str) -> str:
    """Return the subject a message to this actor is published on."""
    return f"mail.{cell}.{kind_of(to)}.{token_of(to)}"


_replies_decoder = msgspec.msgpack.Decoder(Replies)


def encode_replies(replies: Replies) -> bytes:
    """Return the bytes of an answer."""
    return _encoder.encode(replies)


def cut_replies(replies: Replies, most: int) -> Iterator[bytes]:
    """Return the bytes of an answer, in several parts where they would be more than `most` for one message."""
    whole = encode_replies(replies)
    count = len(replies.replies)
    if len(whole) <= most or count == 1:
        yield whole
        return
    for part in (replies.replies[: count // 2], replies.replies[count // 2 :]):
        yield from cut_replies(Replies(replies.position, part), most)


def decode_replies(data: bytes) -> Replies:
    """Read an answer. Raises msgspec.DecodeError where it is none."""
    return _replies_decoder.decode(data)
