"""Runs a controller in a test, in this very process, with back ends in memory.

    from magic.testing import FakeBroker, run

    def test_it_syncs() -> None:
        broker = FakeBroker(
            tables={"customers": [{"id": 7, "name": "Ada"}]},
            http={"POST https://api.stripe.com/v1/invoices": {"id": "in_1"}},
            secrets={"STRIPE_KEY": "sk_test"},
        )
        assert run("controllers/invoice_sync", {"customer_id": 7}, broker=broker)["sync_id"] == "in_1"

What is the same as in the runtime: the finding of the entry point, the making
of the controller object, the passage of input and output through JSON with the
same refusals, the log, the context; the contract's capabilities with their
lists of tables, hosts, methods, keys and queues, and the codes and details of
what they refuse; the clients with every value through JSON; conditions, order
and ``returning``; handles of bound secrets; and that a run which fails leaves
no row, no message and no cache entry behind.

What is not: there is no sandbox and no limit, the schemas are not applied,
policy is not asked, SQL text is not run, names are not resolved and addresses
not judged, and a database has more to say about values than a table in memory.
``magic run`` does all of that, and is the last word.

The contract is found through the decorator. A JSON contract is read directly;
a YAML one is parsed by the ``magic`` program (on PATH, or named by
MAGIC_BINARY), since two parsers would come to differ. Without the program pass
``contract=`` as a dict; otherwise capability calls are refused with a message
that says so, and controllers without capabilities run as they are.
"""

from magic.testing._broker import FakeBroker
from magic.testing._database import Table
from magic.testing._http import Reply, Request
from magic.testing._run import load, run, run_async

__all__ = ["FakeBroker", "Reply", "Request", "Table", "load", "run", "run_async"]
