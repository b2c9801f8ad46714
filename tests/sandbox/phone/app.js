// The customer's phone: shows what /phone/state says and sends what the customer does to /phone/say.

const $ = (selector) => document.querySelector(selector);
const phone = $("#phone"), feed = $("#feed"), composer = $("#composer"), note = $("#note");
const picker = composer.querySelector("input[type=file]"), field = composer.elements.text;
const KINDS = { photo: "Фото", video: "Видео", audio: "Аудио", link: "Ссылка", wall: "Запись", wall_reply: "Комментарий",
  market: "Товар", gift: "Подарок", story: "История", poll: "Опрос", call: "Звонок", geo: "Место", doc: "Документ",
  audio_message: "Голосовое сообщение", voice: "Голосовое сообщение", sticker: "Стикер", graffiti: "Граффити" };

let open = readHash(), state = { networks: {} }, seen = "", action = null, pickKind = "doc", drawn = "";
let poll = new AbortController(), typingEnds = 0;

function readHash() {
  const [network, chat] = decodeURIComponent(location.hash.slice(1)).split("/");
  return chat ? { network, chat } : null;
}

function make(tag, values = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(values)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") node.style.cssText = value;
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const clock = (at) => new Date(at * 1000).toLocaleTimeString("ru-RU", { hour: "2-digit", minute: "2-digit" });
const day = (at) => new Date(at * 1000).toLocaleDateString("ru-RU", { day: "numeric", month: "long" });
const initials = (name) => name.split(/\s+/).slice(0, 2).map((part) => part[0] ?? "").join("").toUpperCase();

function size(bytes) {
  if (bytes >= 1048576) return `${(bytes / 1048576).toFixed(1)} МБ`;
  return bytes >= 1024 ? `${Math.round(bytes / 1024)} КБ` : `${bytes} Б`;
}

function face(chat, node = make("span", { class: "face" })) {
  node.textContent = chat.avatar ? "" : initials(chat.who);
  node.style.backgroundImage = chat.avatar ? `url("${chat.avatar}")` : "";
  return node;
}

function currentChat() {
  return open && state.networks[open.network]?.chats.find((chat) => chat.id === open.chat);
}

function drawChats() {
  const box = $("#chats");
  const rows = [];
  for (const [name, network] of Object.entries(state.networks)) {
    rows.push(make("div", { class: "network", style: `--net:${network.color}` }, network.title));
    if (!network.chats.length) rows.push(make("p", { class: "none" }, "Переписок пока нет"));
    for (const chat of [...network.chats].sort((a, b) => b.at - a.at)) {
      const current = open?.network === name && open.chat === chat.id;
      rows.push(make("button", { type: "button", class: "chat", role: "listitem", "aria-current": current,
        style: `--net:${network.color}`, onclick: () => openChat(name, chat.id) },
        face(chat), make("b", {}, chat.who), make("time", {}, chat.at ? clock(chat.at) : ""),
        make("span", { class: "last" }, KINDS[chat.last] ?? chat.last),
        chat.unread ? make("span", { class: "badge" }, String(chat.unread)) : make("span"),
        make("small", { class: "where" }, chat.account_name)));
    }
  }
  box.replaceChildren(...rows);
}

function drawAccounts() {
  const select = $("#new-chat").elements.account;
  const options = Object.entries(state.networks).flatMap(([name, network]) =>
    network.accounts.map((one) => [JSON.stringify([name, one.id]), `${one.name} · ${network.title}`]));
  const signature = JSON.stringify(options);
  if (select.dataset.signature === signature) return;
  select.dataset.signature = signature;
  select.replaceChildren(...options.map(([value, label]) => make("option", { value }, label)));
}

function attachment(one) {
  if (["photo", "graffiti", "sticker"].includes(one.type) && one.url) {
    const picture = make("img", { class: `picture ${one.type}`, src: one.url, alt: KINDS[one.type], onload: toEnd });
    return make("a", { href: one.url, target: "_blank" }, picture);
  }
  if (["audio_message", "voice"].includes(one.type)) return make("audio", { src: one.url, controls: "", preload: "none" });
  const label = make("span", {}, one.name || KINDS[one.type] || one.type,
    make("small", {}, one.size ? size(one.size) : KINDS[one.type] ?? one.type));
  const ending = one.type === "doc" ? one.name?.match(/\.(\w{1,4})$/)?.[1] : "";
  const mark = make("i", {}, ending || "•");
  return make(one.url ? "a" : "div", { class: "file", href: one.url || null, target: one.url ? "_blank" : null }, mark, label);
}

function bubble(one) {
  const tools = [make("button", { type: "button", onclick: () => begin("reply", one) }, "ответить")];
  if (one.is_mine) {
    tools.push(make("button", { type: "button", onclick: () => begin("edit", one) }, "изменить"));
    tools.push(make("button", { type: "button", onclick: () => say({ delete: Number(one.id) || one.id }) }, "удалить"));
  }
  const buttons = one.buttons?.length
    ? make("div", { class: "buttons" }, ...one.buttons.map((label) => make("button", { type: "button", onclick: () => say({ text: label }) }, label)))
    : null;
  return make("article", { class: one.is_mine ? "bubble mine" : "bubble", "data-id": one.id, tabindex: "0" },
    make("div", { class: "deeds" }, ...tools),
    one.quote ? make("div", { class: "quote" }, one.quote.text || "…") : null,
    ...(one.forwarded ?? []).map((quote) => make("div", { class: "quote" }, `↪ ${quote.text || "…"}`)),
    ...one.attachments.map(attachment),
    one.text ? make("div", { class: "text" }, one.text) : null, buttons,
    make("footer", {}, one.is_edited ? make("span", {}, "изменено") : null, make("time", {}, clock(one.at)),
      one.is_mine ? make("span", { class: one.is_read ? "ticks read" : "ticks", title: one.is_read ? "прочитано" : "отправлено" },
        one.is_read ? "✓✓" : "✓") : null));
}

function drawFeed() {
  const network = open && state.networks[open.network], chat = currentChat();
  $("#empty").hidden = Boolean(chat);
  phone.dataset.view = chat ? "chat" : "list";
  if (!chat) return;
  document.documentElement.style.setProperty("--accent", network.color);
  face({ who: chat.account_name }, $("#avatar"));
  $("#title strong").textContent = chat.account_name;
  $("#title small").textContent = network.is_typing ? "печатает…" : `${network.title} · телефон: ${chat.who}`;
  const signature = JSON.stringify([open, network.messages]);
  if (signature === drawn) return;
  drawn = signature;
  const rows = [];
  let lastDay = "";
  for (const one of network.messages ?? []) {
    if (day(one.at) !== lastDay) rows.push(make("div", { class: "day" }, (lastDay = day(one.at))));
    rows.push(bubble(one));
  }
  feed.replaceChildren(...rows);
  toEnd();
  if (chat.unread && document.visibilityState === "visible") say({ read: true }, true);
}

function toEnd() { feed.scrollTop = feed.scrollHeight; }

function openChat(network, chat) {
  open = chat ? { network, chat } : null;
  location.hash = chat ? encodeURIComponent(`${network}/${chat}`) : "";
  endAction();
  refresh();
}

function begin(kind, one) {
  action = { kind, one };
  note.hidden = false;
  note.querySelector("span").textContent = `${kind === "edit" ? "Изменение" : "Ответ"}: ${one.text || KINDS[one.attachments[0]?.type] || ""}`;
  if (kind === "edit") field.value = one.text;
  field.focus();
}

function endAction() { action = null; note.hidden = true; }

function complain(text) {
  const toast = $("#toast");
  toast.textContent = text;
  toast.hidden = false;
  setTimeout(() => { toast.hidden = true; }, 5000);
}

async function post(network, words) {
  const answer = await fetch("/phone/say", { method: "POST", headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ network, say: words }) });
  const body = await answer.json().catch(() => ({ error: answer.statusText }));
  if (!answer.ok) throw new Error(body.error ?? "Не отправлено");
  return body;
}

