"""The read models' tables: written in batches with their checkpoint, rebuilt beside the live ones, asked by people.

A database of their own, on SQLite or PostgreSQL. Everything in it can be made again from the log, so on SQLite it runs
with `synchronous = NORMAL`: a power cut may take the last batches back, together with their checkpoint, and never tears
them apart.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnClause,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    Table,
    Text,
    column,
    create_engine,
    delete,
    event,
    func,
    insert,
    inspect,
    literal_column,
    or_,
    select,
    table,
    tuple_,
    update,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.schema import CreateIndex, CreateSchema, CreateTable, DropTable

KEYS_AT_ONCE = 500
ROWS_AT_ONCE = 16
"""Rows that one statement writes on SQLite: more of them gain nothing. PostgreSQL takes no two of one key in one."""
BUSY_MS = 10_000
"""How long a SQLite connection waits for another writer."""
EQUAL = frozenset({"key", "state", "fulfilment", "channel", "shop", "order_no", "native_status"})
"""Columns of orders that `orders` filters by, as they are."""
_SQLITE = "sqlite:///"


_key: ColumnClause[str] = column("key")
_position: ColumnClause[int] = column("position")
_viewed: ColumnClause[str] = column("viewed")
_sealed: ColumnClause[bytes | None] = column("sealed")


class OutOfStep(Exception):
    """The checkpoint is not where the writer believes it is: another writer, or a gap. Nothing was written."""


class NotBuilt(Exception):
    """A read model is asked for that is not there yet in the form that this build makes. The message says which."""


class Projection(Protocol):
    """As much of a projection as its tables need (see `projections.base`)."""

    @property
    def name(self) -> str:
        """Name of the read model."""
        ...

    @property
    def version(self) -> int:
        """Version of fold and tables."""
        ...

    @property
    def tables(self) -> tuple[Table, ...]:
        """Its tables; the version is in their names."""
        ...


class Naming(Projection, Protocol):
    """A projection that knows what in its rows names a person."""

    def without_person(self, table: Table, row: Sequence[Any]) -> Sequence[Any] | None:
        """Return a row without what names its order's person; None = it goes."""
        ...


class Change(Protocol):
    """What a batch does to one table (see `projections.base.Change`)."""

    @property
    def table(self) -> Table:
        """The table as its projection defines it."""
        ...

    @property
    def rows(self) -> Sequence[tuple[Any, ...]]:
        """Whole rows, each for the row of the same primary key."""
        ...

    @property
    def deletes(self) -> Sequence[tuple[Any, ...]]:
        """Primary keys of rows that go."""
        ...

    @property
    def forgets(self) -> Mapping[str, Sequence[Any]]:
        """Column → values: all rows that have one of them in each of these columns go."""
        ...


class Checkpoint(NamedTuple):
    """How far a version of a projection has got."""

    generation: str
    """Life of the log it was folded from; "" = it has not begun."""
    position: int
    """Of the last event folded in."""
    live: bool
    """Whether it is the version that is shown."""


class Step(NamedTuple):
    """One projection's share of a batch."""

    projection: Projection
    changes: Sequence[Change]
    generation: str
    previous: int
    """Position the checkpoint must be at."""
    position: int
    """Position it gets."""


class Place(msgspec.Struct, frozen=True):
    """Where read models are."""

    url: str
    schema: str | None = None
    scratch: bool = False
    """Whether nobody needs them once this process has ended: SQLite then waits for no disk."""


