// "Start a conversation": whom, through which channel, what.

import { composer } from "./composer.js";
import { el, left, notice, show, t, waiting } from "./dom.js";
import { get, post } from "./net.js";

// Draw the form into a place; `opened(conversation)` is called when the message is on its way.
export async function startView(place, opened, isAgain = false) {
  show(place, waiting());
  let card;
  try {
    card = await get(isAgain ? "card?fresh=1" : "card");
  } catch (error) {
    show(place, notice(error.message), again(() => startView(place, opened, true)));
    return;
  }
  if (!card.recipients.length) {
    show(place, el("p", { class: "empty" }, t("no_recipients")), again(() => startView(place, opened, true)));
    return;
  }
  form(place, card, opened);
}

function again(action) {
  return el("p", {}, el("button", { type: "button", class: "plain", onclick: action }, t("again")));
}

function form(place, card, opened) {
  let recipient = sole(card.recipients);
  let channel = recipient ? sole(recipient.channels) : null;
  const whom = el("fieldset", {});
  const through = el("fieldset", {});
  const hint = el("p", { class: "quiet hint" });
  const writing = composer({ send, label: t("send"), mayBeEmpty: true });

  async function send(message) {
    if (!recipient || !channel) {
      throw new Error(recipient ? t("choose_channel") : t("choose_recipient"));
    }
    opened(await post("dialogs", { ...message, recipient: recipient.key, channel: channel.id }));
  }

  function draw() {
    show(whom, el("legend", {}, t("whom")), ...card.recipients.map((one) => person(one)));
    const channels = recipient ? recipient.channels : [];
    show(
      through,
      el("legend", {}, t("through")),
      ...(recipient ? channels.map((one) => door(one)) : [el("p", { class: "quiet" }, t("choose_recipient"))]),
    );
    hint.textContent = channel ? t("empty_text_hint") : "";
  }

  function person(one) {
    return choice({
      name: "recipient",
      value: one.key,
      checked: recipient === one,
      disabled: !one.can,
      title: one.person,
      note: [one.value, one.label].filter(Boolean).join(" · "),
      why: one.can ? "" : one.why,
      onchange: () => {
        recipient = one;
        channel = sole(one.channels);
        draw();
      },
    });
  }

  function door(one) {
    return choice({
      name: "channel",
      value: one.id,
      checked: channel === one,
      disabled: !one.can,
      title: one.title,
      note: one.can && one.window_s ? t("window_left", { left: left(one.window_s) }) : one.network,
      why: one.can ? "" : one.why,
      onchange: () => {
        channel = one;
        draw();
        writing.focus();
      },
    });
  }

  draw();
  show(place, el("section", { class: "start", "aria-label": t("start") }, whom, through, hint, writing.form));
  if (recipient && channel) {
    writing.focus();
  }
}

function choice({ name, value, checked, disabled, title, note, why, onchange }) {
  const id = `${name}-${value}`;
  return el(
    "label",
    { class: disabled ? "choice off" : "choice", for: id },
    el("input", { type: "radio", id, name, value, checked, disabled, onchange }),
    el("span", { class: "name" }, title),
    el("span", { class: "quiet" }, note),
    why ? el("span", { class: "why" }, why) : null,
  );
}

function sole(list) {
  const possible = list.filter((one) => one.can);
  return possible.length === 1 ? possible[0] : null;
}
