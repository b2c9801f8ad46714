// Small comforts; every page works without them.

// A page that only starts something sends its form by itself, but not when somebody comes back to it.
const [visit] = performance.getEntriesByType("navigation");
if (visit?.type !== "back_forward") {
  for (const form of document.querySelectorAll("form[data-send-now]")) {
    form.querySelector("button").hidden = true;
    form.submit();
  }
}

// One click, one act.
for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", () => {
    form.querySelector("button").disabled = true;
  });
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", async () => {
    const field = document.getElementById(button.dataset.copy);
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
      button.textContent = button.dataset.copied;
    } catch {
      field.focus(); // no clipboard without https: the text is selected, ready for Ctrl-C
    }
  });
}

// The mask is a stand-in, not something to type behind.
for (const field of document.querySelectorAll("input[type=password]")) {
  field.addEventListener("focus", () => field.select());
}

// On a narrow screen the tabs scroll: show the one we are on.
document.querySelector(".top nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
