"""Sample documents about AegisRAG, taken in on the first start. `make.py` makes the PDF and DOCX ones."""

from pathlib import Path

FOLDER = Path(__file__).parent / "documents"
