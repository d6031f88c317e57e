"""The program inside the sandbox: a template that imports a controller once and forks a worker per request.

``_template`` is the template's life, ``_worker`` a worker's; ``_entry`` imports
the author's module and finds its entry point; ``_channel`` speaks the worker's
frames; ``_kernel`` holds the few kernel calls Python has no name for; and
``_failure`` writes down what went wrong in the author's terms.

Nothing in here defends anything. The author's code runs in the same
interpreter and may rewrite all of it; what holds is outside the process.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Serves the control channel on descriptor 3 until it ends; never returns."""
    # What the runner is made of: imported first, so that the runner's own objects lie side by side.
    import gc
    import select  # noqa: F401

    try:
        import ctypes  # noqa: F401
    except ImportError:
        # The template says what that means, over its channel.
        pass

    from magic._runner._pools import fill

    gc.collect()
    fill()
    from magic._runner._template import Template

    Template().run()
