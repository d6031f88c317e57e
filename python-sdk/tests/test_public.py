"""The public names, and what the decorator and the errors promise."""

from __future__ import annotations

import pytest

import magic
from magic import Controller, ControllerError, MagicError, contract


def test_the_public_names_are_these() -> None:
    assert magic.__all__ == [
        "BackendError",
        "Caller",
        "CapabilityDenied",
        "Controller",
        "ControllerError",
        "DeadlineExceeded",
        "FunctionContext",
        "MagicError",
        "OutputError",
        "RequestContext",
        "contract",
    ]
    for name in magic.__all__:
        assert getattr(magic, name).__doc__


def test_errors_are_one_tree() -> None:
    for name in ("BackendError", "CapabilityDenied", "ControllerError", "DeadlineExceeded", "OutputError"):
        assert issubclass(getattr(magic, name), MagicError)


def test_error_facts_are_its_own() -> None:
    details: dict[str, object] = {"a": 1}
    error = ControllerError("m", code="C", details=details)
    details["a"] = 2
    assert (str(error), error.code, error.details, error.retriable) == ("m", "C", {"a": 1}, False)
    assert ControllerError.details is None


def test_the_decorator_returns_what_it_was_given_and_reads_nothing() -> None:
    @contract("./does_not_exist.yaml")
    class Sample(Controller):
        pass

    assert vars(Sample)["__magic_contract__"] == "./does_not_exist.yaml"


def test_the_decorator_without_a_path_says_what_to_type() -> None:
    with pytest.raises(TypeError, match=r"contract\.yaml.* above Sample"):

        @contract  # type: ignore[arg-type]
        class Sample(Controller):
            pass


def test_a_controller_outside_a_request_says_how_to_run_it() -> None:
    with pytest.raises(RuntimeError, match="magic run"):
        _ = Controller().log
