"""Webhooks of Shopify: a whole order, signed with HMAC-SHA256 over the body. Headers come in two spellings."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from adapters.platforms.genuine import check_posted, check_same, one_of
from domain.platforms import PushAnswer, Pushed, PushRequest

SUCCESS: Final = PushAnswer(200, "text/plain; charset=utf-8", b"")


def webhook_signature(secret: str, raw: bytes) -> str:
    """Return what the header of the signature must be."""
    return base64.b64encode(hmac.digest(secret.encode(), raw, hashlib.sha256)).decode()


class ShopifyReceiver:
    """Verifies webhooks of one shop."""

    def __init__(self, shop_domain: str, app_secret: Callable[[], str]) -> None:
        self._shop_domain = shop_domain
        self._app_secret = app_secret

    def receive(self, request: PushRequest) -> Pushed:
        """Verify a webhook.

        Raises:
            NotGenuine: it is not Shopify's, or another shop's.
        """
        check_posted(request)
        given = one_of(request.headers, "x-shopify-hmac-sha256", "shopify-hmac-sha256")
        domain = one_of(request.headers, "x-shopify-shop-domain", "shopify-shop-domain")
        webhook = one_of(request.headers, "x-shopify-webhook-id", "shopify-webhook-id")
        check_same(given, webhook_signature(self._app_secret(), request.body), "the signature is wrong")
        check_same(domain.lower(), self._shop_domain.lower(), "it is for another shop")
        return Pushed((request.body,) if request.body else (), SUCCESS, webhook)
