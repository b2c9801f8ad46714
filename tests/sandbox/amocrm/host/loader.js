// AMD as amoCRM's pages have it: a module is one anonymous define(dependencies, factory) in its file; libraries have names.
"use strict";

const amd = { libraries: {}, defined: null };

function define(dependencies, factory) {
  if (!Array.isArray(dependencies) || typeof factory !== "function") {
    complain("define() takes a list of dependencies and a function");
    return;
  }
  amd.defined = { dependencies, factory };
}
define.amd = {};

function loadModule(address) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onerror = () => reject(new Error(`cannot load ${address}`));
    script.onload = () => {
      const module = amd.defined;
      amd.defined = null;
      if (!module) {
        reject(new Error(`${address} defines no module`));
        return;
      }
      const unknown = module.dependencies.filter((name) => !(name in amd.libraries));
      if (unknown.length) {
        reject(new Error(`${address} wants ${unknown.join(", ")}, which these pages do not have`));
        return;
      }
      resolve(module.factory(...module.dependencies.map((name) => amd.libraries[name])));
    };
    document.head.append(script);
  });
}

// What a widget does wrong is shown at the foot of the page, where tests and people see it.
function complain(text) {
  const row = document.createElement("li");
  row.textContent = text;
  document.getElementById("complaints").append(row);
}
window.addEventListener("error", (event) => complain(event.message));
window.addEventListener("unhandledrejection", (event) => complain(String(event.reason)));
