// The twin of BX24.js: works only inside an iframe of the portal's page, and talks to it by postMessage.
(function () {
  "use strict";
  const waiting = new Map();
  let next = 0;
  let started = null;
  // The portal names its iframe "domain|protocol|app_sid", as the real one does.
  const [domain, , sid] = window.name.split("|");

  function ask(act, values) {
    return new Promise((resolve) => {
      const id = ++next;
      waiting.set(id, resolve);
      window.parent.postMessage({ bx24: sid, id, act, values: values || {} }, "*");
    });
  }

  window.addEventListener("message", (event) => {
    if (event.source !== window.parent || !event.data || event.data.bx24 !== sid) return;
    const resolve = waiting.get(event.data.id);
    waiting.delete(event.data.id);
    if (resolve) resolve(event.data.result);
  });

  let auth = false;
  const start = () => (started = started || ask("init").then((told) => { auth = told; return told; }));

  function flat(value, name, into) {
    if (value !== null && typeof value === "object") {
      for (const key of Object.keys(value)) flat(value[key], name ? `${name}[${key}]` : key, into);
    } else if (value !== undefined && value !== null) into.append(name, value);
    return into;
  }

  function answer(body) {
    return {
      data: () => body.result,
      error: () => body.error || false,
      more: () => body.next !== undefined,
      total: () => body.total,
      answer: body,
    };
  }

  function height() {
    return Math.max(document.documentElement.scrollHeight, document.body ? document.body.scrollHeight : 0);
  }

  window.BX24 = {
    init: (done) => start().then((told) => told && done && done()),
    install: (done) => start().then((told) => told && told.is_first_run && done && done()),
    installFinish: () => ask("installFinish"),
    getAuth: () => (auth ? { access_token: auth.access_token, refresh_token: auth.refresh_token,
      expires_in: Date.now() + auth.expires_in * 1000, domain: auth.domain, member_id: auth.member_id } : false),
    refreshAuth: (done) => ask("refreshAuth").then((told) => { auth = told; if (done) done(window.BX24.getAuth()); }),
    getDomain: () => domain,
    getLang: () => "ru",
    isAdmin: () => Boolean(auth && auth.is_admin),
    resizeWindow: (width, tall, done) => ask("resize", { width, height: tall }).then(() => done && done()),
    fitWindow: (done) => ask("resize", { width: "100%", height: height() }).then(() => done && done()),
    setTitle: (title, done) => ask("setTitle", { title }).then(() => done && done()),
    closeApplication: (done) => ask("close").then(() => done && done()),
    reloadWindow: () => ask("reload"),
    scrollParentWindow: () => ask("scroll"),
    openApplication: (params, done) => ask("openApplication", params).then(() => done && done()),
    openPath: (path, done) => ask("openPath", { path }).then((told) => done && done(told)),
    placement: {
      info: () => (auth ? { placement: auth.placement, options: auth.options } : false),
      getInterface: (done) => done && done({ command: [], event: [] }),
      call: () => undefined,
      bindEvent: () => undefined,
    },
    callMethod: async (method, params, done) => {
      const body = flat({ ...params, auth: auth.access_token }, "", new URLSearchParams());
      const response = await fetch(`${auth.endpoint}${method}.json`, { method: "POST", body });
      const told = answer(await response.json());
      if (done) done(told);
      return told;
    },
    ready: (done) => (document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", done) : done()),
  };
})();
