"""What lines lack on some wires: an id of their own, and their share of what the whole order is given."""

from collections.abc import Sequence

from domain.canonical import TranslationError


def numbered(names: Sequence[str], values: Sequence[tuple[int, int]], where: str) -> list[str]:
    """Return ids of lines that only their goods name: of several of the same goods the later ones are `NAME#2` ….

    They are counted by `values` (price and units, the greater first), not by their places: a line keeps its id when
    the platform lists the lines in another order.

    Raises:
        TranslationError: a name looks like an id made here.
    """
    ids = list(names)
    if len(set(ids)) == len(ids):
        return ids
    seen: dict[str, int] = {}
    for place in sorted(range(len(ids)), key=lambda place: (*(-value for value in values[place]), place)):
        count = seen[names[place]] = seen.get(names[place], 0) + 1
        if count > 1:
            ids[place] = f"{names[place]}#{count}"
    if len(set(ids)) != len(ids):
        raise TranslationError("two lines have the same id", where)
    return ids


def spread(amount: int, weights: Sequence[int]) -> list[int]:
    """Return each line's share of `amount`, in proportion to its weight; the shares add up to `amount` exactly.

    What division leaves over goes to the largest rests first, unit by unit (ties: the earlier line). No share is
    larger than its weight as long as `amount` is not larger than all of them. Where all weights are nothing, nothing
    is shared out.
    """
    total = sum(weights)
    if not total:
        return [0] * len(weights)
    shares = [amount * weight // total for weight in weights]
    rests = sorted(range(len(weights)), key=lambda place: -(amount * weights[place] % total))
    for place in rests[: amount - sum(shares)]:
        shares[place] += 1
    return shares