async function say(words, quietly = false) {
  const chat = currentChat();
  if (!chat) return false;
  try {
    await post(open.network, { ...chat.say, ...words });
    return true;
  } catch (trouble) {
    if (!quietly) complain(`Не отправлено: ${trouble.message}`);
    return false;
  }
}

async function upload(file, kind) {
  const form = new FormData();
  form.append("file", file);
  const answer = await fetch(`/phone/files?network=${open.network}`, { method: "POST", body: form });
  if (!answer.ok) return complain("Файл не отправлен");
  const { file: key } = await answer.json();
  const words = { text: field.value.trim(), attachments: [{ type: kind, file: key }] };
  if (await say(words)) { field.value = ""; grow(); }
}

composer.addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = field.value.trim();
  if (!text) return;
  const words = { text };
  if (action?.kind === "edit") words.edit = Number(action.one.id) || action.one.id;
  if (action?.kind === "reply") words.reply_to = action.one.number ?? action.one.id;
  if (await say(words)) { field.value = ""; grow(); endAction(); }
});
field.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); composer.requestSubmit(); }
});
let typedAt = 0;
function grow() { field.style.height = "auto"; field.style.height = `${Math.min(field.scrollHeight + 2, 130)}px`; }
field.addEventListener("input", () => {
  grow();
  if (Date.now() - typedAt > 5000) { typedAt = Date.now(); say({ typing: true }, true); }
});
for (const button of composer.querySelectorAll("[data-pick]")) {
  button.addEventListener("click", () => {
    pickKind = button.dataset.pick;
    picker.accept = pickKind === "photo" ? "image/*" : "";
    picker.click();
  });
}
picker.addEventListener("change", async () => {
  if (picker.files[0]) await upload(picker.files[0], pickKind);
  picker.value = "";
});
composer.querySelector("[data-voice]").addEventListener("click", () => say({ attachments: [{ type: "voice", seconds: 3 }] }));
note.querySelector("button").addEventListener("click", () => { endAction(); field.value = ""; });
$("#back").addEventListener("click", () => openChat("", ""));
$("#new-chat").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { name, account, text } = event.target.elements;
  if (!account.value) return complain("Некуда писать: нет ни одного сообщества или бота");
  const [network, id] = JSON.parse(account.value);
  try {
    const done = await post(network, { account: id, user: name.value.trim(), text: text.value.trim() });
    event.target.reset();
    await load();
    const chats = state.networks[network].chats;
    const made = chats.find((chat) => chat.account === id && chat.id.endsWith(`:${done.conversation ?? done.user}`));
    if (made) openChat(network, made.id);
  } catch (trouble) { complain(`Не отправлено: ${trouble.message}`); }
});
addEventListener("hashchange", () => { open = readHash(); refresh(); });
addEventListener("visibilitychange", () => { drawn = ""; drawFeed(); });

async function load(wait = false) {
  const query = new URLSearchParams({ network: open?.network ?? "", chat: open?.chat ?? "" });
  if (wait) query.set("seen", seen);
  const answer = await fetch(`/phone/state?${query}`, { signal: wait ? poll.signal : undefined });
  state = await answer.json();
  seen = state.seen;
  drawAccounts();
  drawChats();
  drawFeed();
  clearTimeout(typingEnds);
  if (open && state.networks[open.network]?.is_typing) typingEnds = setTimeout(refresh, 3000);
}

function refresh() { drawn = ""; seen = ""; poll.abort(); }

async function live() {
  for (;;) {
    poll = new AbortController();
    try {
      await load(true);
      await new Promise((done) => setTimeout(done, 150));
    } catch (trouble) {
      if (trouble.name !== "AbortError") await new Promise((done) => setTimeout(done, 1500));
    }
  }
}
live();
