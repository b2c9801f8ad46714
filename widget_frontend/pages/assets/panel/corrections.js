// What may be done about a message of ours: a menu below it, its text in an editor, a question before it is taken back. One is open at a time.

import { el, newKey, notice, t } from "./dom.js";

// Shape: `change(message, {key, text})` sends, `text` null takes back; `redraw(id)` draws the messages anew and gives the focus to an element.
export function corrections({ change, redraw }) {
  let open = null;

  function set(message, mode) {
    open = mode && { id: message.id, mode, key: newKey(), text: message.text, trouble: "", busy: false };
    redraw({ edit: "correct-text", delete: "correct-yes", menu: "correct-first" }[mode] ?? `correct-${message.id}`);
  }

  function button(message) {
    if (!message.can_edit && !message.can_delete && !message.why_not.length) {
      return null;
    }
    const isOpen = open?.id === message.id;
    return el(
      "button",
      {
        type: "button",
        class: "icon menu",
        id: `correct-${message.id}`,
        title: t("correct"),
        "aria-label": t("correct"),
        "aria-expanded": String(isOpen),
        onclick: () => set(message, isOpen ? "" : "menu"),
      },
      "⋯",
    );
  }

  function box(message) {
    if (open?.id !== message.id) {
      return null;
    }
    const parts = { menu, edit, delete: question }[open.mode](message);
    return el("div", { class: "correction", onkeydown: (event) => leave(event, message) }, ...parts, open.trouble ? notice(open.trouble) : null);
  }

  function menu(message) {
    const first = { type: "button", class: "plain small", id: "correct-first" };
    return [
      message.can_edit ? el("button", { ...first, onclick: () => set(message, "edit") }, t("edit")) : null,
      message.can_delete
        ? el("button", { ...first, id: message.can_edit ? null : first.id, onclick: () => set(message, "delete") }, t("delete"))
        : null,
      ...message.why_not.map((why) => el("span", { class: "quiet" }, why)),
    ];
  }

  function edit(message) {
    const text = el("textarea", {
      id: "correct-text",
      rows: String(Math.min(8, Math.max(2, open.text.split("\n").length + 1))),
      "aria-label": t("edit"),
      oninput: () => (open.text = text.value),
      onkeydown: (event) => {
        if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
          event.preventDefault();
          send(message, text.value.trim());
        }
      },
    });
    text.value = open.text;
    return [text, yes(t("save"), () => send(message, text.value.trim())), no(message)];
  }

  function question(message) {
    return [el("span", {}, t("delete_sure")), yes(t("delete"), () => send(message, null), "danger small"), no(message)];
  }

  function yes(label, action, style = "small") {
    return el("button", { type: "button", class: style, id: "correct-yes", disabled: open.busy, onclick: action }, label);
  }

  function no(message) {
    return el("button", { type: "button", class: "plain small", onclick: () => set(message, "") }, t("cancel"));
  }

  async function send(message, text) {
    if (open.busy || text === "") {
      return;
    }
    const mine = open;
    open.busy = true;
    redraw("");
    try {
      await change(message, { key: mine.key, text });
      open = open === mine ? null : open;
    } catch (error) {
      Object.assign(mine, { busy: false, trouble: error.message, key: error.status === 409 ? newKey() : mine.key });
    }
    redraw(open ? "correct-text" : "text");
  }

  function leave(event, message) {
    if (event.key === "Escape") {
      event.stopPropagation();
      set(message, "");
    }
  }

  return { button, box };
}