class ReadModels:
    """All read models of a cell. One writer (a second one is refused, batch by batch); any number of readers."""

    def __init__(self, url: str, schema: str | None = None, *, scratch: bool = False) -> None:
        """Connect to `url`; on PostgreSQL all tables live in `schema`, made if absent. `scratch`: see `Place`."""
        self.place = Place(url, schema, scratch)
        # A file's name is taken as it stands: `?` begins no options in it.
        file = url.removeprefix(_SQLITE)
        address = make_url(url) if file == url else URL.create("sqlite", database=file)
        if address.drivername in ("postgresql", "postgres"):
            address = address.set(drivername="postgresql+psycopg")
        self._sqlite = address.get_backend_name() == "sqlite"
        self._schema = None if self._sqlite else schema
        self._engine = create_engine(address)
        if self._sqlite:
            event.listen(self._engine, "connect", _prepare_scratch if scratch else _prepare_sqlite)
            event.listen(self._engine, "begin", _begin)
        self._mark = "?" if self._sqlite else "%s"
        self._texts: dict[tuple[str, int], str] = {}
        self._tables: dict[str, Table] = {}
        self._index = Table(
            "read_models",
            MetaData(schema=self._schema),
            Column("name", Text, primary_key=True),
            Column("version", Integer, primary_key=True, autoincrement=False),
            Column("generation", Text, nullable=False),
            Column("position", BigInteger, nullable=False),
            Column("live", Boolean, nullable=False),
            Column("tables", Text, nullable=False),
        )
        here = self._engine.dialect.identifier_preparer.format_table(self._index)
        at = " AND ".join(f"{name} = {self._mark}" for name in ("name", "version", "generation", "position"))
        self._move = f"UPDATE {here} SET position = {self._mark} WHERE {at}"  # noqa: S608 - constants only
        """Moves a checkpoint that is where it is believed to be."""

    # --- writing

    def prepare(self, projections: Sequence[Projection]) -> None:
        """Make what is missing of these projections' tables. A projection that has no version yet is live at once."""
        with self._engine.begin() as db:
            if self._schema:
                db.execute(CreateSchema(self._schema, if_not_exists=True))
            db.execute(CreateTable(self._index, if_not_exists=True))
            for projection in projections:
                self._make(db, projection)
                mine = self._of(projection)
                known = db.execute(select(self._index.c.version).where(self._index.c.name == projection.name))
                versions = {row[0] for row in known}
                if projection.version in versions:
                    continue
                names = json.dumps([made.name for made in projection.tables])
                db.execute(
                    insert(self._index).values(generation="", position=0, live=not versions, tables=names, **mine)
                )

    def checkpoint(self, projection: Projection) -> Checkpoint:
        """Return how far this version of the projection has got."""
        c = self._index.c
        with self._engine.connect() as db:
            row = db.execute(select(c.generation, c.position, c.live).where(*self._is(projection))).one()
        return Checkpoint(*row)

    def apply(self, *steps: Step) -> None:
        """Write the steps' rows and checkpoints in ONE transaction.

        Raises:
            OutOfStep: a checkpoint is elsewhere; nothing of any step was written.
        """
        with self._engine.begin() as db:
            for step in steps:
                # First the checkpoint: this takes the write lock, and refuses a second writer before any row.
                believed = step.projection.name, step.projection.version, step.generation, step.previous
                moved = db.exec_driver_sql(self._move, (step.position, *believed))
                if moved.rowcount != 1:
                    raise OutOfStep(
                        f"{step.projection.name} {step.projection.version} is not at "
                        f"{step.generation}:{step.previous}; another projector writes, or events are missing"
                    )
                for change in step.changes:
                    self._write(db, change)

    def reset(self, projection: Projection, generation: str, believed: Checkpoint) -> None:
        """Empty this version's tables, to be built from the beginning of this life of the log.

        Raises:
            OutOfStep: the checkpoint is not the one `believed`; nothing was emptied.
        """
        c = self._index.c
        mine = (*self._is(projection), c.generation == believed.generation, c.position == believed.position)
        with self._engine.begin() as db:
            moved = db.execute(update(self._index).where(*mine).values(generation=generation, position=0))
            if moved.rowcount != 1:
                raise OutOfStep(
                    f"{projection.name} {projection.version} is not at {believed}: another projector writes"
                )
            for made in projection.tables:
                db.execute(delete(self._own(made)))

    def go_live(self, projection: Projection) -> None:
        """Show this version from now on and drop the others, in one transaction."""
        c = self._index.c
        with self._engine.begin() as db:
            db.execute(update(self._index).where(*self._is(projection)).values(live=True))
            others = (c.name == projection.name, c.version != projection.version)
            old = db.execute(select(c.tables).where(*others)).all()
            db.execute(delete(self._index).where(*others))
            mine = {made.name for made in projection.tables}
            for name in (name for row in old for name in json.loads(row[0])):
                if name not in mine:
                    db.execute(DropTable(Table(name, MetaData(schema=self._schema)), if_exists=True))

    def take_out(self, projection: Naming, keys: Collection[str]) -> None:
        """Take what names a person out of these orders' rows, whatever was folded in: of copies, not live ones."""
        with self._engine.begin() as db:
            for made in projection.tables:
                own = self._own(made)
                if "key" not in own.columns:
                    continue
                for row in list(_of_keys(db, select(own), own.c.key, list(keys))):
                    after = projection.without_person(made, row)
                    this = [key == getattr(row, key.name) for key in own.primary_key]
                    if after is None:
                        db.execute(delete(own).where(*this))
                    elif tuple(after) != tuple(row):
                        db.execute(update(own).where(*this).values(dict(zip(own.columns.keys(), after, strict=True))))

    def leave_out_sealed(self, projection: Projection) -> None:
        """Empty all sealed blocks: of copies, not live ones."""
        with self._engine.begin() as db:
            for made in projection.tables:
                own = self._own(made)
                for each in own.columns:
                    if isinstance(each.type, LargeBinary):
                        db.execute(update(own).where(each.is_not(None)).values({each.name: None}))

    # --- reading, for the fold

    def load(self, projection: Projection, keys: Collection[str]) -> dict[str, Sequence[Sequence[Any]]]:
        """Return the rows of these keys, by table name, from the tables that have the first one's primary key."""
        beside = self._beside(projection)
        found: dict[str, list[Sequence[Any]]] = {own.name: [] for own in beside}
        wanted = list(keys)
        if wanted:
            with self._engine.connect() as db:
                for own in beside:
                    for some in _in_parts(wanted):
                        found[own.name] += db.exec_driver_sql(self._find_text(own, len(some)), tuple(some)).all()
        return dict(found)

    def load_all(self, projection: Projection) -> dict[str, Sequence[Sequence[Any]]]:
        """Return every row of all tables, by table name, as of one moment."""
        with self._engine.connect() as db:
            return {made.name: db.execute(select(self._own(made))).all() for made in projection.tables}

    def pages(
        self, projection: Projection, after: int, upto: int, limit: int
    ) -> Iterator[dict[str, Sequence[Sequence[Any]]]]:
        """Walk the rows of the first table with `after` < position <= `upto`, in pages by primary key.

        Rows of the tables that have the same primary key come with them.

        A row that changes meanwhile may be left out: it has a position above `upto` then.
        """
        main = self._own(projection.tables[0])
        keys = list(main.primary_key.columns)
        query = select(main).where(main.c.position > after, main.c.position <= upto).order_by(*keys).limit(limit)
        page = query
        while True:
            with self._engine.connect() as db:
                rows = db.execute(page).all()
            if not rows:
                return
            yield {**self._companions(projection, rows), projection.tables[0].name: rows}
            last = tuple(getattr(rows[-1], key.name) for key in keys)
            page = query.where(tuple_(*keys) > tuple_(*last))

    def since(self, projection: Projection, after: int, upto: int, limit: int) -> dict[str, Sequence[Sequence[Any]]]:
        """Return rows of the first table with `after` < position <= `upto`, the lowest positions first.

        About `limit` of them: those of the last position all come, and fewer than `limit` are all there are. Rows of
        the tables that have the same primary key come with them.
        """
        main = self._own(projection.tables[0])
        place = main.c.position
        wanted = (place > after, place <= upto)
        last = select(place).where(*wanted).order_by(place).offset(limit - 1).limit(1).scalar_subquery()
        with self._engine.connect() as db:
            # One statement: between two of them rows may move on, and a page that looks like the last one be none.
            upper = func.coalesce(last, upto)
            rows = db.execute(select(main).where(place > after, place <= upper).order_by(place)).all()
        return {**self._companions(projection, rows), projection.tables[0].name: rows}

    def rows(
        self, projection: Projection, where: Mapping[str, Any] | None = None
    ) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Walk (table, row) of everything this version holds, by table and primary key: what an audit compares.

        With `where` (column → value) only rows that have these values; tables without such columns are left out.
        """
        values = where or {}
        with self._engine.connect() as db:
            for made in projection.tables:
                own = self._own(made)
                if not values.keys() <= set(own.columns.keys()):
                    continue
                keys = [key.collate(self._bytewise) if isinstance(key.type, Text) else key for key in own.primary_key]
                query = select(own).where(*(own.c[name] == value for name, value in values.items())).order_by(*keys)
                for row in db.execute(query, execution_options={"yield_per": 1000}):
                    yield made.name, tuple(row)

    def rows_of(self, projection: Projection, keys: Collection[str]) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Walk (table, row) of everything this version holds of these orders, by the column `key` of its tables."""
        wanted = list(keys)
        with self._engine.connect() as db:
            for made in projection.tables:
                own = self._own(made)
                for row in _of_keys(db, select(own), own.c.key, wanted):
                    yield made.name, tuple(row)

    def table_pages(
        self, projection: Projection, made: Table, columns: Sequence[str], channels: Collection[str], limit: int
    ) -> Iterator[Sequence[Sequence[Any]]]:
        """Walk the rows of one table as of one moment, by primary key, `limit` at a time.

        Args:
            projection: what the table is of.
            made: the table as its projection defines it.
            columns: what is wanted of a row.
            channels: only rows of these, by the column `channel`; empty = all.
            limit: most rows of a page.

        Raises:
            NotBuilt: this version of the projection is not the one that is shown.
        """
        own = self._own(made)
        query = select(*(own.c[name] for name in columns)).order_by(*own.primary_key)
        if channels:
            query = query.where(own.c.channel.in_(channels))
        with self._engine.connect() as db:
            if self._live(db, projection.name) != projection.version:
                raise NotBuilt(
                    f"the read model {projection.name} is not built yet; let `orderspine up` run for a while"
                )
            yield from db.execute(query, execution_options={"yield_per": limit}).partitions()

    def _beside(self, projection: Projection) -> list[Table]:
        """Return the first table and those that have the same single primary key."""
        names = [key.name for key in projection.tables[0].primary_key]
        same = [made for made in projection.tables if [key.name for key in made.primary_key] == names]
        return [self._own(made) for made in (same if len(names) == 1 else projection.tables[:1])]

    def _companions(self, projection: Projection, rows: Sequence[Any]) -> dict[str, Sequence[Sequence[Any]]]:
        main, *others = self._beside(projection)
        if not others:
            return {}
        key = next(iter(main.primary_key)).name
        wanted = [getattr(row, key) for row in rows]
        with self._engine.connect() as db:
            return {own.name: list(_of_keys(db, select(own), next(iter(own.primary_key)), wanted)) for own in others}

    # --- questions

    def positions(self) -> list[dict[str, Any]]:
        """Return name, version, generation, position and live of each projection."""
        c = self._index.c
        with self._engine.connect() as db:
            if not self._begun(db):
                return []
            query = select(c.name, c.version, c.generation, c.position, c.live).order_by(c.name, c.version)
            return [dict(row) for row in db.execute(query).mappings()]

    def orders(self, filters: Mapping[str, str | int] | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Return the order records that fit, the last changed first.

        Filters: those of `EQUAL`; `tracking` and `customer`, as they are or ever were; `held`, `quarantined` and
        `pick_list` (True or False: whether there is one); `after` and `before` (positions, both excluded, for paging).

        Raises:
            KeyError: there is no such filter.
        """
        with self._engine.connect() as db:
            if self._live(db, "orders") is None:
                return []
            query = self._query(db, "orders", (*ORDER_RECORD, "document")).order_by(_position.desc()).limit(limit)
            for name, value in (filters or {}).items():
                query = query.where(self._condition(db, name, value))
            found = [dict(row) for row in db.execute(query).mappings()]
            views = self._views(db, [row["key"] for row in found])
        for row in found:
            document = json.loads(row.pop("document"))
            row["items"] = _items(views[row["key"]][0], document) if row["key"] in views else []
            row["held"] = bool(row["held"])
        return found

    def order(self, key: str) -> dict[str, Any] | None:
        """Return all there is of an order.

        That is: what its channel says of it, what became of it, its `items` (as the channel says, and `status`,
        `cancelled` units and `after_sale_status` by all that happened), and its `sealed` block (bytes or None).
        """
        with self._engine.connect() as db:
            if self._live(db, "orders") is None:
                return None
            query = self._query(db, "orders", ("document", *FROM_VIEW)).where(_key == key)
            row = db.execute(query).mappings().one_or_none()
            views = self._views(db, [key])
        if row is None:
            return None
        document = json.loads(row["document"])
        viewed, sealed = views.get(key, ({"lines": []}, None))
        said = {name: value for name, value in viewed.items() if name not in ("lines", "parcels", "status")}
        return {
            **{name: row[name] for name in FROM_VIEW},
            **said,
            **document,
            "items": _items(viewed, document),
            "sealed": sealed,
        }

    def inventory(
        self, warehouse: str | None = None, sku: str | None = None, limit: int = 10_000
    ) -> list[dict[str, Any]]:
        """Return the stock levels, by warehouse and SKU."""
        asked = {"warehouse": warehouse, "sku": sku}
        return self._listed("inventory", asked, ("warehouse", "sku"), limit)

    def low_stock(self, warehouse: str | None = None, limit: int = 10_000) -> list[dict[str, Any]]:
        """Return the stock levels that a reorder signal is open for, by warehouse and SKU."""
        return self._listed("inventory", {"warehouse": warehouse}, ("warehouse", "sku"), limit, column("to_order") > 0)

    def pick_lists(self, asked: Mapping[str, str | None], limit: int = 1_000) -> list[dict[str, Any]]:
        """Return the open pick lists in the order in which they are to be picked, each with its lines.

        `asked` may name warehouse, area, key (of the order) and pick_list; `lines` are [SKU, units, scanned].
        """
        # What was promised nothing comes behind what was promised something.
        turn = ("rank", "ship_by_ms = 0", "ship_by_ms", "issued_ms", "pick_list")
        found = self._listed("pick_lists", asked, turn, limit, of="orders")
        return [{**row, "lines": json.loads(row["lines"]), "processing": bool(row["processing"])} for row in found]

    def intake(self, channel: str | None = None, shop: str | None = None) -> list[dict[str, Any]]:
        """Return what became of everything that came in, by channel and shop."""
        return self._listed("intake", {"channel": channel, "shop": shop}, ("channel", "shop"), 100_000)

    def desk(
        self,
        *,
        role: str | None = None,
        person: str | None = None,
        kind: str | None = None,
        key: str | None = None,
        limit: int = 1_000,
    ) -> list[dict[str, Any]]:
        """Return what waits for people: what is due first comes first, then what has waited longest.

        Args:
            role: only what waits for this role, or (where `person` is given) for this person. One that is none of the
                usual roles is called in comments like a person.
            person: only what waits for this person, or (where `role` is given) for this role.
            kind: only approvals, mentions, interceptions or complaints.
            key: only of this order.
            limit: most rows.
        """
        with self._engine.connect() as db:
            if self._live(db, "desk") is None:
                return []
            due: ColumnClause[int] = column("due_ms")
            names = ("key", "kind", "item")
            query = self._query(db, "desk_items", ("*",), "desk").limit(limit)
            query = query.order_by(due == 0, due, column("since_ms"), *(column(name) for name in names))
            mine = [each for each in (role, person) if each is not None]
            if mine:
                query = query.where(or_(column("role") == role, column("person").in_(mine)))
            for name, value in (("kind", kind), ("key", key)):
                if value is not None:
                    query = query.where(column(name) == value)
            return [dict(row) for row in db.execute(query).mappings()]

    def thread(self, key: str) -> list[dict[str, Any]]:
        """Return what people did and said about an order, oldest first; `sealed` is what was written."""
        with self._engine.connect() as db:
            if self._live(db, "desk") is None:
                return []
            query = self._query(db, "desk_thread", ("*",), "desk").where(_key == key).order_by(column("version"))
            rows = [dict(row) for row in db.execute(query).mappings()]
        return [{**row, "facts": json.loads(row["facts"])} for row in rows]

    def desked(self, key: str) -> dict[str, Any] | None:
        """Return an order's counts: messages, rounds, complaints, enquiries, what waits; None where none is known."""
        with self._engine.connect() as db:
            if self._live(db, "desk") is None:
                return None
            row = db.execute(self._query(db, "desk", ("*",)).where(_key == key)).mappings().first()
        return {name: value for name, value in row.items() if name != "document"} if row else None

    def after_sales(
        self, key: str | None = None, *, open_only: bool = False, limit: int = 10_000
    ) -> list[dict[str, Any]]:
        """Return after-sale cases, of one order or of all, the oldest first; each with its order's `currency`."""
        with self._engine.connect() as db:
            if self._live(db, "after_sales") is None:
                return []
            query = self._query(db, "after_sales", ("*",))
            if key is not None:
                query = query.where(_key == key)
            if open_only:
                query = query.where(column("open") == 1)
            query = query.order_by(column("opened_ms"), _key, column("number")).limit(limit)
            found = [dict(row) for row in db.execute(query).mappings()]
            keys = sorted({row["key"] for row in found})
            currencies: dict[str, str] = dict(_of_keys(db, self._query(db, "orders", ("key", "currency")), _key, keys))
        for row in found:
            row.update(json.loads(row.pop("document")), open=bool(row["open"]))
            row["currency"] = currencies.get(row["key"], "")
        return found

    def after_sale_reasons(
        self, from_ms: int, to_ms: int, kinds: Collection[str] = ()
    ) -> dict[tuple[str, str], tuple[int, int]]:
        """Return (SKU, reason) → (cases, units) of cases that were opened in [`from_ms`, `to_ms`), UTC ms.

        Only those of these kinds are counted, where some are named.
        """
        found: dict[tuple[str, str], tuple[int, int]] = {}
        with self._engine.connect() as db:
            if self._live(db, "after_sales") is None:
                return found
            opened: ColumnClause[int] = column("opened_ms")
            query = self._query(db, "after_sales", ("reason", "document")).where(opened >= from_ms, opened < to_ms)
            if kinds:
                query = query.where(column("kind").in_(sorted(kinds)))
            for reason, document in db.execute(query, execution_options={"yield_per": 1000}):
                shown = json.loads(document)
                skus = shown.get("skus", {})
                units: dict[str, int] = {}
                for line, quantity in shown["case"]["lines"]:
                    units[skus.get(line, "")] = units.get(skus.get(line, ""), 0) + quantity
                for sku, quantity in units.items():
                    cases, before = found.get((sku, reason), (0, 0))
                    found[sku, reason] = cases + 1, before + quantity
        return found

    def finance_days(self, days: Collection[str]) -> set[str]:
        """Return the orders to which something of money happened on one of these days (YYYY-MM-DD)."""
        with self._engine.connect() as db:
            if not days or self._live(db, "finance") is None:
                return set()
            query = self._query(db, "finance_days", ("key",), "finance").where(column("day").in_(sorted(days)))
            return {row[0] for row in db.execute(query)}

    def finance_lines(
        self, keys: Collection[str] | None = None, *, day: str | None = None, **asked: str | None
    ) -> list[dict[str, Any]]:
        """Return lines of statements, of these orders or of a day; `asked` may name channel, shop and kind."""
        order = ("channel", "shop", "day", "line", "nth")
        if keys is None:
            return self._listed("finance_lines", {"day": day, **asked}, order, 10_000_000, of="finance")
        found, wanted = [], sorted(keys)
        for some in _in_parts(wanted):
            of_some = _key.in_(some)
            found += self._listed("finance_lines", {"day": day, **asked}, order, 10_000_000, of_some, of="finance")
        return found

    def finance_statements(self, channel: str | None = None, shop: str | None = None) -> list[dict[str, Any]]:
        """Return the statements that were read to their end, one row for each day of each."""
        asked = {"channel": channel, "shop": shop}
        order = ("channel", "shop", "day", "statement")
        found = self._listed("finance_statements", asked, order, 1_000_000, of="finance")
        return [{**row, "settles": bool(row["settles"])} for row in found]

    def finance_differences(self, limit: int = 100_000, **asked: str | None) -> list[dict[str, Any]]:
        """Return differences; `asked` may name id, channel, shop, day, reason, state and key."""
        return self._listed(
            "finance_differences", asked, ("day", "channel", "shop", "reason", "id"), limit, of="finance"
        )

    def finance_counts(self, day: str | None = None) -> list[dict[str, Any]]:
        """Return how many differences there are for each day, channel, reason and state."""
        by = ("day", "channel", "reason", "state")
        with self._engine.connect() as db:
            if self._live(db, "finance") is None:
                return []
            query = self._query(db, "finance_differences", (*by, "count(*)"), "finance")
            query = query.group_by(*map(literal_column, by)).order_by(*map(literal_column, by))
            if day is not None:
                query = query.where(column("day") == day)
            return [dict(zip((*by, "number"), row, strict=True)) for row in db.execute(query)]

    def checks(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return what self-checks found, the last one first."""
        found = self._listed("checks", {}, ("position DESC",), limit)
        return [{**row, "differ": json.loads(row["differ"])} for row in found]

    def kpi_hours(self, first: int, last: int) -> list[str]:
        """Return the sums of the KPIs of hours [`first`, `last`), since 1970 in UTC, by channel."""
        with self._engine.connect() as db:
            if self._live(db, "kpis") is None:
                return []
            hour: ColumnClause[int] = column("hour")
            query = self._query(db, "kpi_hours", ("document",), "kpis").where(hour >= first, hour < last)
            return [row[0] for row in db.execute(query.order_by(_key))]

    def kpi_orders(self, first: int, last: int) -> Iterator[tuple[str, str, str]]:
        """Walk (key, channel, facts) of the orders that count for KPIs of hours [`first`, `last`), by key."""
        with self._engine.connect() as db:
            if self._live(db, "kpis") is None:
                return
            hour: ColumnClause[int] = column("hour")
            latest: ColumnClause[int] = column("last_hour")
            query = self._query(db, "kpi_orders", ("key", "channel", "document"), "kpis")
            query = query.where(latest >= first, hour < last).order_by(_key)
            for row in db.execute(query, execution_options={"yield_per": 1000}):
                yield row[0], row[1], row[2]

    def kpi_waiting(self) -> list[tuple[str, str, int, str]]:
        """Return (key, channel, since when in UTC ms, facts) of orders that wait for us, the oldest first."""
        with self._engine.connect() as db:
            if self._live(db, "kpis") is None:
                return []
            since: ColumnClause[int] = column("since_ms")
            query = self._query(db, "kpi_orders", ("key", "channel", "since_ms", "document"), "kpis")
            query = query.where(column("waits") == 1).order_by(since, _key)
            return [(row[0], row[1], row[2], row[3]) for row in db.execute(query)]

    def count_orders(self, by: str = "state", filters: Mapping[str, str | int] | None = None) -> dict[str, int]:
        """Return how many orders there are for each value of a column of `EQUAL`; of those that fit, as in `orders`.

        Raises:
            KeyError: there is no such column or filter.
        """
        if by not in EQUAL:
            raise KeyError(f"orders cannot be counted by {by!r}; choose from {sorted(EQUAL)}")
        with self._engine.connect() as db:
            if self._live(db, "orders") is None:
                return {}
            query = self._query(db, "orders", (by, "count(*)")).group_by(literal_column(by))
            for name, value in (filters or {}).items():
                query = query.where(self._condition(db, name, value))
            return {row[0]: row[1] for row in db.execute(query)}

    def close(self) -> None:
        """Release the connections."""
        self._engine.dispose()

    # --- parts

    @property
    def _bytewise(self) -> str:
        return "BINARY" if self._sqlite else "C"

    def _of(self, projection: Projection) -> dict[str, Any]:
        return {"name": projection.name, "version": projection.version}

    def _is(self, projection: Projection) -> tuple[ColumnElement[bool], ...]:
        return self._index.c.name == projection.name, self._index.c.version == projection.version

    def _own(self, made: Table) -> Table:
        """Return a projection's table as it is in this database's schema."""
        own = self._tables.get(made.name)
        if own is None:
            own = self._tables[made.name] = made.to_metadata(MetaData(schema=self._schema))
        return own

    def _make(self, db: Connection, projection: Projection) -> None:
        for made in projection.tables:
            own = self._own(made)
            db.execute(CreateTable(own, if_not_exists=True))
            for index in sorted(own.indexes, key=lambda index: str(index.name)):
                db.execute(CreateIndex(index, if_not_exists=True))

    def _write(self, db: Connection, change: Change) -> None:
        if change.forgets:
            own = self._own(change.table)
            any_of = {
                name: [value for (value,) in self._storable([(each,) for each in values])]
                for name, values in change.forgets.items()
            }
            db.execute(delete(own).where(*(own.c[name].in_(values) for name, values in any_of.items())))
        if change.rows:
            self._put(db, change.table, self._storable(change.rows))
        if change.deletes:
            db.exec_driver_sql(self._delete_text(change.table), self._storable(change.deletes))

    def _put(self, db: Connection, made: Table, rows: list[tuple[Any, ...]]) -> None:
        many = len(rows) - len(rows) % ROWS_AT_ONCE if self._sqlite else 0
        if many:
            joined = [tuple(chain(*rows[at : at + ROWS_AT_ONCE])) for at in range(0, many, ROWS_AT_ONCE)]
            db.exec_driver_sql(self._put_text(made, ROWS_AT_ONCE), joined)
        if many < len(rows):
            db.exec_driver_sql(self._put_text(made, 1), rows[many:])

    def _storable(self, rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """PostgreSQL has no text with NUL; in ids from outside it may stand."""
        if self._sqlite:
            return list(rows)
        return [
            tuple(value.replace("\0", "�") if isinstance(value, str) and "\0" in value else value for value in row)
            for row in rows
        ]

    def _put_text(self, made: Table, count: int) -> str:
        """Return the statement for so many rows; the driver runs it over all of a batch."""
        text = self._texts.get((made.name, count))
        if text is None:
            own = self._own(made)
            quote = self._engine.dialect.identifier_preparer
            keys = ", ".join([quote.quote(key.name) for key in own.primary_key])
            columns = [quote.quote(each.name) for each in own.columns]
            free = [
                quote.quote(each.name) for each in own.columns if not each.primary_key and not each.info.get("fixed")
            ]
            row = f"({', '.join([self._mark] * len(columns))})"
            text = (
                f"INSERT INTO {quote.format_table(own)} ({', '.join(columns)}) VALUES {', '.join([row] * count)} "  # noqa: S608
                f"ON CONFLICT ({keys}) DO "
                + ("UPDATE SET " + ", ".join(f"{each} = excluded.{each}" for each in free) if free else "NOTHING")
            )
            self._texts[made.name, count] = text
        return text

    def _delete_text(self, made: Table) -> str:
        """Return the statement that deletes the row of one key."""
        own = self._own(made)
        quote = self._engine.dialect.identifier_preparer
        this = " AND ".join([f"{quote.quote(key.name)} = {self._mark}" for key in own.primary_key])
        return f"DELETE FROM {quote.format_table(own)} WHERE {this}"  # noqa: S608

    def _find_text(self, own: Table, count: int) -> str:
        """Return the statement for the rows of so many keys."""
        quote = self._engine.dialect.identifier_preparer
        columns = ", ".join([quote.quote(each.name) for each in own.columns])
        key = next(iter(own.primary_key))
        marks = ", ".join([self._mark] * count)
        return f"SELECT {columns} FROM {quote.format_table(own)} WHERE {quote.quote(key.name)} IN ({marks})"  # noqa: S608

    def _begun(self, db: Connection) -> bool:
        return inspect(db).has_table("read_models", schema=self._schema)

    def _live(self, db: Connection, name: str) -> int | None:
        """Return the version that is shown; None where nothing was ever built."""
        if not self._begun(db):
            return None
        c = self._index.c
        query = select(c.version).where(c.name == name, c.live).order_by(c.version.desc()).limit(1)
        version: int | None = db.execute(query).scalar()
        return version

    def _query(self, db: Connection, name: str, columns: Sequence[str], of: str = "") -> Select[Any]:
        live = table(f"{name}_v{self._live(db, of or name)}", schema=self._schema)
        shown: list[ColumnElement[Any]] = [literal_column(each) for each in columns]
        return select(*shown).select_from(live)

    def _condition(self, db: Connection, name: str, value: str | int) -> ColumnElement[bool]:
        here: ColumnClause[Any] = column(name)
        if name in EQUAL:
            return here == value
        match name:
            case "tracking" | "customer":
                return self._leads(db, name, value)
            case "held":
                return here == int(value)
            case "quarantined" | "pick_list":
                return here != "" if value else here == ""
            case "after":
                return _position > value
            case "before":
                return _position < value
        raise KeyError(f"orders cannot be filtered by {name!r}")

    def _views(self, db: Connection, keys: Sequence[str]) -> dict[str, tuple[dict[str, Any], bytes | None]]:
        """Return the channel's view and the sealed block of these orders."""
        live = table(f"order_views_v{self._live(db, 'orders')}", schema=self._schema)
        query = select(_key, _viewed, _sealed).select_from(live)
        return {
            key: (json.loads(viewed)["snapshot"], sealed) for key, viewed, sealed in _of_keys(db, query, _key, keys)
        }

    def _leads(self, db: Connection, kind: str, value: str | int) -> ColumnElement[bool]:
        search = table(f"order_search_v{self._live(db, 'orders')}", schema=self._schema)
        found = select(_key).select_from(search).where(column("kind") == kind, column("value") == value)
        return _key.in_(found)

    def _listed(
        self,
        name: str,
        asked: Mapping[str, str | None],
        keys: Sequence[str],
        limit: int,
        *conditions: ColumnElement[bool],
        of: str = "",
    ) -> list[dict[str, Any]]:
        """Return rows of a table of the projection `of`; "" = the one of the table's name."""
        with self._engine.connect() as db:
            if self._live(db, of or name) is None:
                return []
            query = self._query(db, name, ("*",), of).where(*conditions).limit(limit)
            query = query.order_by(*(literal_column(key) for key in keys))
            for key, value in asked.items():
                if value is not None:
                    query = query.where(column(key) == value)
            return [dict(row) for row in db.execute(query).mappings()]


ORDER_RECORD = (
    "key",
    "channel",
    "shop",
    "order_no",
    "position",
    "version",
    "updated_at",
    "updated_by",
    "state",
    "fulfilment",
    "native_status",
    "customer",
    "ordered_ms",
    "ordered_at",
    "currency",
    "amount_paid",
    "held",
    "quarantined",
    "pick_list",
    "source_tag",
)
"""Columns of an order in a list."""


FROM_VIEW = ("native_status", "customer")
"""What an order has even before its channel's view is known."""


def _items(viewed: dict[str, Any], document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lines as the channel says them, each with what became of it."""
    cancelled = document.get("cancelled_units", {})
    shipped = document.get("shipped_lines", ())
    after_sales = document.get("after_sale_lines", {})
    skus = document.get("skus", {})
    items = []
    for line in viewed["lines"]:
        units = cancelled.get(line["id"], 0)
        gone = line.get("state") == "cancelled" or units >= line["quantity"]
        status = "cancelled" if gone else "shipped" if line["id"] in shipped else "open"
        shown = {**line, "status": status}
        if line["id"] in skus:
            shown["sku"] = skus[line["id"]]
        if units:
            shown["cancelled"] = units
        if line["id"] in after_sales:
            shown["after_sale_status"] = after_sales[line["id"]]
        items.append(shown)
    return items


def _of_keys(db: Connection, query: Any, key: ColumnElement[Any], keys: Sequence[Any]) -> Iterator[Any]:
    """Ask for the rows of many keys, so many at once as a statement should name."""
    for some in _in_parts(keys):
        yield from db.execute(query.where(key.in_(some)))


def _in_parts(keys: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(keys), KEYS_AT_ONCE):
        yield keys[start : start + KEYS_AT_ONCE]


def _prepare_scratch(db: Any, record: Any) -> None:
    _prepare_sqlite(db, record)
    db.execute("PRAGMA synchronous = OFF")


def _prepare_sqlite(db: Any, _record: Any) -> None:
    db.isolation_level = None  # transactions are begun by hand: the driver's own ways differ from release to release
    db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    db.execute("PRAGMA page_size = 8192")  # of a new file: views fill pages of this size better than smaller ones
    db.execute("PRAGMA journal_mode = WAL").fetchall()
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA cache_size = -32768")
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute("PRAGMA wal_autocheckpoint = 4000")
    db.execute(f"PRAGMA journal_size_limit = {64 << 20}")


def _begin(db: Connection) -> None:
    db.exec_driver_sql("BEGIN")
