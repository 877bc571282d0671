"""Two looks at `/metrics`, and what the histograms saw between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

Labels = tuple[tuple[str, str], ...]
Samples = Mapping[tuple[str, Labels], float]


@dataclass(frozen=True, slots=True)
class Seen:
    """A histogram between two looks. `buckets`: upper bounds in seconds with cumulative counts."""

    count: float
    seconds: float
    buckets: tuple[tuple[float, float], ...]

    @property
    def mean_ms(self) -> float:
        return 1000 * self.seconds / self.count if self.count else 0.0

    def quantile_ms(self, share: float) -> float:
        """As Prometheus' histogram_quantile: linear within a bucket; beyond the last bound, that bound."""
        wanted, lower, before = share * self.count, 0.0, 0.0
        for upper, count in self.buckets:
            if count >= wanted and count > before:
                if upper == float("inf"):
                    return 1000 * lower
                return 1000 * (lower + (upper - lower) * (wanted - before) / (count - before))
            lower, before = (upper if upper != float("inf") else lower), count
        return 1000 * lower

    def figures(self) -> dict[str, float]:
        return {
            "count": self.count,
            "mean_ms": round(self.mean_ms, 3),
            **{f"p{round(100 * share)}_ms": round(self.quantile_ms(share), 2) for share in (0.5, 0.95, 0.99)},
        }


def samples(text: str) -> Samples:
    """Of Prometheus' text format."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def between(before: Samples, after: Samples) -> Samples:
    return {key: value - before.get(key, 0.0) for key, value in after.items()}


def histograms(found: Samples, name: str) -> Mapping[Labels, Seen]:
    """By labels (without `le`), those that saw anything."""
    buckets: dict[Labels, list[tuple[float, float]]] = {}
    for (sample, labels), value in found.items():
        if sample == f"{name}_bucket":
            rest = tuple(pair for pair in labels if pair[0] != "le")
            buckets.setdefault(rest, []).append((float(dict(labels)["le"]), value))
    seen = {
        labels: Seen(found[f"{name}_count", labels], found[f"{name}_sum", labels], tuple(sorted(pairs)))
        for labels, pairs in buckets.items()
    }
    return {labels: one for labels, one in seen.items() if one.count > 0}
