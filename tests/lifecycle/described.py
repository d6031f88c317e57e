"""What the tests of the description add to schemathesis: names that exist, archives as bodies, and one check of their own.

schemathesis reads /openapi.json of the server and makes requests of it, right ones and wrong ones, and holds every answer
against the same document. It loads this file by SCHEMATHESIS_HOOKS.
"""

import gzip
import io
import json
import tarfile

import schemathesis
from hypothesis import strategies

# Controllers that the test has deployed. Only one of them may be taken out of service by a request that happens to fit.
DEPLOYED = ["Echo", "Strict", "Failing"]
SPARE = "Spare"
ARCHIVES = ["application/zstd", "application/gzip"]

# What a controller brings about, and a state that does not keep up with a machine under load: both are documented.
FAILING = {("E3003", "raised"), ("E4005", "store")}


def archive(version: int, code: str, cut: int) -> bytes:
    contract = f"name: Made\nversion: 1.{version}.0\ninput: {{type: object}}\noutput: {{type: object}}\n"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in (("contract.yaml", contract), ("controller.py", code)):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    packed = gzip.compress(out.getvalue(), compresslevel=1, mtime=0)
    return packed[: len(packed) - cut]


CODE = "from magic import contract\n\n\n@contract('./contract.yaml')\nasync def handle(input, ctx):\n    return {}\n"

archives = strategies.one_of(
    strategies.binary(max_size=300),
    strategies.builds(
        archive, strategies.integers(0, 9), strategies.sampled_from([CODE, "raise ValueError()\n"]), strategies.just(0)
    ),
    strategies.builds(archive, strategies.integers(0, 9), strategies.just(CODE), strategies.integers(1, 200)),
)

for kind in ARCHIVES:
    schemathesis.openapi.media_type(kind, archives)


@schemathesis.serializer(*ARCHIVES)
def as_it_is(context, value):
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@schemathesis.hook
def before_generate_path_parameters(context, strategy):
    """Names that nobody has are refused by the first look; half of the time it is one that somebody has."""
    path = context.operation.path
    if "{controller}" not in path:
        return strategy
    names = [SPARE] if context.operation.method.lower() == "delete" else DEPLOYED
    known = strategies.sampled_from(names)
    return strategies.tuples(strategy, known, strategies.booleans()).map(
        lambda drawn: {**drawn[0], "controller": drawn[1]} if drawn[2] and isinstance(drawn[0], dict) else drawn[0]
    )


@schemathesis.hook
def before_call(context, case, kwargs):
    """Streams that never end are tests of their own, and so is whoever sends credentials twice."""
    if case.query and "follow" in case.query:
        case.query["follow"] = "false"
    if case.headers:
        case.headers.pop("Authorization", None)


@schemathesis.check
def errors_say_what_is_wrong(context, response, case):
    """Whoever reads an error finds a sentence in it."""
    if response.status_code >= 400 and response.content:
        assert response.json()["error"]["message"].strip(), "an error without a message"


@schemathesis.check
def no_fault_of_the_server(context, response, case):
    """An answer of the kind 5xx is one that is documented, and not for a fault of ours."""
    if response.status_code >= 500:
        error = response.json()["error"]
        found = (error["code"], error["details"].get("reason"))
        assert found in FAILING, f"{response.status_code}: {error}"
