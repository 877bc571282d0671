"""The table of formats, and `load`. A new format is one file with `read(bytes) -> Reading` and one row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from aegis.errors import AegisError, UnreadableDocument, UnsupportedFormat
from retrieval.loaders import ocr
from retrieval.loaders.charset import looks_binary
from retrieval.loaders.cleaning import one_line
from retrieval.loaders.document import LoadedDocument, Reading
from retrieval.loaders.sniffing import container_format, is_html, is_pdf, kind_of_binary, picture_type
from retrieval.loaders.verdict import judged

MAX_TITLE = 300


@dataclass(frozen=True, slots=True)
class Format:
    """`sniff` decides by content and goes before any extension; without it only the extension decides.

    `module` is imported on first use and has `read(bytes) -> Reading`.
    """

    name: str
    media_type: str
    module: str
    extensions: tuple[str, ...]
    sniff: Callable[[bytes], bool] | None = None
    binary: bool = False


def _holds(kind: str) -> Callable[[bytes], bool]:
    return lambda data: container_format(data) == kind


def _office(name: str, kind: str, module: str, extensions: tuple[str, ...]) -> Format:
    media_type = f"application/vnd.openxmlformats-officedocument.{kind}"
    return Format(name, media_type, module, extensions, _holds(module), binary=True)


def _open_document(name: str, kind: str, extension: str) -> Format:
    media_type = f"application/vnd.oasis.opendocument.{kind}"
    return Format(name, media_type, "opendocument", (extension,), _holds(extension[1:]), binary=True)


PLAIN = Format("text", "text/plain", "plain", (".txt", ".text", ".log", ""))
FORMATS = (
    Format("PDF", "application/pdf", "pdf", (".pdf",), is_pdf, binary=True),
    _office("Word", "wordprocessingml.document", "docx", (".docx", ".docm", ".dotx")),
    _office("PowerPoint", "presentationml.presentation", "pptx", (".pptx", ".pptm", ".ppsx")),
    _office("Excel", "spreadsheetml.sheet", "xlsx", (".xlsx", ".xlsm", ".xltx")),
    _open_document("OpenDocument text", "text", ".odt"),
    _open_document("OpenDocument sheets", "spreadsheet", ".ods"),
    _open_document("OpenDocument slides", "presentation", ".odp"),
    Format("EPUB", "application/epub+zip", "epub", (".epub",), _holds("epub"), binary=True),
    Format("mail", "message/rfc822", "eml", (".eml",)),
    Format("notebook", "application/x-ipynb+json", "ipynb", (".ipynb",)),
    Format("JSON", "application/json", "json", (".json",)),
    Format("JSON lines", "application/jsonl", "jsonl", (".jsonl", ".ndjson")),
    Format("table", "text/csv", "csv", (".csv", ".tsv")),
    Format("reStructuredText", "text/x-rst", "rst", (".rst",)),
    Format("Markdown", "text/markdown", "markdown", (".md", ".markdown", ".mdown", ".mkd")),
    Format("HTML", "text/html", "html", (".html", ".htm", ".xhtml")),
    PLAIN,
    Format(
        "source code",
        "text/x-source",
        "plain",
        (
            *(".py", ".pyi", ".js", ".mjs", ".ts", ".tsx", ".jsx", ".java", ".kt", ".scala", ".go", ".rs", ".c", ".h"),
            *(".cc", ".cpp", ".hpp", ".cs", ".rb", ".php", ".swift", ".lua", ".pl", ".r", ".jl", ".sh", ".bash"),
            *(".ps1", ".sql", ".css", ".scss", ".toml", ".ini", ".cfg", ".conf", ".yaml", ".yml", ".tf", ".gradle"),
        ),
    ),
)
# Loaded until a format of their own says more about them.
_AS_TEXT = frozenset({".adoc", ".asciidoc", ".tex", ".vtt", ".srt", ".xml"})

# Extensions whose files are never text: what they need instead.
_NOT_YET = {
    ".doc": "Save it as .docx.",
    ".ppt": "Save it as .pptx or PDF.",
    ".xls": "Save it as .xlsx.",
    ".msg": "Save the message as .eml.",
    ".rtf": "Save it as .docx.",
}


def supported_extensions() -> frozenset[str]:
    """What a folder is searched for. Files of other names are tried only when named one by one."""
    return frozenset(ext for format in FORMATS for ext in format.extensions if ext) | _AS_TEXT


def media_types(name: str) -> tuple[str, ...]:
    """What a filter `type` means: a media type as it is, an extension ("pdf", ".md") by its format's."""
    if "/" in name:
        return (name.lower(),)
    extension = f".{name.lower().removeprefix('.')}"
    return tuple(format.media_type for format in FORMATS if extension in format.extensions) or (name.lower(),)


