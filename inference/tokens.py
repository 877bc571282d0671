"""How many tokens a text takes, without its model's tokenizer: a careful estimate, and a bound."""

from __future__ import annotations

from collections.abc import Sequence

from inference import ChatMessage

MESSAGE = 16  # that a chat template adds to a message, at most


def careful(text: str) -> int:
    """An upper estimate of what common tokenizers make of it: a third of the ASCII characters, one for each other."""
    ascii_count = sum(map(str.isascii, text))
    return ascii_count // 3 + len(text) - ascii_count


def most_read(texts: Sequence[str]) -> int:
    """The same bound, of texts that are embedded."""
    return sum(len(text.encode()) + MESSAGE for text in texts)


def most(messages: Sequence[ChatMessage]) -> int:
    """A bound that no byte-level tokenizer exceeds: one token a byte."""
    return most_read([message.text for message in messages])
