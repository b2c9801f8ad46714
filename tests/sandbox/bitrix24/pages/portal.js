// The portal's page: sections by hash, iframes opened by a real POST, talks refreshed when the portal's version moves.
"use strict";

let state = null;
let frames = []; // {frame, sid, app, form, where}
let openChat = 0;
const $ = (query, from = document) => from.querySelector(query);
const me = () => Number($("#me").value || 1);
const clock = (at) => new Date(at * 1000).toLocaleTimeString("ru", { hour: "2-digit", minute: "2-digit" });

function make(tag, values = {}, ...inside) {
  const element = Object.assign(document.createElement(tag), values);
  element.append(...inside.filter((part) => part !== null && part !== undefined));
  return element;
}

async function get(path) {
  const response = await fetch(`/pages/api/${path}`);
  if (!response.ok) throw new Error(`${response.status}`);
  return response.json();
}

async function act(path, body) {
  const isForm = body instanceof FormData;
  const headers = isForm ? {} : { "Content-Type": "application/json" };
  const answer = await fetch(`/pages/api/${path}`, { method: "POST", headers, body: isForm ? body : JSON.stringify(body) });
  const told = await answer.json();
  if (!answer.ok) { toast(told.error || "Не получилось"); throw new Error(told.error); }
  return told;
}

function toast(text) {
  const place = $("#toast");
  place.textContent = text;
  place.hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { place.hidden = true; }, 5000);
}

// -- iframes ----------------------------------------------------------------------------------------------------------

async function openFrame(place, what, again = null) {
  const form = await act("frame", { ...what, user: me() });
  const name = `${state.domain}|0|${form.app_sid}`;
  const frame = make("iframe", { name, title: "Приложение" });
  place.replaceChildren(frame);
  frames = frames.filter((one) => one.frame.isConnected);
  frames.push({ frame, sid: form.app_sid, what, form, place, again });
  const sender = make("form", { method: "post", action: form.action, target: name, hidden: true });
  for (const [key, value] of Object.entries(form.fields)) sender.append(make("input", { type: "hidden", name: key, value }));
  document.body.append(sender);
  sender.submit();
  sender.remove();
}

function slide(title, fill) {
  $("#slider-title").textContent = title;
  $("#slider").hidden = false;
  const body = $("#slider-body");
  body.replaceChildren();
  fill(body);
  $("#slider-close").focus();
}

function closeSlider() {
  $("#slider").hidden = true;
  $("#slider-body").replaceChildren();
  refresh();
}

const answers = {
  init: (one) => {
    const options = one.form.fields.PLACEMENT_OPTIONS;
    const user = state.users.find((known) => known.id === me());
    const app = state.apps.find((known) => known.client_id === one.what.app);
    return { ...one.form.auth, endpoint: `http://${state.domain}/rest/`, placement: one.form.fields.PLACEMENT,
      options: options ? JSON.parse(options) : {}, is_admin: user.is_admin, is_first_run: !(app && app.is_installed) };
  },
  refreshAuth: async (one) => {
    one.form = await act("frame", { ...one.what, user: me() });
    return answers.init(one);
  },
  installFinish: async (one) => {
    await act("install-finish", { app: one.what.app });
    await refresh();
    toast("Приложение установлено");
    await openFrame(one.place, { app: one.what.app });
  },
  resize: (one, values) => {
    one.frame.style.height = typeof values.height === "number" ? `${values.height}px` : values.height || "";
    one.frame.style.width = typeof values.width === "number" ? `${values.width}px` : values.width || "100%";
  },
  setTitle: (one, values) => {
    const title = one.place.closest("section, main");
    if (title) $("h2", title).textContent = values.title;
  },
  close: () => closeSlider(),
  reload: (one) => openFrame(one.place, one.what),
  scroll: () => undefined,
  openApplication: (one, values) => slide("Приложение", (body) => openFrame(body, { app: one.what.app, options: values })),
  openPath: () => ({ result: "error", errorCode: "PATH_NOT_AVAILABLE" }),
};

window.addEventListener("message", async (event) => {
  const one = frames.find((known) => known.frame.contentWindow === event.source && event.data.bx24 === known.sid);
  if (!one || !answers[event.data.act]) return;
  const result = await answers[event.data.act](one, event.data.values);
  event.source?.postMessage({ bx24: one.sid, id: event.data.id, result }, "*");
});

// -- sections ---------------------------------------------------------------------------------------------------------

