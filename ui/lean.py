"""What Chainlit imports and this page never uses, left out: a third of the start-up time and 30 MB.

Chainlit's own records client brings a telemetry library (`traceloop`), its tool protocol a second web framework
(`mcp`), its socket library clients for queues. Stand-ins take their places while Chainlit is imported, and go after.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

# Module -> names that are imported from it; none is ever called.
_STAND_INS = {"traceloop": (), "traceloop.sdk": ("Traceloop",), "mcp": ("ClientSession",)}
_OPTIONAL = ("redis", "aiohttp")  # their absence is provided for where they are imported


def import_chainlit() -> None:
    """To be called before anything else imports it, and after `ui.root.prepare`."""
    with _stand_ins():
        import_module("chainlit.server")


@contextmanager
def _stand_ins() -> Generator[None]:
    given: dict[str, ModuleType | None] = {
        **{name: _stand_in(name, names) for name, names in _STAND_INS.items()},
        **dict.fromkeys(_OPTIONAL),
    }
    mine = {name: module for name, module in given.items() if name not in sys.modules}
    sys.modules.update(mine)  # pyright: ignore[reportCallIssue, reportArgumentType] - None marks an absent module
    try:
        yield
    finally:
        for name in mine:
            sys.modules.pop(name, None)


def _stand_in(name: str, names: tuple[str, ...]) -> ModuleType:
    made = ModuleType(name)
    for each in names:
        setattr(made, each, type(each, (), {}))
    return made
