// Where one writes: text, quick replies, files, and the button that sends. Used by "start a conversation" and by an open conversation.

import { el, newKey, notice, show, size, t } from "./dom.js";
import { get, upload } from "./net.js";

const MAX_FILES = 10;
const TYPING_MS = 200;

// Shape: `send({key, text, files})` is called once per press; `mayBeEmpty`: a dialog may be begun without a text.
export function composer({ send, label, mayBeEmpty = false }) {
  let key = newKey();
  let files = [];
  const text = el("textarea", { id: "text", rows: "2", "aria-label": t("text"), placeholder: t("text_hint"), onkeydown: keys, oninput: typed });
  const picked = el("ul", { class: "files" });
  const offers = el("div", { class: "offers", hidden: true });
  const trouble = el("div");
  const picker = el("input", { type: "file", multiple: true, hidden: true, onchange: () => attach(picker.files) });
  const sending = el("button", { type: "submit", title: t("send_hint") }, label);
  const form = el(
    "form",
    { class: "composer", onsubmit: submit, ondragover: (event) => event.preventDefault(), ondrop: dropped },
    offers,
    text,
    picked,
    trouble,
    el(
      "div",
      { class: "tools" },
      el("button", { type: "button", class: "plain", onclick: () => picker.click() }, t("attach")),
      el("button", { type: "button", class: "plain", "aria-expanded": "false", onclick: toggleReplies, id: "replies" }, t("replies")),
      picker,
      sending,
    ),
  );
  text.addEventListener("paste", (event) => event.clipboardData.files.length && attach(event.clipboardData.files));

  // -- sending -------------------------------------------------------------------------------------------------------

  async function submit(event) {
    event.preventDefault();
    const ready = files.filter((file) => file.id);
    if (sending.disabled || files.some((file) => file.busy)) {
      return;
    }
    if (!mayBeEmpty && !text.value.trim() && !ready.length) {
      text.focus();
      return;
    }
    busy(true);
    show(trouble);
    try {
      await send({ key, text: text.value.trim(), files: ready.map((file) => file.id) });
      key = newKey();
      text.value = "";
      files = [];
      drawFiles();
      grow();
    } catch (error) {
      if (error.status === 409) {
        key = newKey(); // what was sent under this key was something else: this text is a message of its own
      }
      show(trouble, notice(error.message));
    } finally {
      busy(false);
      text.focus();
    }
  }

  function busy(is) {
    sending.disabled = is;
    form.setAttribute("aria-busy", String(is));
  }

  function keys(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      const offered = text.value.startsWith("/") ? offers.querySelector(".offer") : null;
      if (offered) {
        offered.click(); // what was typed is a search, not a message
      } else {
        form.requestSubmit();
      }
    } else if (event.key === "Escape" && !offers.hidden) {
      event.stopPropagation();
      closeReplies();
    } else if (event.key === "ArrowDown" && !offers.hidden) {
      event.preventDefault();
      offers.querySelector(".offer")?.focus();
    }
  }

  function grow() {
    text.style.height = "auto";
    text.style.height = `${Math.min(text.scrollHeight + 2, 130)}px`;
  }

  // -- quick replies: the button lists them, "/" at the beginning searches them as one types -----------------------

  let timer = 0;
  function typed() {
    grow();
    clearTimeout(timer);
    if (text.value.startsWith("/")) {
      timer = setTimeout(() => search(text.value.slice(1)), TYPING_MS);
    } else if (!offers.hidden && !offers.querySelector("input")) {
      closeReplies();
    }
  }

  function toggleReplies() {
    if (!offers.hidden) {
      closeReplies();
      return;
    }
    const field = el("input", { type: "search", id: "find-reply", placeholder: t("replies_find"), "aria-label": t("replies_find") });
    field.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => search(field.value, field), TYPING_MS);
    });
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        closeReplies();
        text.focus();
      } else if (event.key === "ArrowDown" || event.key === "Enter") {
        event.preventDefault();
        offers.querySelector(".offer")?.focus();
      }
    });
    search("", field);
  }

  async function search(words, field = null) {
    offers.hidden = false;
    form.querySelector("#replies").setAttribute("aria-expanded", "true");
    const list = el("div", { class: "offer-list" });
    if (!offers.contains(field) || !field) {
      show(offers, field, list);
      field?.focus();
    }
    try {
      const found = await get(`quick-replies?q=${encodeURIComponent(words)}`);
      const rows = found.items.map((reply) => offer(reply));
      show(offers, field, el("div", { class: "offer-list" }, ...(rows.length ? rows : [el("p", { class: "quiet" }, t("replies_none"))])));
      field?.focus();
    } catch (error) {
      show(offers, field, notice(error.message));
    }
  }

  function offer(reply) {
    return el(
      "button",
      { type: "button", class: "offer", onclick: () => take(reply), onkeydown: (event) => walk(event) },
      el("strong", {}, reply.title),
      el("span", { class: "quiet" }, reply.text),
      reply.files.length ? el("span", { class: "quiet" }, t("with_files", { count: reply.files.length })) : null,
    );
  }

  function walk(event) {
    const way = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    if (way) {
      event.preventDefault();
      event.target[way]?.focus();
    } else if (event.key === "Escape") {
      event.stopPropagation();
      closeReplies();
      text.focus();
    }
  }

  function take(reply) {
    const isCommand = text.value.startsWith("/");
    const [from, to] = isCommand ? [0, text.value.length] : [text.selectionStart, text.selectionEnd];
    text.setRangeText(reply.text, from, to, "end");
    files.push(...reply.files.map((file) => ({ ...file })));
    drawFiles();
    closeReplies();
    grow();
    text.focus();
  }

  function closeReplies() {
    offers.hidden = true;
    show(offers);
    form.querySelector("#replies").setAttribute("aria-expanded", "false");
  }

  // -- files ---------------------------------------------------------------------------------------------------------

  function dropped(event) {
    event.preventDefault();
    attach(event.dataTransfer.files);
  }

  function attach(list) {
    for (const file of [...list].slice(0, MAX_FILES - files.length)) {
      const entry = { name: file.name, size: file.size, busy: true };
      files.push(entry);
      upload(file)
        .then((stored) => Object.assign(entry, stored))
        .catch((error) => Object.assign(entry, { error: error.message }))
        .finally(() => {
          entry.busy = false;
          drawFiles();
        });
    }
    picker.value = "";
    drawFiles();
  }

  function drawFiles() {
    const rows = files.map((file) =>
      el(
        "li",
        { class: file.error ? "bad" : "" },
        el("span", { class: "name" }, file.name),
        el("span", { class: "quiet" }, file.error || (file.busy ? t("uploading") : size(file.size))),
        el("button", { type: "button", class: "icon", title: t("remove"), "aria-label": t("remove_file", { name: file.name }), onclick: () => remove(file) }, "×"),
      ),
    );
    show(picked, ...rows);
  }

  function remove(file) {
    files = files.filter((one) => one !== file);
    drawFiles();
    text.focus();
  }

  return { form, focus: () => text.focus() };
}
