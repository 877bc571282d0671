"""The composition root: the one place that names concrete adapters.

`open_services` opens everything once per process and closes it in reverse order. `current()` is the one deliberate
global, for Chainlit callbacks and `langgraph` factories, which cannot be handed arguments.
"""

from __future__ import annotations
