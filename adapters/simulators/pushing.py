"""Posts a platform's messages to a receiver: twice, in disorder, and again until the receiver says success."""

import asyncio
import random
import ssl
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import httpx

from adapters.simulators.platform import Push, SimPlatform


class Delivery(NamedTuple):
    """What became of one message."""

    push: Push
    tries: int
    accepted: bool
    status: int
    """Of the last answer; 0 = none came."""
    body: bytes = b""


async def deliver(
    platform: SimPlatform,
    url: str,
    pushes: Iterable[Push],
    *,
    copies: int = 1,
    disorder: random.Random | None = None,
    tries: int = 3,
    gap_s: float = 0.05,
    timeout_s: float = 5.0,
) -> list[Delivery]:
    """Post messages to an address, one after the other, and return what became of each.

    Args:
        platform: whose messages they are: it knows what success looks like.
        url: where to.
        pushes: signed messages.
        copies: how often each is posted in all.
        disorder: where given, shuffles them.
        tries: how often one is posted that the receiver does not answer with success.
        gap_s: wait before the next try, growing.
        timeout_s: for an answer.
    """
    queue = [push for push in pushes for _ in range(copies)]
    if disorder is not None:
        disorder.shuffle(queue)
    async with httpx.AsyncClient(timeout=timeout_s, verify=_tls(), trust_env=False) as client:
        return [await _deliver(platform, client, url, push, tries, gap_s) for push in queue]


@cache
def _tls() -> ssl.SSLContext:
    """Return the trusted roots; reading them takes longer than most posts."""
    return ssl.create_default_context()


async def _deliver(
    platform: SimPlatform, client: httpx.AsyncClient, url: str, push: Push, tries: int, gap_s: float
) -> Delivery:
    status, body = 0, b""
    for attempt in range(1, tries + 1):
        try:
            answer = await client.request(
                push.method, url, params=dict(push.query) or None, headers=dict(push.headers), content=push.body
            )
        except httpx.TransportError:
            status, body = 0, b""
        else:
            status, body = answer.status_code, answer.content
            if platform.push_accepted(status, body):
                return Delivery(push, attempt, True, status, body)
        if attempt < tries:
            await asyncio.sleep(gap_s * attempt)
    return Delivery(push, tries, False, status, body)
