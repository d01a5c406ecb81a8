"""Whoever waits hears what became of his messages, however much there is to say."""

from pathlib import Path

import msgspec

from adapters.nats.address import Address
from domain.envelope import By
from domain.ids import intake_key
from domain.mail import AsideReport, Mail, Reply, decode_replies
from runners.bootstrap import ADDRESS_FILE
from runners.post import Postman
from tests.integration.harness import running_cell
from tests.spec import T0

LONG = "原因" * 1_500
"""A reason of 9,000 bytes: of 128 such the broker takes no message."""


async def test_answers_that_are_too_long_for_one_message_come_in_several(tmp_path: Path) -> None:
    to, by = intake_key("pos", "s"), By("channel", "pos")
    mails = [Mail(to, AsideReport("pos", "s", "refused", f"{n} {LONG}", b"%d" % n), T0, by) for n in range(200)]
    async with running_cell(tmp_path, batch_messages=1_000) as cell:
        at = Address.read(tmp_path / ADDRESS_FILE)
        broker = f"nats://{at.user}:{at.password}@{at.url.removeprefix('nats://')}"
        cell.start()
        async with Postman(msgspec.structs.replace(cell.settings, broker=broker), timeout_s=20) as postman:
            replies = await postman.send(mails)
    assert {reply.outcome for reply in replies} == {"refused"}
    assert [reply.reason.split()[0] for reply in replies] == [str(n) for n in range(200)]
    assert "worker.not_answered" not in cell.worker_log()


async def test_an_address_that_nobody_can_be_answered_at_keeps_no_answer_from_others(tmp_path: Path) -> None:
    to, by = intake_key("pos", "s"), By("channel", "pos")
    addresses = ["a\r\nNONSENSE", "a b", "a 0\r\n\r\nPUB mail.main.order.x 1\r\nx", "good"]
    mails = [
        Mail(to, AsideReport("pos", "s", "refused", "why", b"%d" % n), T0, by, reply_to=address)
        for n, address in enumerate(addresses)
    ]
    async with running_cell(tmp_path) as cell:
        heard = await (await cell.nc()).subscribe("good")
        last = await cell.publish(mails)
        cell.start()
        assert decode_replies((await heard.next_msg(20)).data).replies == (Reply(last, "refused", "why"),)
        assert (await cell.info()).last_seq == last
    assert "worker.broker_in_doubt" not in cell.worker_log()
