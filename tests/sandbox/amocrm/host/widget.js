// A widget as amoCRM builds it: its module's function gets an object with the documented methods and says what it wants to be called for.
"use strict";

const CALLBACKS = ["render", "init", "bind_actions", "settings", "onSave", "destroy", "advancedSettings", "onInstall", "dpSettings"];
const NEEDED = ["render", "init", "bind_actions", "onSave"];

class Widget {
  constructor(facts, place, user) {
    this.facts = facts;
    this.place = place;
    this.user = user;
    this.allowed = 0; // requests with the one-time token: one for each thing that a person does
    this.object = this.strict(this.methods());
  }

  async load() {
    const version = this.facts.manifest.widget.version;
    const make = await loadModule(`${this.facts.path}/script.js?v=${version}`);
    const made = make.call(this.object) ?? this.object;
    const callbacks = made.callbacks ?? {};
    NEEDED.filter((name) => typeof callbacks[name] !== "function").forEach((name) => complain(`no callback ${name}`));
    const unknown = Object.keys(callbacks).filter((name) => !CALLBACKS.includes(name));
    unknown.forEach((name) => complain(`unknown callback ${name}`));
    this.callbacks = callbacks;
    return this;
  }

  get locations() {
    return this.facts.manifest.locations.map((one) => one.replace(/-[01]$/, ""));
  }

  // Enter a location: render first; bind_actions and init only when it returned true (amocrm.md 7.4).
  enter(area) {
    if (!this.locations.includes(area)) {
      return;
    }
    if (this.callbacks.render() !== true) {
      complain("render must return true");
      return;
    }
    for (const name of ["bind_actions", "init"]) {
      if (this.callbacks[name]() !== true) {
        complain(`${name} must return true`);
      }
    }
  }

  leave() {
    this.callbacks.destroy?.();
  }

  acted() {
    this.allowed = 1;
  }

  // Only what is documented is there; asking for anything else is seen.
  strict(methods) {
    return new Proxy(methods, {
      get: (known, name) => {
        if (!(name in known) && typeof name === "string" && name !== "then") {
          complain(`the widget object has no ${name}`);
        }
        return known[name];
      },
    });
  }

  methods() {
    const { facts } = this;
    const words = facts.words[APP.lang_id] ?? facts.words.ru;
    return {
      params: { path: facts.path, widget_code: facts.code },
      system: () => ({ area: this.place.area, amouser_id: this.user.id, amouser: this.user.login }),
      get_settings: () => ({ widget_code: facts.code, path: facts.path, version: facts.manifest.widget.version }),
      get_version: () => facts.manifest.widget.version,
      get_install_status: () => facts.status,
      i18n: (key) => key.split(".").reduce((here, part) => here?.[part], words),
      langs: words,
      render_template: (block) => this.block(block),
      $authorizedAjax: (options) => this.ask(options),
    };
  }

  block({ caption, body, render }) {
    const place = document.getElementById("widgets_block");
    if (!place) {
      complain("there is no right column here");
      return;
    }
    const made = document.createElement("div");
    made.className = "card-widgets__widget";
    made.innerHTML = `<div class="card-widgets__widget__caption ${caption.class_name}">
      <img src="${this.facts.path}/images/logo_min.png" alt="">${caption.html}<span></span></div>
      <div class="card-widgets__widget__body">${body}${render}</div>`;
    made.querySelector("span").textContent = this.object.i18n(this.facts.manifest.widget.name);
    place.append(made);
  }

  ask(options) {
    if (this.allowed < 1) {
      complain("a request with the one-time token that nobody clicked for");
    }
    this.allowed -= 1;
    const answered = {};
    const waiting = { done: [], fail: [], always: [] };
    for (const name of Object.keys(waiting)) {
      answered[name] = (action) => {
        waiting[name].push(action);
        return answered;
      };
    }
    host
      .post("token", { code: this.facts.code, user: this.user.id })
      .then(({ token }) => {
        const asked = $.ajax({ ...options, headers: { ...options.headers, "X-Auth-Token": token } });
        for (const name of Object.keys(waiting)) {
          waiting[name].forEach((action) => asked[name](action));
        }
      })
      .catch(() => {
        waiting.fail.forEach((action) => action({ status: 403, responseText: "" }));
        waiting.always.forEach((action) => action());
      });
    return answered;
  }
}
