"""What the desk shows of an order: what is kept of it, and what of that everybody may see, without names and words."""

import msgspec


class Item(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Something that waits."""

    kind: str
    item: str
    role: str
    what: str
    since_ms: int
    position: int
    person: str = ""
    state: str = "open"
    advice: str = ""
    due_ms: int = 0
    message: int = 0
    """Number of the message that calls."""


class Desked(msgspec.Struct, gc=False, omit_defaults=True):
    """What people have to do with an order."""

    messages: int = 0
    rounds: int = 0
    complaints: int = 0
    gift_complaints: int = 0
    enquiries: int = 0
    self_service: int = 0
    repeats: int = 0
    items: dict[str, Item] = {}
    """By kind and id."""


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """Something that waits, as everybody may see it: for which role, and no person."""

    kind: str
    """approval, mention, interception or complaint."""
    item: str
    """Its id within the order; of a mention the number of the message that calls."""
    role: str
    """Who should act; "" = a person who was called by name."""
    what: str
    """The approval's form, the interception's reason or the complaint's cause."""
    state: str
    """open, rejected or escalated."""
    due_ms: int
    """UTC ms; 0 = never."""
    since_ms: int
    """UTC ms."""
    position: int
    """Of the last event that changed it."""


class Shown(msgspec.Struct, frozen=True, gc=False):
    """An order that people have, or had, something to do with, as everybody may see it: counts, and what waits."""

    order: str
    """Key of the order."""
    position: int
    updated_at: int
    """UTC ms."""
    messages: int
    """Comments."""
    rounds: int
    """How often the word went from one role to another."""
    complaints: int
    """All there ever were."""
    gift_complaints: int
    """Of them: about a gift."""
    enquiries: int
    self_service: int
    """Of them: looked up by the customer himself."""
    repeats: int
    """Of them: asked again within a day."""
    waiting: list[Waiting]
    """What waits for people now, in the order it came up."""


def shown(key: str, document: Desked, position: int, updated_at: int) -> Shown:
    """Return what everybody may see of an order. `updated_at`: UTC ms."""
    return Shown(
        key,
        position,
        updated_at,
        document.messages,
        document.rounds,
        document.complaints,
        document.gift_complaints,
        document.enquiries,
        document.self_service,
        document.repeats,
        [_waiting(item) for item in document.items.values()],
    )


def _waiting(item: Item) -> Waiting:
    called = item.kind == "mention"  # its id names the person who is called, and its words the one who calls
    name, what = (str(item.message), "") if called else (item.item, item.what)
    return Waiting(item.kind, name, item.role, what, item.state, item.due_ms, item.since_ms, item.position)
