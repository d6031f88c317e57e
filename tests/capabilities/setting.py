"""Tries to leave something behind in its session of the database."""

from magic import Controller, MagicError, contract

STATEMENTS = (
    "SELECT set_config('my.mark', $1, false)",
    "SELECT set_config('search_path', $1, false)",
    "SELECT set_config('TimeZone', 'Asia/Tokyo', false)",
    "SELECT setseed(0.5), $1",
    "SELECT pg_advisory_lock(4711), $1",
    "SET my.mark = 'set'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET ROLE postgres",
    "CREATE TEMP TABLE kept (a int)",
    "PREPARE kept AS SELECT 1",
    "DECLARE kept CURSOR WITH HOLD FOR SELECT 1",
    "LISTEN kept",
)


@contract("./contract.yaml")
class Setting(Controller):
    async def execute(self, input):
        codes = []
        for statement in STATEMENTS:
            try:
                await self.db.raw(statement, ["left"] if "$1" in statement else None)
                codes.append("performed")
            except MagicError as error:
                codes.append(error.code)
        # The transaction goes on, and an ordinary function is let through.
        rows = await self.db.raw("SELECT lower($1) AS low", ["X"])
        return {"codes": codes, "low": rows[0]["low"]}
