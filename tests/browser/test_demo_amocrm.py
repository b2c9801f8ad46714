"""What a person sees who opens the demo's deal: the same question as in the portal, our widget in the card, and his answer on the customer's phone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import Window
from widget_backend.texts import text

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_question_is_answered_from_the_deal(demo: dict[str, Any], window: Callable[[], Window]) -> None:
    card, phone = window(), window()
    card.open(demo["deal"])
    card.click(".mostik-widget__button_talks")
    card.driver.switch_to.frame(card.find(".mostik-widget__frame"))
    card.click(".talk", says="Анна")
    card.find(".bubble", says=text("demo.question"))
    card.find("#text").send_keys("Кружка есть, доставка 300 ₽.", Keys.ENTER)
    card.find(".bubble.mine", says="Кружка есть")

    phone.open(demo["peers"]["vk"]["page"])
    phone.click(".chat", says="Анна")
    phone.find(".bubble:not(.mine)", says="Кружка есть, доставка 300 ₽.")
    card.driver.switch_to.default_content()
    assert card.complaints() == phone.complaints() == []