function center(main) {
  const tiles = state.connectors.map((one) => {
    const link = one.links.find((known) => known.status);
    const broken = one.links.find((known) => known.error);
    const icon = make("div", { className: "icon" });
    icon.style.backgroundColor = one.color;
    if (one.icon) icon.style.backgroundImage = `url("${one.icon}")`;
    const mark = broken ? ["bad", "ошибка подключения"] : link ? ["on", "подключён"] : ["off", "не подключён"];
    return make("div", { className: "tile" }, icon, make("b", { textContent: one.name }),
      make("span", { className: mark[0], textContent: mark[1] }),
      make("button", { textContent: link ? "Настроить" : "Подключить", onclick: () => connectorSlider(one) }));
  });
  main.replaceChildren(make("h2", { textContent: "Контакт-центр" }), tiles.length
    ? make("div", { className: "tiles" }, ...tiles)
    : make("p", { className: "empty", textContent: "Коннекторов пока нет. Установите приложение в Маркете." }));
}

function connectorSlider(one) {
  slide(one.name, (body) => {
    const lines = make("select", { id: "line" }, ...state.lines.map((line) => make("option", { value: line.id, textContent: line.name })));
    const place = make("div", { className: "frame" });
    const show = () => openFrame(place, { connector: one.id, line: lines.value });
    lines.onchange = show;
    body.append(make("div", { className: "row" }, make("label", {}, "Открытая линия: ", lines)), place);
    show();
  });
}

function market(main) {
  const cards = state.apps.filter((app) => !app.is_local).map(appCard);
  main.replaceChildren(make("h2", { textContent: "Маркет" }), ...cards);
}

function developers(main) {
  const form = make("form", { className: "card" });
  const fields = { title: "Название", app_url: "Путь обработчика", install_url: "Путь первоначальной установки",
    event_url: "Обработчик события установки (только API)", redirect_url: "Адрес возврата OAuth" };
  const grid = make("div", { className: "fields" });
  for (const [name, label] of Object.entries(fields)) grid.append(make("label", { htmlFor: name, textContent: label }), make("input", { id: name, name }));
  form.append(make("b", { textContent: "Новое локальное приложение" }), make("br"), make("br"), grid,
    make("div", { className: "row" }, make("button", { className: "main", textContent: "Сохранить" })));
  form.onsubmit = async (event) => {
    event.preventDefault();
    await act("app", Object.fromEntries(new FormData(form)));
    await refresh();
    show();
  };
  main.replaceChildren(make("h2", { textContent: "Разработчикам" }), form, ...state.apps.filter((app) => app.is_local).map(appCard));
}

function appCard(app) {
  const row = make("div", { className: "row" });
  const run = (path, more = {}) => async () => { await act(path, { app: app.client_id, user: me(), ...more }); await refresh(); show(); };
  const open = () => { location.hash = `#app/${app.client_id}`; };
  if (!app.is_begun) {
    row.append(make("button", { className: "main", textContent: "Установить", disabled: !(app.app_url || app.install_url || app.event_url),
      onclick: async () => { await act("install", { app: app.client_id, user: me() }); await refresh(); if (app.app_url || app.install_url) open(); else show(); } }));
  } else {
    row.append(make("button", { className: "main", textContent: app.is_installed ? "Открыть" : "Продолжить установку", onclick: open }),
      make("button", { textContent: "Обновить версию", onclick: run("update") }),
      make("button", { className: "danger", textContent: "Удалить", onclick: run("uninstall") }),
      make("button", { className: "danger", textContent: "Удалить с данными", onclick: run("uninstall", { clean: true }) }));
  }
  const status = app.is_installed ? ["on", "установлено"] : app.is_begun ? ["bad", "установка не завершена"] : ["off", "не установлено"];
  const keys = make("p", {}, "client_id: ", make("code", { textContent: app.client_id }));
  if (app.client_secret) keys.append(make("br"), "client_secret: ", make("code", { textContent: app.client_secret }));
  const card = make("div", { className: "card" }, make("b", { textContent: app.title }), `  версия ${app.version}  `,
    make("span", { className: status[0], textContent: status[1] }), keys);
  if (!app.is_local && !app.is_begun) card.append(addressForm(app));
  card.append(row);
  return card;
}

function addressForm(app) {
  const form = make("form", {}, make("div", { className: "fields" },
    make("label", { textContent: "Адрес установщика" }), make("input", { name: "install_url", value: app.install_url }),
    make("label", { textContent: "Адрес приложения" }), make("input", { name: "app_url", value: app.app_url }),
    make("label", { textContent: "Обработчик событий" }), make("input", { name: "event_url", value: app.event_url })),
    make("div", { className: "row" }, make("button", { textContent: "Сохранить карточку" })));
  form.onsubmit = async (event) => {
    event.preventDefault();
    await act("app", { client_id: app.client_id, ...Object.fromEntries(new FormData(form)) });
    await refresh();
    show();
  };
  return form;
}

