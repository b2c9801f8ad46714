"""The account's rules: what may leave for which end. One rule, one file; the order here is the order in which a message meets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from widget_backend.bridge.ends import Side
from widget_backend.bridge.rules import automatic, groups
from widget_backend.bridge.statuses import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a rule may look at: the message's facts, the settings of the channel and of the end it would go to, what that end can."""

    direction: str
    place: str
    text: str
    is_automatic: bool
    to_side: Side
    can_group: bool
    channel_settings: Mapping[str, object]
    end_settings: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says. `status` None: it may pass; else the status that the delivery gets. `why` is a slug."""

    status: Status | None
    why: str


class Rule(Protocol):
    """A module with one function."""

    __name__: str

    def decide(self, question: Question) -> tuple[Status | None, str]:
        """Say whether the message may go to this end, and why."""


RULES: tuple[Rule, ...] = (automatic, groups)


def judge(question: Question) -> tuple[Status | None, list[tuple[str, Verdict]]]:
    """Ask the rules in order; the first that stops the message ends it. Return the verdict and the trace."""
    trace: list[tuple[str, Verdict]] = []
    for rule in RULES:
        status, why = rule.decide(question)
        trace.append((rule.__name__.rpartition(".")[2], Verdict(status, why)))
        if status is not None:
            return status, trace
    return None, trace
