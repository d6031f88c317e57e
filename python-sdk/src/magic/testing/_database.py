"""The database in memory: tables, and the structured calls on them.

A run works on a copy that takes the place of the tables when it has succeeded.
Every call works on a copy of its table, so that one which fails half-way leaves
nothing either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from magic.testing._condition import condition, holds_for_all
from magic.testing._grant import Allowance, Grant, is_identifier
from magic.testing._refusal import exhausted, misuse, outside, shortened
from magic.testing._types import KINDS, coerce, common_kind, from_wire, on_wire, to_wire

__all__ = ["Database", "Table", "check_table", "rows_to_wire"]

Row = dict[str, Any]

#: Rows of one answer, and rows that one run may change where the contract says nothing.
READ_ROWS = 10_000
WRITTEN_ROWS = 100_000
#: Rows of one insert.
INSERTED_ROWS = 10_000


class Table:
    """A table: its rows, and as much of its shape as a test cares to give.

    ``columns`` maps names to kinds (text, int, float, bool, decimal, datetime,
    naive_datetime, date, time, uuid, bytes, json, and lists such as ``text[]``).
    Without it the rows show the columns, and a table without rows takes any.
    ``key`` names the column or columns that tell rows apart, ``generated`` the
    int column that gets the next number, ``required`` the columns that are never
    None, ``defaults`` what a column holds that an insert leaves out.
    """

    def __init__(
        self,
        rows: Iterable[Mapping[str, Any]] = (),
        *,
        columns: Mapping[str, str] | None = None,
        key: str | Sequence[str] = (),
        generated: str | None = None,
        required: Sequence[str] = (),
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        given = [dict(row) for row in rows]
        self.is_open = columns is None and not given
        self.columns: dict[str, str | None]
        if columns is not None:
            for name, kind in columns.items():
                if kind.removesuffix("[]") not in KINDS:
                    raise ValueError(f"the column {name!r} has the kind {kind!r}: kinds are {', '.join(KINDS)}")
            self.columns = dict(columns)
        else:
            names = dict.fromkeys(name for row in given for name in row)
            self.columns = {name: common_kind(row.get(name) for row in given) for name in names}
        self.key = [key] if isinstance(key, str) else list(key)
        self.generated = generated
        self.required = list(required)
        self.defaults = dict(defaults or {})
        self.rows: list[Row] = []
        for row in given:
            kept = {name: coerce(kind, row.get(name, self.defaults.get(name)), name) for name, kind in self.columns.items()}
            self.rows.append(kept)
        self._next = 1 + max((row[generated] for row in self.rows), default=0) if generated is not None else 1

    def copy(self) -> Table:
        """The same table, to be changed on its own."""
        made = Table.__new__(Table)
        made.__dict__.update(self.__dict__)
        made.rows = [dict(row) for row in self.rows]
        made.columns = dict(self.columns)
        return made

    def kind(self, column: object) -> str | None:
        """The kind of a column; refuses what is none."""
        if isinstance(column, str) and column in self.columns:
            return self.columns[column]
        if self.is_open and isinstance(column, str) and is_identifier(column, 63):
            self.columns[column] = None
            for row in self.rows:
                row[column] = None
            return None
        raise misuse(f"there is no column `{shortened(str(column))}`; there are {', '.join(self.columns) or 'none yet'}")

    def add(self, given: Mapping[str, Any]) -> Row:
        """Appends a row of wire values."""
        row: Row = {}
        for name, value in given.items():
            kind = self.kind(name)
            row[name] = coerce(kind, from_wire(value), name)
            if kind is None and row[name] is not None:
                self.columns[name] = common_kind([row[name]])
        for name in self.columns:
            row.setdefault(name, self.defaults.get(name))
        if self.generated is not None:
            if row[self.generated] is None:
                row[self.generated] = self._next
            self._next = max(self._next, row[self.generated] + 1)
        row = {name: row[name] for name in self.columns}
        self.rows.append(row)
        return row

    def verify(self) -> None:
        """Refuses rows that break the key or lack what is required."""
        for name in [*self.required, *self.key]:
            if any(row[name] is None for row in self.rows):
                raise misuse(f"the column `{name}` cannot be null")
        if self.key:
            found = [tuple(row[name] for name in self.key) for row in self.rows]
            if any(one in found[:index] for index, one in enumerate(found)):
                raise misuse(f"a row with the same {', '.join(self.key)} is there already")


def rows_to_wire(columns: Mapping[str, str | None], rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows as an answer carries them."""
    named = {name: wire for name, kind in columns.items() if (wire := on_wire(kind)) is not None}
    return {"columns": named, "rows": [{name: to_wire(row[name]) for name in columns} for row in rows]}