function application(main, clientId) {
  const app = state.apps.find((one) => one.client_id === clientId);
  const place = make("div", { className: "frame" });
  main.replaceChildren(make("h2", { textContent: app ? app.title : "Приложение" }), place);
  openFrame(place, { app: clientId }).catch((trouble) => place.replaceChildren(make("p", { className: "empty", textContent: trouble.message })));
}

function widget(main, clientId, code) {
  const place = make("div", { className: "frame" });
  main.replaceChildren(make("h2", { textContent: "Приложение" }), place);
  openFrame(place, { app: clientId, placement: code }).catch((trouble) => place.replaceChildren(make("p", { className: "empty", textContent: trouble.message })));
}

function notices(main) {
  const rows = state.notices.slice().reverse().map((one) => {
    const user = state.users.find((known) => known.id === one.user_id);
    return make("div", { className: "card" }, make("b", { textContent: user ? user.name : "" }), make("br"), richText(one.text));
  });
  main.replaceChildren(make("h2", { textContent: "Уведомления" }), ...(rows.length ? rows : [make("p", { className: "empty", textContent: "Уведомлений нет." })]));
}

// -- talks ------------------------------------------------------------------------------------------------------------

function richText(text) {
  const escaped = make("span", { textContent: text }).innerHTML;
  const place = make("span");
  place.innerHTML = escaped
    .replace(/\[br\]/gi, "\n")
    .replace(/\[(b|i|u|s)\]([\s\S]*?)\[\/\1\]/gi, "<$1>$2</$1>")
    .replace(/\[quote\]([\s\S]*?)\[\/quote\]/gi, '<span class="quote">$1</span>')
    .replace(/\[url=(https?:[^\]"]+)\]([\s\S]*?)\[\/url\]/gi, '<a href="$1" target="_blank" rel="noopener">$2</a>')
    .replace(/\[url\](https?:[^["]+)\[\/url\]/gi, '<a href="$1" target="_blank" rel="noopener">$1</a>')
    .replace(/^(?:-{10,}|&gt;&gt;)(.*)$/gm, '<span class="quote">$1</span>');
  return place;
}

function fileView(file) {
  if (file.type === "image") return make("a", { href: file.link, target: "_blank" }, make("img", { src: file.link, alt: file.name }));
  if (file.type === "audio") return make("audio", { src: file.link, controls: true });
  if (file.type === "video") return make("video", { src: file.link, controls: true });
  return make("a", { className: "file", href: file.link, target: "_blank", textContent: `${file.name} (${file.sizef})` });
}

function messageView(one) {
  const text = one.is_deleted ? document.createTextNode("Сообщение удалено") : richText(one.text);
  const view = make("div", { className: `message ${one.who}${one.is_deleted ? " gone" : ""}`, id: `m${one.id}` });
  if (one.who !== "system" && one.author) view.append(make("div", { className: "who", textContent: one.author }));
  view.append(make("div", { className: "text" }, text));
  if (!one.is_deleted) view.append(...one.files.map(fileView));
  if (one.who === "system") return view;
  const footer = make("footer");
  if (one.who === "operator" && !one.is_deleted) {
    footer.append(make("button", { className: "link", textContent: "изменить", onclick: () => editMessage(one) }),
      make("button", { className: "link", textContent: "удалить", onclick: () => act("delete", { id: one.id }) }));
  }
  footer.append(make("span", { textContent: one.is_edited ? "изменено" : "" }), make("span", { textContent: clock(one.at) }));
  if (one.to_client) footer.append(make("span", { textContent: one.is_delivered ? "✓✓" : "…", title: one.is_delivered ? "Доставлено" : "Отправляется" }));
  view.append(footer);
  return view;
}

async function editMessage(one) {
  const text = prompt("Новый текст", one.text);
  if (text !== null && text !== one.text) await act("edit", { id: one.id, text });
}

function chats(main, id) {
  openChat = Number(id || openChat || (state.chats[0] && state.chats[0].id) || 0);
  main.className = "whole";
  if (!$(".desk", main)) {
    main.replaceChildren(make("div", { className: "desk" }, make("div", { className: "list" }), make("div", { className: "talk" })));
  }
  $(".list", main).replaceChildren(...(state.chats.length ? state.chats.map(chatRow)
    : [make("p", { className: "empty", style: "padding: 16px", textContent: "Обращений пока нет." })]));
  if (openChat) talk();
}

function chatRow(one) {
  return make("a", { href: `#chats/${one.id}`, className: one.id === openChat ? "now" : "" },
    make("div", { className: "top" }, make("b", { className: "name", textContent: one.name }), make("time", { textContent: one.at ? clock(one.at) : "" })),
    make("div", { className: "last", textContent: `${one.last_who === "operator" ? "Вы: " : ""}${one.last.replace(/\[\/?[a-z]+(=[^\]]*)?\]/gi, "")}` }),
    make("div", { className: "last", textContent: `${one.connector}${one.is_closed ? " · завершён" : ""}` }));
}

async function talk() {
  const id = openChat;
  const one = await get(`chats/${id}`);
  if (id !== openChat) return;
  const place = $(".talk");
  if (!place) return;
  if (place.dataset.chat !== String(id)) {
    place.dataset.chat = id;
    place.replaceChildren(make("header", {}, make("div", { id: "head" }), make("button", { id: "finish", textContent: "Завершить диалог" })),
      make("div", { className: "messages" }), composer(id));
  }
  const crm = Object.entries(one.crm).map(([kind, number]) => `${{ LEAD: "Лид", DEAL: "Сделка", CONTACT: "Контакт" }[kind] || kind} №${number}`).join(", ");
  $("#head").replaceChildren(make("b", { textContent: one.name }), make("small", { title: one.external_id, textContent: [one.connector, crm].filter(Boolean).join(" · ") }));
  $("#finish").disabled = one.is_closed;
  $("#finish").onclick = () => act("finish", { chat: id, user: me() });
  const messages = $(".messages");
  const isAtEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 60 || !messages.children.length;
  messages.replaceChildren(...one.messages.map(messageView));
  if (isAtEnd) messages.scrollTop = messages.scrollHeight;
}

function composer(id) {
  const form = make("form", { id: "composer" });
  const text = make("textarea", { name: "text", placeholder: "Ответ клиенту (Enter — отправить)", "ariaLabel": "Ответ клиенту" });
  const files = make("input", { type: "file", name: "files", multiple: true, title: "Прикрепить файл" });
  const picked = make("span", { id: "picked" });
  files.onchange = () => { picked.textContent = [...files.files].map((file) => file.name).join(", "); };
  text.onkeydown = (event) => { if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); form.requestSubmit(); } };
  form.append(make("label", { className: "button" }, "Файл", files), picked, text, make("button", { className: "main", textContent: "Отправить" }));
  form.onsubmit = async (event) => {
    event.preventDefault();
    if (!text.value.trim() && !files.files.length) return;
    const body = new FormData(form);
    body.set("text", text.value.trim());
    body.set("user", me());
    text.value = "";
    await act(`chats/${id}/messages`, body);
    files.value = "";
    picked.textContent = "";
  };
  return form;
}

// -- life -------------------------------------------------------------------------------------------------------------

const sections = { chats, center, market, developers, notices, app: application, widget };

function show() {
  const [name, ...rest] = (location.hash.slice(1) || "chats").split("/");
  const main = $("#main");
  main.className = "";
  for (const link of document.querySelectorAll("#menu a")) link.classList.toggle("now", link.hash === `#${name}` || link.hash === location.hash);
  (sections[name] || chats)(main, ...rest);
}

async function refresh() {
  state = await get("state");
  $("#title").textContent = state.title;
  const before = $("#me").value;
  $("#me").replaceChildren(...state.users.map((user) => make("option", { value: user.id, textContent: user.name + (user.is_admin ? " (админ)" : "") })));
  if (before) $("#me").value = before;
  $("#widgets").replaceChildren(
    ...state.apps.filter((app) => app.is_installed && app.app_url).map((app) => make("a", { href: `#app/${app.client_id}`, textContent: app.title })),
    ...state.placements.filter((one) => one.code === "LEFT_MENU").map((one) => make("a", { href: `#widget/${one.app}/${one.code}`, textContent: one.title })));
}

async function live() {
  for (;;) {
    try {
      const told = await get(`wait?version=${state.version}`);
      if (told.version === state.version) continue;
      await refresh();
      const name = location.hash.slice(1).split("/")[0] || "chats";
      if (["chats", "center", "notices"].includes(name)) show();
    } catch (trouble) {
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

$("#slider-close").onclick = closeSlider;
$("#slider .shade").onclick = closeSlider;
window.addEventListener("keydown", (event) => { if (event.key === "Escape" && !$("#slider").hidden) closeSlider(); });
window.addEventListener("hashchange", show);
refresh().then(() => { show(); live(); });
