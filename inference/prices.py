"""What a model costs: as the operator copied it from the provider's list. None comes along, since prices change."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aegis.errors import ModelUnavailable
from aegis.settings import CloudSettings, Settings
from inference.premises import is_cloud

NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    read: float
    written: float

    def nano(self, tokens_in: int, tokens_out: int) -> int:
        """Rounded up, so that no sum of calls is ever too small."""
        return -int(-(tokens_in * self.read + tokens_out * self.written) * NANO // 1_000_000)


class Prices:
    def __init__(self, cloud: CloudSettings) -> None:
        self._by_model: Mapping[str, Price] = {model: Price(*each) for model, each in cloud.prices.items()}

    def __contains__(self, model: str) -> bool:
        return model in self._by_model

    def of(self, model: str) -> Price:
        """Raises ModelUnavailable where there is none: what a call would cost must be known before it is made."""
        if model not in self._by_model:
            raise ModelUnavailable(f"There is no price for {model}, so it is not asked. {price_advice([model])}")
        return self._by_model[model]


def unpriced(settings: Settings) -> list[str]:
    """Models of cloud providers that are never asked, because nobody has said what they cost."""
    named = (model for each in settings.providers if is_cloud(each, settings) for model in each.every_model)
    return [model for model in dict.fromkeys(named) if model not in settings.cloud.prices]


def price_advice(models: Sequence[str]) -> str:
    example = json.dumps({model: ["READ", "WRITTEN"] for model in models}).replace('"READ", "WRITTEN"', "READ, WRITTEN")
    return f"Copy it from the provider's price list, in US dollars per million tokens: AEGIS_CLOUD__PRICES='{example}'."
