"""What a measure returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured figure beside its budget; one without a budget is only told."""

    what: str
    value: float
    unit: str
    budget: str = ""
    is_kept: bool = True
    details: str = ""
