// The manager's desk: lists by hash, a card with its feed, refreshed when the account's version moves.
"use strict";

const base = location.pathname.replace(/\/$/, "");
const $ = (query, from = document) => from.querySelector(query);
const me = () => Number($("#me").value || 0);
const clock = (at) => new Date(at * 1000).toLocaleTimeString("ru", { hour: "2-digit", minute: "2-digit" });
const statusWords = { sent: "✓ отправлено", delivered: "✓✓ доставлено", read: "✓✓ прочитано", failed: "ошибка" };
let state = null;
let quoting = null; // the message being answered
let shownLead = 0;

function make(tag, values = {}, ...inside) {
  const element = Object.assign(document.createElement(tag), values);
  element.append(...inside.filter((part) => part !== null && part !== undefined));
  return element;
}

async function get(path) {
  const response = await fetch(`${base}/desk/${path}`);
  if (!response.ok) throw new Error(`${response.status}`);
  return response.json();
}

async function act(path, body) {
  const isForm = body instanceof FormData;
  const headers = isForm ? {} : { "Content-Type": "application/json" };
  const sent = isForm ? body : JSON.stringify({ ...body, user: me() });
  const answer = await fetch(`${base}/desk/${path}`, { method: "POST", headers, body: sent });
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

// -- the list ---------------------------------------------------------------------------------------------------------

function rowView(tab, one, chosen) {
  const last = one.last ? `${one.last_is_incoming ? "" : "Вы: "}${one.last}` : "Сообщений нет";
  const row = make("a", { href: `#${tab}/${one.id}`, className: one.id === chosen ? "now" : "" },
    make("div", { className: "top" }, make("b", { className: "cut", textContent: one.contact || one.name }), make("time", { textContent: clock(one.at) })),
    make("div", { className: "cut", textContent: last }),
    make("small", { textContent: one.stage }), one.is_unanswered ? make("span", { className: "dot", title: "Нет ответа" }) : null);
  row.style.borderLeftColor = one.color;
  return row;
}

function list(tab, rows, chosen) {
  const nothing = tab === "unsorted" ? "Неразобранных заявок нет." : "Сделок пока нет.";
  $("#list").replaceChildren(...(rows.length ? rows.map((one) => rowView(tab, one, chosen)) : [make("p", { className: "empty", textContent: nothing })]));
}

// -- the card ---------------------------------------------------------------------------------------------------------

function facts(one) {
  const rows = (fields) => fields.flatMap((field) => [make("dt", { textContent: field.name }), make("dd", { textContent: field.value })]);
  const stage = make("select", { id: "stage", ariaLabel: "Этап" },
    ...one.stages.map((known) => make("option", { value: known.id, textContent: known.name, disabled: known.type === 1 })));
  stage.value = one.status;
  stage.onchange = () => act("move", { lead: one.id, status: Number(stage.value) });
  const place = make("div", { className: "facts" }, make("h2", { textContent: one.name }),
    make("small", { textContent: `№ ${one.id} · ${one.pipeline}` }), stage);
  if (one.uid) {
    place.append(make("div", { className: "row" },
      make("button", { id: "accept", className: "main", textContent: "Принять", onclick: () => act("accept", { uid: one.uid }).then(() => { location.hash = `leads/${one.id}`; }) }),
      make("button", { id: "decline", className: "danger", textContent: "Отклонить", onclick: () => act("decline", { uid: one.uid }) })));
  }
  const plain = [{ name: "Бюджет", value: `${one.price} ₽` }, { name: "Ответственный", value: one.responsible }];
  place.append(make("h3", { textContent: "Сделка" }), make("dl", {}, ...rows([...plain, ...one.fields])),
    make("div", {}, ...one.tags.map((tag) => make("span", { className: "tag", textContent: tag }))));
  for (const contact of one.contacts) {
    place.append(make("h3", { textContent: "Контакт" }), make("dl", {}, ...rows([{ name: "Имя", value: contact.name }, ...contact.fields])));
  }
  for (const task of one.tasks) place.append(make("h3", { textContent: task.is_completed ? "Задача выполнена" : "Задача" }), make("div", { textContent: task.text }));
  const row = make("div", { className: "row" }, make("a", { className: "button", href: `${base}/leads/detail/${one.id}?user=${me()}`, textContent: "Карточка с виджетами" }));
  for (const talk of one.talks) row.append(make("button", { textContent: "Завершить беседу", onclick: () => act("close", { talk: talk.id }) }));
  place.append(row);
  return place;
}

function fileView(one) {
  if (one.is_broken) return make("div", { className: "bad", textContent: "Файл недоступен" });
  if (!one.media) return null;
  if (one.type === "picture" || one.type === "sticker") return make("a", { href: one.media, target: "_blank" }, make("img", { src: one.media, alt: one.file_name }));
  if (one.type === "voice" || one.type === "audio") return make("audio", { src: one.media, controls: true });
  if (one.type === "video") return make("video", { src: one.media, controls: true });
  return make("a", { href: one.media, target: "_blank", textContent: one.file_name || "Файл" });
}

function placeText(one) {
  if (one.type === "location") return `Место: ${one.place.lat}, ${one.place.lon}`;
  if (one.type === "contact") return `Контакт: ${one.place.name}, ${one.place.phone}`;
  return one.text;
}

function messageView(one) {
  if (one.kind === "note") {
    return make("div", { className: "message note" }, make("div", { className: "who", textContent: one.author || "Примечание" }),
      make("div", { className: "text", textContent: one.text }), make("footer", { textContent: clock(one.at) }));
  }
  const view = make("div", { className: `message ${one.is_incoming ? "in" : "out"}`, id: `m${one.id}` }, make("div", { className: "who", textContent: one.author }));
  if (one.post.url) view.append(make("div", { className: "quote" }, make("a", { href: one.post.url, target: "_blank", textContent: `Комментарий: ${one.post.caption || one.post.url}` })));
  if (one.quote.type) view.append(make("div", { className: "quote", textContent: one.quote.text || one.quote.file_name || "Сообщение" }));
  view.append(make("div", { className: "text", textContent: placeText(one) }));
  const file = fileView(one);
  if (file) view.append(file);
  if (one.error) view.append(make("div", { className: "bad", textContent: `Не доставлено. ${one.error}` }));
  if (one.hook.status !== undefined && !(one.hook.status >= 200 && one.hook.status < 300)) {
    view.append(make("div", { className: "bad", textContent: `Интеграция не приняла сообщение (${one.hook.status || one.hook.trouble})` }));
  }
  const footer = make("footer", {}, make("button", { className: "link", textContent: "ответить", onclick: () => quote(one) }),
    make("button", { className: "link", textContent: "реакция", title: "Поставить 👍", onclick: () => act("react", { message: one.id, emoji: "👍" }) }));
  footer.append(...one.reactions.map((emoji) => make("span", { textContent: emoji })), one.is_edited ? make("span", { textContent: "изменено" }) : "",
    make("span", { textContent: clock(one.at) }), make("span", { className: "status", textContent: statusWords[one.status] || "" }));
  view.append(footer);
  return view;
}

function quote(one) {
  quoting = one;
  $("#where").value = one.chat;
  $("#quoting").replaceChildren(make("span", { textContent: `Ответ на: ${one.text || one.file_name}` }), make("button", { className: "link", type: "button", textContent: "отменить", onclick: unquote }));
  $("#quoting").hidden = false;
  $("#composer textarea").focus();
}

function unquote() {
  quoting = null;
  $("#quoting").hidden = true;
}

function composer(one) {
  const form = make("form", { id: "composer" });
  const where = make("select", { id: "where", name: "where", ariaLabel: "Куда писать" });
  const text = make("textarea", { name: "text", placeholder: "Сообщение клиенту (Enter — отправить)", ariaLabel: "Сообщение клиенту" });
  const files = make("input", { type: "file", name: "files", multiple: true, title: "Прикрепить файл" });
  const picked = make("span", { id: "picked" });
  files.onchange = () => { picked.textContent = [...files.files].map((file) => file.name).join(", "); };
  text.oninput = () => { if (!where.value.startsWith("first:") && where.value) fetch(`${base}/desk/typing`, { method: "POST", body: JSON.stringify({ chat: where.value, user: me() }) }); };
  text.onkeydown = (event) => { if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); form.requestSubmit(); } };
  form.append(make("div", { id: "quoting", className: "quoting", hidden: true }), make("div", { className: "line" }, where, picked),
    make("div", { className: "line" }, make("label", { className: "button" }, "Файл", files), text, make("button", { className: "main", textContent: "Отправить" })));
  form.onsubmit = async (event) => {
    event.preventDefault();
    if (!text.value.trim() && !files.files.length) return;
    const body = new FormData(form);
    body.set("user", me());
    if (quoting) body.set("reply_to", quoting.id);
    await act(`leads/${one.id}/messages`, body);
    text.value = "";
    files.value = "";
    picked.textContent = "";
    unquote();
  };
  return form;
}