def load(data: bytes, source: str, title: str | None = None) -> LoadedDocument:
    """Raises UnsupportedFormat, UnreadableDocument or TooLarge, each saying what is wrong and what to do.

    `source` is a URI, a path or `upload:` and a name; only its last part is looked at.
    """
    name = file_name(source)
    if not data:
        raise UnreadableDocument(f"{name} is empty (0 bytes).", source=source)
    try:
        format = chosen(data, PurePosixPath(name).suffix.lower())
        reading = _read(format, data)
        if _is_scan(format, reading) and ocr.available():
            reading = _read(replace(format, module="ocr"), data)
        verdict = judged(reading)
    except AegisError as error:
        raise type(error)(f"{name}: {error.message}", **{**error.details, "source": source}) from error
    return LoadedDocument(
        text=reading.text,
        title=_title(title, reading, name),
        media_type=format.media_type,
        pages=reading.pages,
        headings=reading.headings,
        verdict=verdict,
        dated=reading.dated,
    )


def file_name(source: str) -> str:
    path = source.removeprefix("upload:")
    if "://" in source:
        path = unquote(urlsplit(source).path)
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2] or source


def chosen(data: bytes, extension: str) -> Format:
    """By content where content tells, else by extension, else text if it is text. Raises UnsupportedFormat."""
    for format in FORMATS:
        if format.sniff and format.sniff(data):
            return format
    picture = picture_type(data)
    if picture is not None:
        return _picture(picture, extension)
    binary = kind_of_binary(data)
    if binary is not None:
        raise UnsupportedFormat(f"It is {binary[0]}, which cannot be read. {binary[1]}".rstrip(), extension=extension)
    named = next((format for format in FORMATS if extension in format.extensions), None)
    if named is not None and named.binary:
        raise UnreadableDocument(f"It is named {extension} but is not a {named.name} file, or is damaged.")
    return _textual(data, extension, named)


def _picture(media_type: str, extension: str) -> Format:
    if not ocr.available():
        raise UnsupportedFormat(
            f"It is a {media_type.partition('/')[2].upper()} picture. OCR reads text in pictures: {ocr.INSTALL}.",
            extension=extension,
        )
    return Format("picture", media_type, "ocr", (), binary=True)


def _is_scan(format: Format, reading: Reading) -> bool:
    return format.module == "pdf" and reading.page_count > 0 and not reading.text.strip()


def _textual(data: bytes, extension: str, named: Format | None) -> Format:
    if extension in _NOT_YET:
        raise UnsupportedFormat(f"Files named {extension} cannot be read. {_NOT_YET[extension]}", extension=extension)
    if looks_binary(data):
        names = ", ".join(each.name for each in FORMATS)
        raise UnsupportedFormat(
            f"It is a binary file, whatever its name says. What can be read: {names}.",
            extension=extension,
        )
    if (named is None or named is PLAIN) and is_html(data):
        return next(format for format in FORMATS if format.module == "html")
    return named or PLAIN


def _read(format: Format, data: bytes) -> Reading:
    """Run the format's reader. What it trips over becomes our error: never a crash, never text."""
    try:
        return import_module(f"retrieval.loaders.{format.module}").read(data)
    except AegisError:
        raise
    except (MemoryError, RecursionError) as error:
        raise UnreadableDocument(
            f"Reading it as {format.name} takes more memory or depth than allowed. Split or simplify it."
        ) from error
    except Exception as error:  # parsers raise anything over damaged files; this is their one edge
        raise UnreadableDocument(
            f"It cannot be read as {format.name} ({type(error).__name__}): the file is damaged. Save it again."
        ) from error


def _title(given: str | None, reading: Reading, name: str) -> str:
    first = next((heading for _, _, heading in reading.headings), None)
    for candidate in (given, reading.title, first, PurePosixPath(name).stem, name):
        title = one_line(candidate or "")
        if title:
            return title[:MAX_TITLE]
    return "Untitled"
