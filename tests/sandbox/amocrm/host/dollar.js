// The part of jQuery 2 that widgets here use, with the same names and results; anything else is not a function, and is seen at once.
"use strict";

class Found extends Array {
  static get [Symbol.species]() {
    return Found;
  }

  find(selector) {
    return all(this.flatMap((one) => [...one.querySelectorAll(selector)]));
  }

  first() {
    return all(this.slice(0, 1));
  }

  last() {
    return all(this.slice(-1));
  }

  each(action) {
    this.forEach((one, number) => action.call(one, number, one));
    return this;
  }

  addClass(names) {
    return this.each((_, one) => one.classList.add(...words(names)));
  }

  removeClass(names) {
    return this.each((_, one) => one.classList.remove(...words(names)));
  }

  toggleClass(names, on) {
    return this.each((_, one) => words(names).forEach((name) => one.classList.toggle(name, on)));
  }

  attr(name, value) {
    if (typeof name === "string" && value === undefined) {
      return this[0]?.getAttribute(name) ?? undefined;
    }
    const pairs = typeof name === "string" ? { [name]: value } : name;
    return this.each((_, one) => Object.entries(pairs).forEach(([key, said]) => one.setAttribute(key, said)));
  }

  css(name, value) {
    return this.each((_, one) => one.style.setProperty(name, value));
  }

  text(said) {
    if (said === undefined) {
      return this.map((one) => one.textContent).join("");
    }
    return this.each((_, one) => (one.textContent = said));
  }

  html(said) {
    return this.each((_, one) => (one.innerHTML = said));
  }

  append(...children) {
    return this.each((_, one) => one.append(...nodes(children)));
  }

  prepend(...children) {
    return this.each((_, one) => one.prepend(...nodes(children)));
  }

  empty() {
    return this.each((_, one) => one.replaceChildren());
  }

  toggle(on) {
    return this.each((_, one) => (one.style.display = on ? "" : "none"));
  }

  hide() {
    return this.toggle(false);
  }

  data(name, value) {
    if (value === undefined) {
      return this[0] ? remembered(this[0])[name] : undefined;
    }
    return this.each((_, one) => (remembered(one)[name] = value));
  }

  // on("click.space", handler) or on("click.space", selector, handler)
  on(event, selector, handler) {
    const [name, space = ""] = event.split(".");
    const [within, action] = typeof selector === "string" ? [selector, handler] : ["", selector];
    return this.each((_, one) => {
      const hear = (said) => {
        const target = within ? said.target.closest?.(within) : one;
        if (target) {
          action.call(target, { originalEvent: said, target: said.target, preventDefault: () => said.preventDefault() });
        }
      };
      one.addEventListener(name, hear);
      heard(one).push({ name, space, hear });
    });
  }

  off(event) {
    const [name, space = ""] = event.split(".");
    return this.each((_, one) => {
      const kept = heard(one).filter((known) => {
        const goes = (!name || known.name === name) && (!space || known.space === space);
        if (goes) {
          one.removeEventListener(known.name, known.hear);
        }
        return !goes;
      });
      heard(one).splice(0, Infinity, ...kept);
    });
  }
}

const memory = new WeakMap();
const listeners = new WeakMap();

function remembered(one) {
  memory.has(one) || memory.set(one, {});
  return memory.get(one);
}

function heard(one) {
  listeners.has(one) || listeners.set(one, []);
  return listeners.get(one);
}

function words(names) {
  return names.split(/\s+/).filter(Boolean);
}

function all(list) {
  return Found.from(new Set(list));
}

function nodes(children) {
  return children.flatMap((child) => (child instanceof Found ? [...child] : [child]));
}

function $(what) {
  if (what instanceof Found) {
    return what;
  }
  if (typeof what !== "string") {
    return Found.of(what);
  }
  if (what.trimStart().startsWith("<")) {
    const holder = document.createElement("template");
    holder.innerHTML = what.trim();
    return all([...holder.content.childNodes]);
  }
  return all([...document.querySelectorAll(what)]);
}

$.extend = Object.assign;

// A Deferred as $.ajax returns it: done, fail, always, in the order in which they were asked for.
$.ajax = (options) => {
  const chains = { done: [], fail: [], always: [] };
  const control = new AbortController();
  setTimeout(() => control.abort(), options.timeout ?? 60000);
  const deferred = {};
  for (const name of Object.keys(chains)) {
    deferred[name] = (action) => {
      chains[name].push(action);
      return deferred;
    };
  }
  send(options, control.signal)
    .then(
      (answer) => [...(answer.ok ? chains.done : chains.fail)].forEach((action) => action(answer.ok ? answer.body : answer)),
      () => chains.fail.forEach((action) => action({ status: 0, responseText: "" })),
    )
    .finally(() => chains.always.forEach((action) => action()));
  return deferred;
};

async function send(options, signal) {
  const headers = { ...options.headers, ...(options.contentType ? { "Content-Type": options.contentType } : {}) };
  const answer = await fetch(options.url, { method: options.method ?? "GET", headers, body: options.data, signal, credentials: "omit" });
  const responseText = await answer.text();
  let responseJSON;
  try {
    responseJSON = JSON.parse(responseText);
  } catch {
    responseJSON = undefined;
  }
  return { ok: answer.ok, status: answer.status, body: responseJSON, responseJSON, responseText };
}

amd.libraries.jquery = $;