async function card(id) {
  const place = $("#card");
  if (!id) { place.replaceChildren(make("p", { className: "empty", textContent: "Выберите сделку слева." })); shownLead = 0; return; }
  let one = null;
  try { one = await get(`leads/${id}`); } catch (trouble) {
    place.replaceChildren(make("p", { className: "empty", textContent: "Сделка удалена." }));
    shownLead = 0;
    return;
  }
  if (shownLead !== id) {
    shownLead = id;
    quoting = null;
    place.replaceChildren(make("div", { id: "facts" }), make("div", { className: "feed" }, make("div", { className: "messages" }), composer(one)));
  }
  $("#facts").replaceWith(Object.assign(facts(one), { id: "facts" }));
  const where = $("#where"), before = where.value;
  where.replaceChildren(...one.places.map((known) => make("option", { value: known.where, textContent: known.title })));
  if (one.places.some((known) => known.where === before)) where.value = before;
  if (!one.places.length) where.append(make("option", { value: "", textContent: "Нет чатов и телефонов" }));
  const messages = $(".messages", place);
  const isAtEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 80 || !messages.children.length;
  messages.replaceChildren(...(one.feed.length ? one.feed.map(messageView) : [make("p", { className: "empty", textContent: "Переписки пока нет." })]));
  const down = () => { messages.scrollTop = messages.scrollHeight; };
  if (isAtEnd) down();
  if (isAtEnd) for (const picture of messages.querySelectorAll("img")) picture.addEventListener("load", down, { once: true });
}

