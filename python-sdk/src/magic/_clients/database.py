"""``self.db``: structured reads and writes.

A condition is a dict: ``{"id": 7}``, ``{"total": {"gte": 5}}``, joined by
``and``, ``or`` and ``not``. Decimal, datetime, date, time, UUID, bytes, lists and
JSON values arrive as those Python types and go back unchanged.
"""

from __future__ import annotations

from magic._clients.client import Client, converted, text, type_name, whole
from magic._clients.values import encode_row, encode_value, encode_where, rows_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from typing import Any, TypeAlias, TypeVar, overload

    Value = TypeVar("Value")
    Answer: TypeAlias = Coroutine[Any, Any, Value]
    Row: TypeAlias = dict[str, Any]
    ListOfRows: TypeAlias = list[Row]
else:
    # The typing module is half a megabyte that only type checkers need.
    ListOfRows = list

    def overload(function):
        return function


__all__ = ["Database", "Rows"]


class Rows(ListOfRows):
    """The rows that SQL text brought back: a list of dicts.

    ``row_count`` is the number of rows that the statement returned or changed.
    """

    row_count: int = 0


class Database(Client):
    """The controllers' database (db:read, db:write, db:rawsql)."""

    __slots__ = ()

    def query(
        self,
        table: str,
        where: Mapping[str, object] | None = None,
        *,
        columns: Sequence[str] | None = None,
        order_by: str | Sequence[str] | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> Answer[list[Row]]:
        """The rows that match; ``order_by="-name"`` sorts downwards."""
        answer = self._call(
            "db.query",
            table=text(table, "table"),
            columns=_names(columns, "columns"),
            where=None if where is None else encode_where(where),
            order_by=_order(order_by),
            limit=whole(limit, "limit"),
            offset=whole(offset, "offset"),
        )
        return converted(answer, rows_of)

    def query_one(
        self,
        table: str,
        where: Mapping[str, object] | None = None,
        *,
        columns: Sequence[str] | None = None,
        order_by: str | Sequence[str] | None = None,
    ) -> Answer[Row | None]:
        """The first row that matches, or None."""
        answer = self._call(
            "db.query_one",
            table=text(table, "table"),
            columns=_names(columns, "columns"),
            where=None if where is None else encode_where(where),
            order_by=_order(order_by),
        )
        return converted(answer, _row_of)

    def count(self, table: str, where: Mapping[str, object] | None = None) -> Answer[int]:
        """The number of rows that match."""
        return self._call("db.count", table=text(table, "table"), where=None if where is None else encode_where(where))

    @overload
    def insert(self, table: str, rows: Mapping[str, object] | Sequence[Mapping[str, object]]) -> Answer[int]: ...
    @overload
    def insert(self, table: str, rows: Mapping[str, object], *, returning: Sequence[str]) -> Answer[Row]: ...
    @overload
    def insert(self, table: str, rows: Sequence[Mapping[str, object]], *, returning: Sequence[str]) -> Answer[list[Row]]: ...
    def insert(
        self,
        table: str,
        rows: Mapping[str, object] | Sequence[Mapping[str, object]],
        *,
        returning: Sequence[str] | None = None,
    ) -> Answer[Any]:
        """Adds one row or a list of rows; a column left out gets its default.

        The number of rows, or with ``returning`` those columns of the new row or rows.
        """
        if isinstance(rows, dict):
            sent = [encode_row(rows, "row")]
        elif isinstance(rows, (list, tuple)):
            sent = [encode_row(row, f"rows[{index}]") for index, row in enumerate(rows)]
        else:
            raise TypeError(f"rows must be a dict or a list of dicts, not {type_name(rows)}")
        answer = self._call("db.insert", table=text(table, "table"), rows=sent, returning=_names(returning, "returning"))
        if returning is None:
            return converted(answer, _count_of)
        return converted(answer, _first_of if isinstance(rows, dict) else rows_of)

    @overload
    def update(self, table: str, set: Mapping[str, object], where: Mapping[str, object]) -> Answer[int]: ...
    @overload
    def update(
        self, table: str, set: Mapping[str, object], where: Mapping[str, object], *, returning: Sequence[str]
    ) -> Answer[list[Row]]: ...
    def update(
        self,
        table: str,
        set: Mapping[str, object],
        where: Mapping[str, object],
        *,
        returning: Sequence[str] | None = None,
    ) -> Answer[Any]:
        """Changes the rows that match; their number, or with ``returning`` the rows themselves."""
        answer = self._call(
            "db.update",
            table=text(table, "table"),
            set=encode_row(set, "set"),
            where=encode_where(where),
            returning=_names(returning, "returning"),
        )
        return converted(answer, _count_of if returning is None else rows_of)

    @overload
    def delete(self, table: str, where: Mapping[str, object]) -> Answer[int]: ...
    @overload
    def delete(self, table: str, where: Mapping[str, object], *, returning: Sequence[str]) -> Answer[list[Row]]: ...
    def delete(self, table: str, where: Mapping[str, object], *, returning: Sequence[str] | None = None) -> Answer[Any]:
        """Removes the rows that match; their number, or with ``returning`` the rows as they were."""
        answer = self._call(
            "db.delete", table=text(table, "table"), where=encode_where(where), returning=_names(returning, "returning")
        )
        return converted(answer, _count_of if returning is None else rows_of)

    def raw(self, sql: str, params: Sequence[object] | None = None) -> Answer[Rows]:
        """One SQL statement with parameters $1, $2 and so on (db:rawsql, which production policy denies)."""
        if params is not None and not isinstance(params, (list, tuple)):
            raise TypeError(f"params must be a list of values, not {type_name(params)}")
        sent = None if params is None else [encode_value(value, f"params[{index}]") for index, value in enumerate(params)]
        return converted(self._call("db.raw", sql=text(sql, "sql"), params=sent), _result_of)


def _names(names: object, argument: str) -> list[str] | None:
    if names is None:
        return None
    # Text is a sequence of texts too, of its letters.
    if not isinstance(names, (list, tuple)):
        raise TypeError(f'{argument} must be a list of columns such as ["id"], not {type_name(names)}')
    return [text(name, f"{argument}[{index}]") for index, name in enumerate(names)]


def _order(order: object) -> object:
    return order if isinstance(order, str) else _names(order, "order_by")


def _row_of(answer: Any) -> Row | None:
    row = answer["row"]
    return None if row is None else rows_of({"columns": answer.get("columns", {}), "rows": [row]})[0]


def _first_of(answer: Any) -> Row:
    return rows_of(answer)[0]


def _count_of(answer: Any) -> int:
    count: int = answer["count"]
    return count


def _result_of(answer: Any) -> Rows:
    rows = Rows(rows_of(answer))
    rows.row_count = answer["count"]
    return rows
