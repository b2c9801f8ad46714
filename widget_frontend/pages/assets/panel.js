// The panel of a card: the list of its conversations, one of them, and the form that begins a new one. Framed by a CRM's page, to which
// it says how tall it wants to be and whether it wants the whole height of the window.

import { el, facts, notice, show, t } from "./panel/dom.js";
import { startView } from "./panel/start.js";
import { listView, talkView } from "./panel/talks.js";

const main = document.querySelector("main");
const list = el("div", { class: "list-place", id: "list" });
const content = el("div", { class: "content-place", id: "content" });
const tabs = { talks: tab("talks"), start: tab("start") };
const widen = el("button", { type: "button", class: "icon", onclick: () => setWide(!document.body.classList.contains("wide")) }, "⤢");
let running = null;
let opened = "";
let count = 0;

function tab(name) {
  return el("button", { type: "button", class: "tab", id: `tab-${name}`, onclick: () => go(name) }, t(name));
}

function go(name, talk = null) {
  running?.stop();
  running = null;
  opened = talk?.id ?? "";
  document.body.dataset.view = name;
  for (const [other, button] of Object.entries(tabs)) {
    button.toggleAttribute("aria-current", other === (name === "talk" ? "talks" : name));
  }
  if (name === "talk") {
    running = talkView(content, talk, { back: () => go("talks"), changed: () => talks.look() });
  } else if (name === "start") {
    startView(content, (made) => go("talk", made));
  } else {
    show(content, count ? el("p", { class: "empty aside" }, t("choose_talk")) : null);
  }
  talks.look();
}

function counted(items) {
  count = items.length;
  const waits = items.filter((one) => one.unanswered).length;
  show(tabs.talks, t("talks"), waits ? el("span", { class: "mark warn", title: t("unanswered") }, String(waits)) : null);
}

// -- the page around us ------------------------------------------------------------------------------------------------

function tell(message) {
  if (window.parent !== window) {
    window.parent.postMessage({ from: "mostik", ...message }, facts.origin);
  }
}

function setWide(on) {
  document.body.classList.toggle("wide", on);
  widen.textContent = on ? "⤡" : "⤢";
  widen.title = t(on ? "narrower" : "wider");
  widen.setAttribute("aria-label", widen.title);
  tell({ type: "wide", on });
}

// a frame cannot see how much room there is around it: a conversation is as tall as the screen lets hope
document.body.style.setProperty("--talk-height", `${Math.min(430, Math.max(300, screen.availHeight - 450))}px`);

new ResizeObserver(() => tell({ type: "height", height: Math.ceil(main.getBoundingClientRect().height) })).observe(main);

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    if (document.body.dataset.view === "talk") {
      go("talks");
    } else if (document.body.classList.contains("wide")) {
      setWide(false);
    }
  }
});

document.addEventListener("expired", () => {
  running?.stop();
  talks.stop();
  const close = el("button", { type: "button", onclick: () => tell({ type: "close" }) }, t("close"));
  show(main, notice(t("expired"), "warning"), el("p", { class: "pad" }, close));
});

const talks = listView(list, { open: (talk) => go("talk", talk), start: () => go("start"), current: () => opened, counted });
show(
  main,
  el(
    "header",
    { class: "bar" },
    el("nav", { "aria-label": t("menu") }, tabs.talks, tabs.start),
    widen,
    el("button", { type: "button", class: "icon", title: t("close"), "aria-label": t("close"), onclick: () => tell({ type: "close" }) }, "×"),
  ),
  el("div", { class: "panes" }, list, content),
);
setWide(false);
go(facts.view);