function newLead() {
  shownLead = 0;
  const form = make("form", { className: "form" }, make("h2", { textContent: "Новая сделка" }),
    make("label", {}, "Имя контакта", make("input", { name: "name", required: true })),
    make("label", {}, "Телефон", make("input", { name: "phone", inputMode: "tel" })), make("div", { className: "row" }, make("button", { className: "main", textContent: "Создать" })));
  form.onsubmit = async (event) => {
    event.preventDefault();
    await act("add", Object.fromEntries(new FormData(form)));
    location.hash = "leads";
  };
  $("#card").replaceChildren(form);
}

// -- life -------------------------------------------------------------------------------------------------------------

function show() {
  const [tab, id] = (location.hash.slice(1) || "unsorted").split("/");
  for (const link of document.querySelectorAll("#tabs a")) link.classList.toggle("now", link.hash === `#${tab}`);
  const unsorted = state.leads.filter((one) => one.uid), leads = state.leads.filter((one) => !one.uid);
  $("#unsorted-count").textContent = unsorted.length || "";
  $("#leads-count").textContent = leads.length || "";
  const rows = tab === "unsorted" ? unsorted : leads;
  const known = state.leads.some((one) => one.id === Number(id));
  const chosen = known ? Number(id) : rows[0] && rows[0].id;
  list(tab, rows, chosen);
  if (tab !== "new") return card(chosen);
  if (!$("#card form.form")) newLead();
}

async function refresh() {
  state = await get("state");
  $("#title").textContent = state.title;
  const before = $("#me").value;
  $("#me").replaceChildren(...state.users.map((user) => make("option", { value: user.id, textContent: user.name + (user.is_admin ? " (админ)" : "") })));
  if (before) $("#me").value = before;
  $("#market").href = `${base}/marketplace`;
}

async function live() {
  for (;;) {
    try {
      const told = await get(`wait?version=${state.version}`);
      if (told.version === state.version) continue;
      await refresh();
      await show();
    } catch (trouble) {
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

window.addEventListener("hashchange", show);
refresh().then(() => { show(); live(); });
