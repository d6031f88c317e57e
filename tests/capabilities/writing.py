"""Uses its temporary directory in every way that should work, and in every way that should not."""

import asyncio
import os
import sqlite3
import tempfile

from magic import Controller, contract


def attempt(function):
    """The name of the error, or None."""
    try:
        function()
    except OSError as error:
        return error.strerror and type(error).__name__ + " " + str(error.errno)
    except sqlite3.Error as error:
        return type(error).__name__
    return None


def seen(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@contract("./contract.yaml")
class Writing(Controller):
    async def execute(self, input):
        return await getattr(self, input["how"])(input)

    async def hold(self, input):
        folder = await self.fs.temp()
        (folder / "mine").write_text(input["text"])
        self.log.info("holding " + input["text"])
        while await self.cache.get("over") is None:
            await asyncio.sleep(0.02)
        return {"folder": str(folder), "seen": seen(folder), "text": (folder / "mine").read_text()}

    async def look(self, input):
        folder = await self.fs.temp()
        above = folder.parent
        try:
            others = sorted(os.listdir(above))
        except OSError as error:
            others = [type(error).__name__]
        reached = []
        for name in others:
            for path in (above / name / "mine",):
                try:
                    reached.append(path.read_text())
                except OSError:
                    pass
        return {"folder": str(folder), "seen": seen(folder), "reached": reached}

    async def over(self, input):
        await self.cache.set("over", True)
        return {}

    async def use(self, input):
        folder = await self.fs.temp()

        def fill(size):
            with open(folder / "big", "wb") as file:
                file.write(b"x" * size)
                file.flush()
            os.unlink(folder / "big")

        def many():
            for number in range(1_000_000):
                open(folder / str(number), "w").close()

        fits, full = attempt(lambda: fill(512 << 10)), attempt(lambda: fill(2 << 20))
        (folder / "big").unlink(missing_ok=True)

        def temporary():
            with tempfile.NamedTemporaryFile() as file:
                file.write(b"text")
                file.flush()
                if not file.name.startswith(str(folder)):
                    raise OSError(0, file.name)

        def database():
            connection = sqlite3.connect(f"file:{folder}/own.db?nolock=1", uri=True)
            connection.execute("CREATE TABLE t (a)")
            connection.execute("INSERT INTO t VALUES (7)")
            connection.commit()
            connection.close()
            connection = sqlite3.connect(f"file:{folder}/own.db?nolock=1", uri=True)
            if connection.execute("SELECT a FROM t").fetchall() != [(7,)]:
                raise OSError(0, "the row is not there")
            connection.close()

        return {
            "fits": fits,
            "full": full,
            "tempfile": attempt(temporary),
            "sqlite": attempt(database),
            "run": attempt(lambda: self.program(folder)),
            "device": attempt(lambda: os.mknod(folder / "device", 0o20666, os.makedev(1, 3))),
            "outside": attempt(lambda: open("/escaped", "w").close()),
            "above": attempt(lambda: open(folder / ".." / "escaped", "w").close()),
            "many": attempt(many),
            "same": str(folder) == str(await self.fs.temp()),
        }

    def program(self, folder):
        path = folder / "program"
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        os.execv(path, [str(path)])
