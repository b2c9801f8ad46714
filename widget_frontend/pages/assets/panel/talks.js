// The conversations of the card, and one of them with its messages and answer box.

import { composer } from "./composer.js";
import { corrections } from "./corrections.js";
import { el, newKey, notice, show, size, t, waiting, when } from "./dom.js";
import { every, get, post, send as ask } from "./net.js";

const LIST_EVERY_S = 6;
const TALK_EVERY_S = 3;

// Draw the list into a place and keep it fresh; returns the way to stop.
export function listView(place, { open, start, current = () => "", counted = () => {} }) {
  let seen = "";
  async function look() {
    const found = await get("conversations");
    counted(found.items);
    const now = JSON.stringify([found, current()]);
    if (now !== seen) {
      seen = now;
      draw(found.items);
    }
  }

  function draw(items) {
    if (!items.length) {
      const begin = el("button", { type: "button", onclick: start }, t("start"));
      show(place, el("div", { class: "empty" }, el("p", {}, t("no_talks")), begin));
      return;
    }
    show(place, el("ul", { class: "talks" }, ...items.map((one) => el("li", {}, row(one, open, one.id === current())))));
  }

  show(place, waiting());
  look().catch((error) => show(place, notice(error.message)));
  const stop = every(LIST_EVERY_S, look);
  return { stop, look: () => look().catch(() => {}) };
}

function row(talk, open, isOpen) {
  const last = talk.last;
  return el(
    "button",
    { type: "button", class: talk.unanswered ? "talk waits" : "talk", id: `talk-${talk.id}`, "aria-current": isOpen ? "true" : null, onclick: () => open(talk) },
    el("span", { class: "top-line" }, el("span", { class: "name" }, talk.client), last ? when(last.at) : null),
    el("span", { class: "quiet place" }, [talk.network, talk.channel, talk.place].filter(Boolean).join(" · ")),
    last ? el("span", { class: "said" }, el("span", { class: last.is_ours ? "way out" : "way in", title: t(last.is_ours ? "ours" : "theirs") }), last.text) : null,
    talk.unanswered ? el("span", { class: "mark warn" }, t("unanswered")) : null,
    last?.status ? mark(last) : null,
    last?.why ? el("span", { class: "why" }, last.why) : null,
  );
}

function mark(message) {
  return el("span", { class: `mark ${message.tone}` }, message.status);
}

// Draw a conversation into a place; returns the way to stop keeping it fresh.
export function talkView(place, talk, { back, changed }) {
  let seen = "";
  let older = [];
  let newest = [];
  let before = "";
  const messages = el("ol", { class: "messages", tabindex: "0", "aria-label": t("messages"), role: "log" });
  const more = el("button", { type: "button", class: "plain more", hidden: true, onclick: earlier }, t("earlier"));
  const scroll = el("div", { class: "scroll" }, more, messages);
  const reason = el("div");
  const writing = composer({ send, label: t("answer") });
  const correcting = corrections({ change, redraw });

  async function send(message) {
    await post(`conversations/${talk.id}/messages`, message);
    await look();
    scroll.scrollTop = scroll.scrollHeight;
  }

  async function look() {
    const found = await get(`conversations/${talk.id}/messages`);
    if (!older.length) {
      before = found.earlier;
      more.hidden = !before;
    }
    const can = found.can_write;
    show(reason, can ? null : notice(found.why, "warning"));
    writing.form.hidden = !can;
    const now = JSON.stringify(found.items);
    if (now !== seen) {
      if (seen) {
        changed(); // the list beside it must not say something else
      }
      const isAtEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 60;
      seen = now;
      newest = found.items;
      redraw();
      if (isAtEnd) {
        scroll.scrollTop = scroll.scrollHeight;
      }
    }
  }

  function redraw(focused = "") {
    const known = new Set(newest.map((one) => one.id));
    show(messages, ...older.filter((one) => !known.has(one.id)).map(bubble), ...newest.map(bubble));
    document.getElementById(focused)?.focus();
  }

  async function change(message, { key, text }) {
    await ask(text === null ? "DELETE" : "PATCH", `conversations/${talk.id}/messages/${message.id}`, { key, text });
    Object.assign(message, text === null ? { is_deleted: true, can_edit: false, can_delete: false, why_not: [] } : { text, is_edited: true });
    await look();
  }

  async function earlier() {
    const found = await get(`conversations/${talk.id}/messages?before=${encodeURIComponent(before)}`);
    const height = scroll.scrollHeight;
    older = [...found.items, ...older];
    before = found.earlier;
    more.hidden = !before;
    messages.prepend(...found.items.map(bubble));
    scroll.scrollTop += scroll.scrollHeight - height;
  }

  function bubble(message) {
    return el(
      "li",
      { class: message.is_ours ? "bubble mine" : "bubble", "data-id": message.id },
      message.author ? el("span", { class: "quiet author" }, message.author) : null,
      message.quote ? el("blockquote", {}, message.quote) : null,
      message.text ? el("p", { class: message.is_deleted ? "said gone" : "said" }, message.text) : null,
      ...message.files.map(attachment),
      el(
        "span",
        { class: "quiet foot" },
        when(message.at),
        message.is_deleted ? el("span", {}, t("deleted")) : message.is_edited ? el("span", {}, t("edited")) : null,
        message.status ? mark(message) : null,
        correcting.button(message),
      ),
      correcting.box(message),
      message.why ? el("span", { class: "why" }, message.why) : null,
      message.repeat ? el("button", { type: "button", class: "plain small", onclick: (event) => repeat(event, message) }, t("repeat")) : null,
    );
  }

  async function repeat(event, message) {
    event.target.disabled = true;
    try {
      await post(`deliveries/${message.repeat}/repeat`, { key: (message.key ??= newKey()) });
      await look();
    } catch (error) {
      show(reason, notice(error.message));
      event.target.disabled = false;
    }
  }

  const heading = el(
    "header",
    { class: "talk-head" },
    el("button", { type: "button", class: "icon back", title: t("back"), "aria-label": t("back"), onclick: back }, "‹"),
    el("div", {}, el("strong", {}, talk.client), el("span", { class: "quiet" }, [talk.network, talk.channel].filter(Boolean).join(" · "))),
  );
  show(messages, waiting());
  show(place, el("section", { class: "open-talk", "aria-label": talk.client }, heading, scroll, reason, writing.form));
  look()
    .then(() => {
      scroll.scrollTop = scroll.scrollHeight;
      writing.focus();
    })
    .catch((error) => show(messages, notice(error.message)));
  return { stop: every(TALK_EVERY_S, look) };
}

function attachment(file) {
  if (!file.url) {
    return el("span", { class: "file quiet" }, file.name || file.kind);
  }
  if (file.is_picture) {
    return el("a", { href: file.url, target: "_blank", rel: "noopener", class: "picture" }, el("img", { src: file.url, alt: file.name || file.kind, loading: "lazy" }));
  }
  const bytes = file.size ? ` · ${size(file.size)}` : "";
  return el("a", { href: file.url, target: "_blank", rel: "noopener", class: "file" }, `${file.name || file.kind}${bytes}`);
}
