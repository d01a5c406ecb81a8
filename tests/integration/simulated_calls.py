"""Signed calls to the simulated platforms, without the clients."""

import json
import ssl
from typing import Any
from urllib.parse import urlencode

import httpx

from adapters.simulators import SHOP, Simulated, signatures
from adapters.simulators.texts import wall

NOW_MS = 1_794_330_000_000
SECRET = SHOP.app_secret
TLS = ssl.create_default_context()
"""Made once: a client makes one of its own otherwise, which takes longer than a call."""


async def taobao(sim: Simulated, method: str, *, sign: str = "", **params: str) -> dict[str, Any]:
    form = {
        "method": method,
        "app_key": SHOP.app_key,
        "session": sim.platform.tokens.current.access,
        "timestamp": wall(NOW_MS),
        "format": "json",
        "v": "2.0",
        "sign_method": "md5",
        **params,
    }
    form["sign"] = sign or signatures.taobao(form, SECRET)
    return await posted(sim, "/router/rest", form)


async def pinduoduo(sim: Simulated, method: str, **params: str) -> dict[str, Any]:
    form = {
        "type": method,
        "client_id": SHOP.app_key,
        "access_token": sim.platform.tokens.current.access,
        "timestamp": str(NOW_MS // 1000),
        "data_type": "JSON",
        **params,
    }
    form["sign"] = params.get("sign") or signatures.pinduoduo(form, SECRET)
    return await posted(sim, "/api/router", form)


async def jd(sim: Simulated, method: str, asked: dict[str, Any], **params: str) -> dict[str, Any]:
    form = {
        "method": method,
        "app_key": SHOP.app_key,
        "access_token": sim.platform.tokens.current.access,
        "timestamp": wall(NOW_MS) + ".000+0800",
        "v": "2.0",
        "360buy_param_json": json.dumps(asked),
        **params,
    }
    form["sign"] = params.get("sign") or signatures.jd(form, SECRET)
    return await posted(sim, "/routerjson", form)


async def douyin(sim: Simulated, method: str, asked: dict[str, Any], **params: str) -> dict[str, Any]:
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    query = {
        "method": method,
        "app_key": SHOP.app_key,
        "access_token": sim.platform.tokens.current.access,
        "timestamp": str(NOW_MS // 1000),
        "v": "2",
        "sign_method": "hmac-sha256",
        **params,
    }
    query["sign"] = params.get("sign") or signatures.douyin(method, query, text, SECRET)
    return await posted(sim, f"/{method.replace('.', '/')}?{urlencode(query)}", text)


async def wechat(sim: Simulated, path: str, asked: dict[str, Any], access: str = "") -> dict[str, Any]:
    access = access or sim.platform.tokens.current.access
    return await posted(sim, f"{path}?access_token={access}", json.dumps(asked))


async def posted(sim: Simulated, path: str, content: dict[str, str] | str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=sim.base_url, verify=TLS, trust_env=False) as client:
        if isinstance(content, str):
            answer = await client.post(path, content=content)
        else:
            answer = await client.post(path, data=content)
    found: dict[str, Any] = answer.json()
    return found


async def shopify(sim: Simulated, path: str, params: dict[str, str], token: str = "") -> httpx.Response:
    token = token or sim.platform.tokens.current.access
    async with httpx.AsyncClient(base_url=sim.base_url, verify=TLS, trust_env=False) as client:
        return await client.get(path, params=params, headers={"x-shopify-access-token": token})
