"""Signals: what replicas on one store tell each other, so that nobody waits for the next look.

A signal is a hint and never the truth: it may be lost or come twice. Who waits for something looks by itself as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

Topic = Literal["outbox", "applied", "jobs", "epoch"]

React = Callable[[], None]


class Signals(Protocol):
    def send(self, topic: Topic) -> None:
        """Tell the other replicas, soon. Never waits, never fails."""
        ...

    def listen(self, topic: Topic, react: React) -> None:
        """Call `react` when another replica has sent this, and when signals may have been missed."""
        ...


class NoSignals:
    """For one process on a store: there is nobody else to tell."""

    def send(self, topic: Topic) -> None:
        return None

    def listen(self, topic: Topic, react: React) -> None:
        return None