class Database:
    """The tables during one run."""

    def __init__(self, tables: Mapping[str, Table], grant: Grant) -> None:
        self.tables = {name: table.copy() for name, table in tables.items()}
        self._grant = grant
        writing = grant.declared("db:write")
        self._limit = (writing.options.get("max_rows") if writing else None) or WRITTEN_ROWS
        self._left = self._limit

    def perform(self, method: str, params: Mapping[str, Any]) -> Any:
        """Answers one call whose table the contract allows."""
        name = params["table"]
        table = self.tables.get(name)
        if table is None:
            raise misuse(f"there is no table `{shortened(name)}`; there are {', '.join(self._seen(method)) or 'none'}")
        table = table.copy()
        actions: dict[str, Callable[[Table, Mapping[str, Any]], Any]] = {
            "db.query": self._query,
            "db.query_one": self._query_one,
            "db.count": self._count,
            "db.insert": self._insert,
            "db.update": self._update,
            "db.delete": self._delete,
        }
        answer = actions[method](table, params)
        self.tables[name] = table
        return answer

    def _seen(self, method: str) -> list[str]:
        """The tables that the contract lets this call see."""
        allowance = self._grant.declared("db:read" if method in ("db.query", "db.query_one", "db.count") else "db:write")
        listed = allowance.listed if allowance else []
        return [name for name in self.tables if listed is None or name in listed]

    def _query(self, table: Table, params: Mapping[str, Any]) -> Any:
        rows = self._sorted(table, params)
        begin = params.get("offset") or 0
        limit = params.get("limit")
        rows = rows[begin:] if limit is None else rows[begin : begin + limit]
        if len(rows) > READ_ROWS:
            raise exhausted("rows", f"the answer has more than {READ_ROWS} rows: read them in parts with limit= and offset=")
        return self._answer(table, params.get("columns"), rows)

    def _query_one(self, table: Table, params: Mapping[str, Any]) -> Any:
        answer = self._answer(table, params.get("columns"), self._sorted(table, params)[:1])
        return {"columns": answer["columns"], "row": next(iter(answer["rows"]), None)}

    def _count(self, table: Table, params: Mapping[str, Any]) -> Any:
        return len(self._matching(table, params.get("where")))

    def _insert(self, table: Table, params: Mapping[str, Any]) -> Any:
        rows = params.get("rows")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise misuse("`rows` is a list of objects")
        if len(rows) > INSERTED_ROWS:
            raise misuse(f"one insert takes at most {INSERTED_ROWS} rows; insert them in parts")
        self._charge(len(rows))
        return self._written(table, params, [table.add(row) for row in rows])

    def _update(self, table: Table, params: Mapping[str, Any]) -> Any:
        changes = {name: coerce(table.kind(name), from_wire(value), name) for name, value in _object(params["set"]).items()}
        if not changes:
            raise misuse("`set` names no column")
        rows = self._chosen(table, params)
        for row in rows:
            row.update(changes)
        return self._written(table, params, rows)

    def _delete(self, table: Table, params: Mapping[str, Any]) -> Any:
        rows = self._chosen(table, params)
        gone = {id(row) for row in rows}
        table.rows = [row for row in table.rows if id(row) not in gone]
        return self._written(table, params, rows)

    def _chosen(self, table: Table, params: Mapping[str, Any]) -> list[Row]:
        """The rows of an update or delete, which must say which."""
        if holds_for_all(params["where"]):
            raise misuse("an update or delete needs a condition in `where`")
        rows = self._matching(table, params["where"])
        self._charge(len(rows))
        return rows

    def _charge(self, rows: int) -> None:
        if rows > self._left:
            allowance = self._grant.declared("db:write")
            assert allowance is not None
            line = allowance.line(max_rows=self._limit - self._left + rows)
            message = f"the call would change {rows} rows, and one request may change {self._limit} in all; write: {line}"
            raise exhausted("rows", message, layer="contract", line=line)
        self._left -= rows

    def _written(self, table: Table, params: Mapping[str, Any], rows: list[Row]) -> Any:
        table.verify()
        returning = params.get("returning")
        answer = {} if returning is None else self._answer(table, returning, rows)
        return {"count": len(rows), **answer}

    def _matching(self, table: Table, where: object) -> list[Row]:
        test = condition({} if where is None else where, table.kind)
        return [row for row in table.rows if test(row) is True]

    def _sorted(self, table: Table, params: Mapping[str, Any]) -> list[Row]:
        rows = self._matching(table, params.get("where"))
        order = params.get("order_by")
        for item in reversed([order] if isinstance(order, str) else order or []):
            name = item.removeprefix("-")
            if table.kind(name) == "json":
                raise misuse(f"rows cannot be sorted by the column `{name}`, which holds json")
            # Rows without a value come last going up and first going down.
            rows.sort(key=_order_of(name), reverse=item != name)
        return rows

    def _answer(self, table: Table, names: Sequence[str] | None, rows: list[Row]) -> dict[str, Any]:
        if names is not None and (not isinstance(names, list) or not names):
            raise misuse("`columns` and `returning` take a list of at least one column")
        columns = table.columns if names is None else {name: table.kind(name) for name in names}
        if names is not None and len(columns) < len(names):
            raise misuse("`columns` and `returning` name each column once")
        return rows_to_wire(columns, rows)


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise misuse("`set` is an object of columns and values")
    return value


def _order_of(name: str) -> Callable[[Row], Any]:
    return lambda row: (True,) if row[name] is None else (False, row[name])


def check_table(name: object, allowance: Allowance) -> None:
    """Judges the table of a call before anything is looked up."""
    if not isinstance(name, str):
        raise misuse("`table` is text")
    parts = name.split(".")
    if len(parts) > 2 or not all(is_identifier(part, 63) for part in parts):
        raise outside(
            f"`{shortened(name)}` is no table's name: letters, digits and underscores, optionally after a schema and a dot",
            capability=allowance.kind,
        )
    allowance.check(name)
    schema, table = parts if len(parts) == 2 else ("", name)
    if schema in ("magic", "information_schema") or schema.startswith("pg_") or table.startswith(("pg_", "sqlite_", "magic_")):
        raise outside(f"`{name}` belongs to the database or to the runtime, and is never a target", capability=allowance.kind)
