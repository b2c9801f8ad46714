// Small parts that every view of the panel uses: elements, words, moments.

const start = JSON.parse(document.body.dataset.start);

export const facts = start.facts;

// Return a text in the viewer's language, with {values} put in.
export function t(slug, values = {}) {
  return start.words[slug].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

// Make an element: el("p", {class: "quiet"}, "text", child).
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) {
      made.addEventListener(name.slice(2), value);
    } else if (typeof value === "boolean") {
      made.toggleAttribute(name, value);
    } else if (value !== undefined && value !== null) {
      made.setAttribute(name, value);
    }
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

// Show a view in a place, keeping the focus where it was when the view is only drawn anew.
export function show(place, ...children) {
  const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
  place.replaceChildren(...children.filter(Boolean));
  if (focused) {
    document.getElementById(focused)?.focus({ preventScroll: true });
  }
}

export function notice(text, tone = "error") {
  return el("p", { class: `notice ${tone}`, role: tone === "error" ? "alert" : "status" }, text);
}

export function waiting() {
  return el("p", { class: "quiet waiting", role: "status" }, t("loading"));
}

const clock = new Intl.DateTimeFormat(facts.locale, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(facts.locale, { day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat(facts.locale, { dateStyle: "long", timeStyle: "medium" });

// Write a moment shortly: today only the time.
export function when(iso) {
  const at = new Date(iso);
  const isToday = at.toDateString() === new Date().toDateString();
  return el("time", { datetime: iso, title: full.format(at) }, isToday ? clock.format(at) : `${day.format(at)}, ${clock.format(at)}`);
}

// Say how long something lasts yet.
export function left(seconds) {
  const hours = Math.floor(seconds / 3600);
  return hours ? t("hours", { count: hours }) : t("minutes", { count: Math.max(1, Math.floor(seconds / 60)) });
}

export function size(bytes) {
  return bytes >= 1048576 ? t("megabytes", { count: (bytes / 1048576).toFixed(1) }) : t("kilobytes", { count: Math.max(1, Math.round(bytes / 1024)) });
}

// Make the key of an opened composer: the same message is sent once, however often its button is pressed.
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
