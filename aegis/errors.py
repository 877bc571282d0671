"""Every error AegisRAG raises on purpose, in one tree.

    AegisError
    +-- InvalidInput            the caller can mend it: what, which value, what to do
    |   +-- TooLarge            over a stated bound
    |   +-- UnsupportedFormat   no loader for these bytes
    |   +-- UnreadableDocument  empty, damaged, password-protected, or without text
    +-- NotFound                not there, or not visible to this scope (never told apart)
    +-- Forbidden               the scope may not do this
    +-- Conflict                the thing is not in a state that allows this
    +-- Unavailable             may work later; `retry_after` seconds is a hint
    |   +-- StoreUnavailable    the relational store
    |   +-- IndexUnavailable    the vector store
    |   +-- GraphUnavailable    the graph database
    |   +-- ModelUnavailable    no chat model answers
    |   |   +-- ModelBusy       it has enough to do; `retry_after` is its own word
    |   |   +-- BudgetExhausted the money set aside for it is spent
    |   +-- Overloaded          a queue is full
    +-- ModelFailed             a chat model answered, but not usably
    |   +-- PromptCut           it read only a part of what it was sent
    +-- DataFolderError         the data folder cannot be used by this process
    |   +-- FolderInUse         another process owns it
    |   +-- FormatTooNew        written by a newer AegisRAG
    +-- ConfigurationError      a setting is missing or wrong; names the setting

Adapters translate foreign errors into these once, with `raise ... from`. `api/errors.py` holds the only table from
class to HTTP status. `code` is what programs match on; it is stable.
"""

from __future__ import annotations

from typing import Any, ClassVar


class AegisError(Exception):
    code: ClassVar[str] = "internal"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class InvalidInput(AegisError):
    code = "invalid_input"


class TooLarge(InvalidInput):
    code = "too_large"


class UnsupportedFormat(InvalidInput):
    code = "unsupported_format"


class UnreadableDocument(InvalidInput):
    code = "unreadable_document"


class NotFound(AegisError):
    code = "not_found"


class Forbidden(AegisError):
    code = "forbidden"


class Conflict(AegisError):
    code = "conflict"


class Unavailable(AegisError):
    code = "unavailable"

    def __init__(self, message: str, *, retry_after: float = 2.0, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after


class StoreUnavailable(Unavailable):
    code = "store_unavailable"


class IndexUnavailable(Unavailable):
    code = "index_unavailable"


class GraphUnavailable(Unavailable):
    code = "graph_unavailable"


class ModelUnavailable(Unavailable):
    code = "model_unavailable"


class ModelBusy(ModelUnavailable):
    code = "model_busy"


class BudgetExhausted(ModelUnavailable):
    code = "budget_exhausted"


class Overloaded(Unavailable):
    code = "overloaded"


class ModelFailed(AegisError):
    code = "model_failed"


class PromptCut(ModelFailed):
    code = "prompt_cut"


class DataFolderError(AegisError):
    code = "data_folder"


class FolderInUse(DataFolderError):
    code = "folder_in_use"


class FormatTooNew(DataFolderError):
    code = "format_too_new"


class ConfigurationError(AegisError):
    code = "configuration"
