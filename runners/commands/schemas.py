"""`schemas`: what published events and documents look like."""

from typing import Annotated

from cyclopts import Parameter, validators

from runners.commands.common import Exit, Failure, JsonOption, escape, print_json, show, table


def schemas(
    tag: Annotated[str, Parameter(help="Tag of an event, or name of a document: order.paid, inventory …")] = "",
    /,
    *,
    version: Annotated[
        int, Parameter(help="Which version; the newest where it is left out.", validator=validators.Number(gte=0))
    ] = 0,
    json: JsonOption = False,
) -> Exit:
    """List the published schemas 数据契约, or print one as JSON Schema; needs no data directory."""
    from runners.contract import listed, named, released  # noqa: PLC0415

    contract = released()
    if not tag:
        if version:
            raise Failure(
                Exit.USAGE, "--version is of one schema: name it, for example `orderspine schemas order.paid`"
            )
        rows = list(listed(contract))
        if json:
            print_json(rows)
            return Exit.OK
        made = table("name", "version", "about", right=("version",))
        for row in rows:
            made.add_row(escape(row.name), str(row.version), escape(row.about.partition("\n")[0]))
        show(made)
        return Exit.OK
    name, of_tag = named(tag)
    if name not in contract.shapes:
        raise Failure(Exit.USAGE, f"there is no schema {tag[:80]!r}: `orderspine schemas` lists them")
    wanted = version or (of_tag if name != tag else contract.newest(name))
    found = contract.shapes[name].get(str(wanted))
    if found is None:
        there = ", ".join(contract.shapes[name])
        raise Failure(Exit.USAGE, f"{name} has no version {wanted}: there are {there}")
    print_json(found)
    return Exit.OK
