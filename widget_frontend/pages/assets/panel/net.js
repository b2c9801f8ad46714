// Calls to our server, with the token of this page. The server may hand over a newer one with any answer; no cookie takes part.

import { facts, t } from "./dom.js";

let token = facts.token;

export class Trouble extends Error {
  constructor(status, slug, text) {
    super(text);
    this.status = status;
    this.slug = slug;
  }
}

export const get = (path) => call("GET", path);
export const post = (path, body) => send("POST", path, body);

export function send(method, path, body) {
  return call(method, path, JSON.stringify(body), "application/json");
}

export function upload(file) {
  return call("POST", `files?name=${encodeURIComponent(file.name)}`, file, "application/octet-stream");
}

async function call(method, path, body, type) {
  const headers = { Authorization: `Bearer ${token}` };
  if (type) {
    headers["Content-Type"] = type;
  }
  let answer;
  try {
    answer = await fetch(`${facts.api}/${path}`, { method, headers, body, credentials: "omit" });
  } catch {
    throw new Trouble(0, "away", t("away"));
  }
  token = answer.headers.get("X-Panel-Token") ?? token;
  const said = answer.headers.get("Content-Type")?.includes("json") ? await answer.json() : {};
  if (answer.status === 401) {
    document.dispatchEvent(new CustomEvent("expired"));
  }
  if (!answer.ok) {
    throw new Trouble(answer.status, said.reason ?? "", said.detail || t("failed"));
  }
  return said;
}

// Repeat something while it is being looked at; trouble only slows it down. Returns the way to stop it.
export function every(seconds, action) {
  let wait = seconds;
  let timer = 0;
  let over = false;
  async function turn() {
    if (!document.hidden) {
      try {
        await action();
        wait = seconds;
      } catch {
        wait = Math.min(wait * 2, 60);
      }
    }
    if (!over) {
      timer = setTimeout(turn, wait * 1000);
    }
  }
  timer = setTimeout(turn, wait * 1000);
  return () => {
    over = true;
    clearTimeout(timer);
  };
}
