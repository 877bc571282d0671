"""Documents with people, places and relations in them, the same for the same seed."""

from __future__ import annotations

import random
from pathlib import Path

FIRST = ("Anna", "Boris", "Clara", "David", "Edith", "Felix", "Greta", "Henry", "Irene", "Jonas")
LAST = ("Ashby", "Brandt", "Castle", "Dorn", "Ellison", "Forster", "Grey", "Holm", "Iverson", "Jansen")
PLACES = ("Harbour House", "Mill Lane", "North Quay", "Old Town Hall", "Pier Seven", "Quarry Hill")
FIRMS = ("Meridian Works", "Lantern Press", "Copper Bay Bank", "Tidewater Lab", "Alder Foundry")
SENTENCES = (
    "{name} works for {firm}.",
    "{name} was born in {place}.",
    "{firm} was founded by {name} in {year}.",
    "{firm} is located in {place}.",
    "{name} succeeded {other} as director of {firm}.",
    "The ledger of {firm} for {year} lists {number} crates at {place}.",
    "{name} met {other} at {place} in {year} to settle the matter of {number} missing pages.",
)


def files(folder: Path, count: int, seed: int = 5) -> dict[Path, bytes]:
    """Paths in `folder` (not written) and their bytes: Markdown, text and HTML."""
    chance = random.Random(seed)
    return dict(_file(folder, number, chance) for number in range(count))


def _file(folder: Path, number: int, chance: random.Random) -> tuple[Path, bytes]:
    title = f"Record {number} of {chance.choice(FIRMS)}"
    sections = [" ".join(_sentence(chance) for _ in range(chance.randint(3, 8))) for _ in range(chance.randint(1, 5))]
    kind = ("md", "txt", "html")[number % 3]
    if kind == "html":
        text = f"<html><head><title>{title}</title></head><body><h1>{title}</h1>"
        text += "".join(f"<h2>Part {n}</h2><p>{section}</p>" for n, section in enumerate(sections))
        return folder / f"record-{number}.html", f"{text}</body></html>".encode()
    parts = [f"## Part {n}\n\n{section}" for n, section in enumerate(sections)]
    return folder / f"record-{number}.{kind}", "\n\n".join([f"# {title}", *parts]).encode()


def _sentence(chance: random.Random) -> str:
    def name() -> str:
        return f"{chance.choice(FIRST)} {chance.choice(LAST)}"

    return chance.choice(SENTENCES).format(
        name=name(),
        other=name(),
        firm=chance.choice(FIRMS),
        place=chance.choice(PLACES),
        year=chance.randint(1850, 2020),
        number=chance.randint(2, 900),
    )


def write(files: dict[Path, bytes]) -> None:
    for file, data in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
