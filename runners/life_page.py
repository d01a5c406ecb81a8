"""The life of an actor as one HTML page, complete in itself, for mail and paper; nothing in it runs or loads."""

from typing import Any

import msgspec

from runners.html import Safe, tag
from runners.life import Life, Node, Turn
from runners.naming import orders_named

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #5b6570; --paper: #ffffff; --box: #f4f6f8; --line: #d5dbe1;
  --was: #9b1c1c; --now: #14662d; --mark: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --dim: #9aa5b1; --paper: #14181c; --box: #1e2429;
  --line: #39424b; --was: #ff9d94; --now: #7fd99a; --mark: #82b8f2; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; }
h1 { font-size: 1.35rem; overflow-wrap: anywhere; margin: 0 0 .3rem; }
h2 { font-size: 1rem; margin: 0; }
a { color: var(--mark); }
code, pre, td, .mono { font-family: ui-monospace, "DejaVu Sans Mono", "Noto Sans Mono CJK SC", monospace;
  font-size: .85em; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--paper); border: 1px solid var(--line);
  border-radius: 4px; padding: .5rem; margin: .3rem 0; }
.dim { color: var(--dim); }
.turn { background: var(--box); border: 1px solid var(--line); border-radius: 6px; padding: .7rem .9rem;
  margin: .9rem 0; }
