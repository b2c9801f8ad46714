// The pages themselves: a card with its feed and the widgets' column, the marketplace with its settings window, a page in the settings.
"use strict";

const AREAS = { leads: "lcard", contacts: "ccard", companies: "comcard" };
const TITLES = { leads: "Сделка", contacts: "Контакт", companies: "Компания" };
const FEED_EVERY_MS = 1000;

const [, , accountHost, section, ...rest] = location.pathname.split("/");
const asked = new URLSearchParams(location.search);
const main = document.getElementById("page");
let widgets = [];

var APP = { lang_id: asked.get("lang") || "ru", data: { current_card: false }, isCard: () => Boolean(APP.data.current_card) };
var AMOCRM = APP;

const host = {
  base: `/pages/${accountHost}`,

  async data() {
    const card = section in AREAS ? `&kind=${section}&id=${rest[1]}` : "";
    return (await fetch(`${this.base}/data?user=${asked.get("user") ?? ""}${card}`)).json();
  },

  async post(path, body) {
    const answer = await fetch(`${this.base}/${path}`, { method: "POST", body: JSON.stringify(body) });
    if (!answer.ok) {
      throw new Error(`${path}: ${answer.status}`);
    }
    return answer.json();
  },
};

function make(tag, className, ...children) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

async function start() {
  const data = await host.data();
  const user = data.account.user;
  document.getElementById("to-market").href = `${host.base}/marketplace?user=${user.id}`;
  const area = AREAS[section] ?? (section === "settings" ? "advanced_settings" : "settings");
  const isCard = section in AREAS;
  if (isCard && !data.card) {
    main.append(make("p", "gone", "Карточка удалена"));
    return;
  }
  APP.data.current_card = isCard ? { id: data.card.id, model: data.card } : false;
  APP.constant = (name) => ({ account: data.account, user })[name];
  document.title = isCard ? data.card.name || TITLES[section] : "amoМаркет";
  if (isCard) {
    showCard(data.card, user);
  }
  for (const facts of data.widgets) {
    if (facts.status === "installed" || !isCard) {
      widgets.push(await new Widget(facts, { area }, user).load());
    }
  }
  for (const name of ["pointerdown", "keydown"]) {
    document.addEventListener(name, () => widgets.forEach((one) => one.acted()), true);
  }
  if (isCard) {
    widgets.forEach((one) => one.enter(area));
  } else if (section === "settings") {
    showAdvanced(widgets.find((one) => one.facts.code === rest[0]));
  } else {
    showMarket(user);
  }
}

// -- a card ------------------------------------------------------------------------------------------------------------

function showCard(card, user) {
  const side = make("section", "card-fields", make("h1", "", card.name || `${TITLES[section]}: новая`));
  side.append(...card.fields.map(field));
  side.append(...card.people.map((one) => make("div", "person", make("h2", "", one.name), ...one.fields.map(field))));
  side.append(make("p", "who", `Вы: ${user.name}${user.is_admin ? " (администратор)" : ""}`));
  const feed = make("section", "feed");
  const right = make("aside", "card-widgets");
  right.id = "widgets_block";
  main.className = "card";
  main.append(side, feed, right);
  showFeed(feed, card.feed);
  setInterval(async () => showFeed(feed, (await host.data()).card?.feed ?? []), FEED_EVERY_MS);
}

function field({ name, value }) {
  return make("p", "field", make("span", "", name), value);
}

function showFeed(feed, items) {
  const rows = items.map((one) => {
    const said = make("div", one.is_incoming ? "said in" : "said out", make("b", "", one.author), one.text, one.file);
    if (one.error) {
      said.append(make("i", "", one.error));
    }
    return said;
  });
  feed.replaceChildren(...(rows.length ? rows : [make("p", "quiet", "Лента пуста")]));
}

// -- the marketplace and the settings ----------------------------------------------------------------------------------

function showMarket(user) {
  main.className = "market";
  main.append(make("h1", "", "amoМаркет"));
  for (const one of widgets) {
    const name = one.object.i18n(one.facts.manifest.widget.name);
    const tile = make("button", "tile", name, make("small", "", one.facts.status === "installed" ? "Установлено" : "Не установлено"));
    tile.dataset.code = one.facts.code;
    tile.addEventListener("click", () => showModal(one, user));
    main.append(tile);
  }
}

function showModal(widget, user) {
  const { facts } = widget;
  const shown = make("div", "modal-body");
  const modal = make("div", "modal widget-settings", shown);
  modal.setAttribute("role", "dialog");
  shown.append(make("h2", "", widget.object.i18n(facts.manifest.widget.name)));
  shown.append(make("p", "", widget.object.i18n(facts.manifest.widget.description)));
  const fields = make("div", "widget_settings_block");
  for (const [code, setting] of Object.entries(facts.manifest.settings ?? {})) {
    const content = make("div", "");
    content.id = `${code}_custom_content`;
    const input = make("input", "");
    Object.assign(input, { type: "hidden", id: `${code}_custom`, name: code });
    fields.append(make("p", "quiet", widget.object.i18n(setting.name)), content, input);
  }
  const act = make("button", "install", facts.status === "installed" ? "Сохранить" : "Установить");
  act.addEventListener("click", () => install(widget, user, shown));
  const close = make("button", "close", "×");
  close.addEventListener("click", () => {
    widget.leave();
    modal.remove();
  });
  shown.append(fields, act, close);
  main.append(modal);
  widget.acted();
  widget.callbacks.settings?.($(shown), {});
}

// "Install": amoCRM calls the integration's address from its server at once, and asks the widget with onSave (amocrm.md 1.3).
async function install(widget, user, shown) {
  const isFirst = widget.facts.status !== "installed";
  if (isFirst) {
    await host.post("install", { code: widget.facts.code, user: user.id });
  }
  if ((await widget.callbacks.onSave({ active: "Y" })) !== true) {
    complain("onSave must return true");
    return;
  }
  widget.facts.status = "installed";
  shown.append(make("p", "done", isFirst ? "Установлено" : "Сохранено"));
}

function showAdvanced(widget) {
  main.className = "advanced";
  const title = widget.facts.manifest.advanced?.title;
  const holder = make("div", "");
  holder.id = "list_page_holder";
  main.append(make("h1", "", widget.object.i18n(title)), holder);
  widget.acted();
  widget.callbacks.advancedSettings();
}

start();