ul { list-style: none; margin: .4rem 0 0; padding: 0; }
ul ul { margin-left: .5rem; padding-left: .9rem; border-left: 2px solid var(--line); }
li { margin: .45rem 0; overflow-wrap: anywhere; }
.other > .name { font-weight: normal; }
.name { font-weight: 600; }
table { border-collapse: collapse; width: 100%; margin: .3rem 0; }
th, td { text-align: left; vertical-align: top; padding: .12rem .6rem .12rem 0; overflow-wrap: anywhere; }
th { font-weight: normal; color: var(--dim); font-size: .8rem; }
td:nth-child(1) { width: 26%; }
td:nth-child(2) { color: var(--was); width: 34%; }
td:nth-child(3) { color: var(--now); }
summary { cursor: pointer; color: var(--dim); }
@media print {
  :root { --ink: #000; --dim: #444; --paper: #fff; --box: #fff; --line: #bbb; --was: #000; --now: #000; --mark: #000; }
  body { font-size: 10pt; padding: 0; max-width: none; }
  .turn { break-inside: auto; } li { break-inside: avoid-page; } h2 { break-after: avoid; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
}
"""


def page(life: Life, *, zone: str, made_at: str, revealed: bool) -> str:
    """Return the page.

    Args:
        life: what it shows.
        zone: of its times, for people.
        made_at: when it is made, for people.
        revealed: whether personal data are in it: it says so at its head.
    """
    title = f"{orders_named(life.stream)} · 审计历史 audit history"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        # Nothing may run or be loaded, whatever a text from outside should bring along.
        Safe("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        Safe(f"<style>{_STYLE}</style>"),
    )
    shown = sum(_count(turn.caused, life.stream) for turn in life.turns)
    facts = [
        f"{shown} / {life.events} 事件 events",
        f"{len(life.turns)} 消息 messages",
        f"时区 zone {zone}",
        f"生成于 made {made_at}",
    ]
    if life.state:
        facts.insert(0, f"状态 state: {life.state}")
    body = tag(
        "body",
        tag("header", tag("h1", orders_named(life.stream)), tag("p", " · ".join(facts), class_="dim")),
        tag("p", tag("strong", "含个人信息，请妥善保管 · Contains personal data: keep it safe.")) if revealed else None,
        tag("main", [_turn(turn, life.stream) for turn in life.turns]),
    )
    return f'<!DOCTYPE html>\n<html lang="en">{head}{body}</html>\n'


def _count(nodes: list[Node], stream: str) -> int:
    return sum((node.stream == stream) + _count(node.caused, stream) for node in nodes)


def _turn(turn: Turn, stream: str) -> Safe:
    by = turn.by
    who = " ".join(filter(None, (by.kind, by.id, f"({by.role})" if by.role else "")))
    told = [f"来源 from {who}"]
    if turn.observed_at != turn.at:
        told.append(f"所见 seen {turn.observed_at}")
    if turn.source_tag:
        told.append(f"来源标记 source {turn.source_tag}")
    if turn.correlation != turn.message:
        told.append(f"会话 conversation {turn.correlation}")
    if turn.rules:
        told.append(f"规则版本 rule book {turn.rules}")
    told.append(f"消息 message {turn.message}")
    return tag(
        "section",
        tag("h2", tag("time", turn.at, datetime=turn.at)),
        tag("p", " · ".join(told), class_="dim", style="margin:0"),
        _tree(turn.caused, stream),
        class_="turn",
    )


def _tree(nodes: list[Node], stream: str) -> Safe | None:
    return tag("ul", [_node(node, stream) for node in nodes]) if nodes else None


def _node(node: Node, stream: str) -> Safe:
    own = node.stream == stream
    where = f"v{node.version}" if own else f"{orders_named(node.stream)} v{node.version}"
    parts: list[Safe | None] = [
        tag("span", node.label, class_="name"),
        Safe(" "),
        tag("span", f"{where} · {node.tag} · 位置 position {node.position}", class_="dim mono"),
    ]
    if node.answered:
        links = [tag("a", f"v{version}", href=f"#v{version}") for version in node.answered]
        parts.append(tag("div", "答复 answers ", Safe(" ".join(links)), class_="dim"))
    if node.changes:
        rows = [
            tag("tr", tag("td", field), tag("td", plain(before)), tag("td", plain(after)))
            for field, (before, after) in node.changes.items()
        ]
        header = tag("tr", tag("th", "字段 field"), tag("th", "之前 before"), tag("th", "之后 after"))
        parts.append(tag("table", tag("thead", header), tag("tbody", rows)))
    for rule in node.rules:
        named = f"规则 rule {rule.id}" + (f", 版本 version {rule.version}" if rule.version else "")
        words = rule.text or "规则书中已无此文 its text is in no rule book of that version"
        parts.append(tag("details", tag("summary", named), tag("pre", words), open=""))
    if node.personal is not None:
        parts.append(tag("details", tag("summary", "个人信息 personal"), tag("pre", pretty(node.personal)), open=""))
    if node.payload is not None:
        named = f"原始数据 raw bytes {node.digest}"
        parts.append(tag("details", tag("summary", named), tag("pre", node.payload)))
    elif node.digest:
        parts.append(tag("div", f"原始数据 raw bytes {node.digest}", class_="dim mono"))
    parts.append(tag("details", tag("summary", "事件内容 facts"), tag("pre", pretty(node.facts))))
    if node.answers:
        later = [
            tag(
                "li",
                tag("a", f"v{each.version}", href=f"#v{each.version}"),
                f" {each.at} {each.label} {brief(each.facts)}",
            )
            for each in node.answers
        ]
        parts.append(tag("div", tag("span", "后来 later", class_="dim"), tag("ul", later)))
    parts.append(_tree(node.caused, stream))
    return tag(
        "li",
        [part for part in parts if part is not None],
        id=f"v{node.version}" if own else None,
        class_=None if own else "other",
    )


def pretty(value: Any) -> str:
    """Return facts for reading."""
    return value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def plain(value: Any) -> str:
    """Return a value in one line; a dash where there is none."""
    if value is None:
        return "—"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def brief(facts: Any, most: int = 160) -> str:
    """Return the beginning of facts, in one line."""
    told = " ".join(f"{name}={plain(value)}" for name, value in facts.items()) if isinstance(facts, dict) else ""
    return told if len(told) <= most else told[: most - 1] + "…"
