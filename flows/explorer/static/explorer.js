// All pages work without this file; it adds suggestions, cards, copying, and parts that load separately.
"use strict";

const heard = document.getElementById("heard");

function make(tag, text, name) {
  const element = document.createElement(tag);
  if (text) element.textContent = text; // never HTML: the text comes from documents
  if (name) element.className = name;
  return element;
}

// Light and dark.
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch {
    // storage is disabled: applies to this page only
  }
});

// Suggestions, as the pattern "combobox with list autocomplete" of the ARIA practices.
function suggest(input) {
  const list = document.getElementById(input.getAttribute("aria-controls"));
  let asked = 0;
  let chosen = -1;
  let timer = 0;

  function close() {
    list.hidden = true;
    chosen = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function choose(place) {
    const options = list.children;
    if (!options.length) return;
    chosen = (place + options.length) % options.length;
    for (const [at, option] of [...options].entries()) option.setAttribute("aria-selected", String(at === chosen));
    input.setAttribute("aria-activedescendant", options[chosen].id);
    options[chosen].scrollIntoView({ block: "nearest" });
  }

  function show(found) {
    list.replaceChildren(
      ...found.map((one, place) => {
        const option = make("li");
        option.id = `found-${place}`;
        option.role = "option";
        option.setAttribute("aria-selected", "false");
        option.dataset.address = one.address;
        option.append(make("bdi", one.label), make("span", one.also ? `${one.also} · ${one.detail}` : one.detail, "muted"));
        return option;
      }),
    );
    list.hidden = !found.length;
    input.setAttribute("aria-expanded", String(found.length > 0));
    heard.textContent = `${found.length} suggestions`;
    chosen = -1;
  }

  async function ask() {
    const number = ++asked;
    const text = input.value.trim();
    if (!text) return close();
    try {
      const response = await fetch(`${input.dataset.suggest}?q=${encodeURIComponent(text)}`);
      if (response.ok && number === asked) show(await response.json());
    } catch {
      close(); // the server has stopped; Enter shows the error
    }
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, 120);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) ask();
      else choose(chosen < 0 && event.key === "ArrowUp" ? -1 : chosen + (event.key === "ArrowDown" ? 1 : -1));
    } else if (event.key === "Enter" && chosen >= 0) {
      event.preventDefault();
      location.assign(list.children[chosen].dataset.address);
    } else if (event.key === "Escape") {
      close();
    }
  });
  input.addEventListener("blur", () => setTimeout(close, 150));
  list.addEventListener("mousedown", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) location.assign(option.dataset.address);
  });
}
for (const input of document.querySelectorAll("[data-suggest]")) suggest(input);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.closest("input, textarea, select")) {
    event.preventDefault();
    document.getElementById("find").focus();
  }
});

// The card of a mention, on hover and on focus: a copy of its entry in the list below the text.
const card = document.getElementById("card");
function showCard(mark) {
  const entry = document.getElementById(mark.dataset.card);
  if (!entry) return;
  const copy = [...entry.children].map((child) => child.cloneNode(true));
  card.replaceChildren(...copy);
  for (const element of card.querySelectorAll("button, .heat")) element.remove();
  card.hidden = false;
  mark.setAttribute("aria-describedby", "card");
  const at = mark.getClientRects()[0];
  const width = card.offsetWidth;
  const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - width - 8));
  const below = at.bottom + card.offsetHeight + 8 < document.documentElement.clientHeight;
  card.style.left = `${left + scrollX}px`;
  card.style.top = `${scrollY + (below ? at.bottom + 4 : at.top - card.offsetHeight - 4)}px`;
}
function hideCard() {
  card.hidden = true;
  for (const mark of document.querySelectorAll("[aria-describedby=card]")) mark.removeAttribute("aria-describedby");
}
let leaving = 0;
function hold() {
  clearTimeout(leaving);
}
function leave() {
  leaving = setTimeout(hideCard, 150); // so that the pointer can reach the card
}
for (const mark of document.querySelectorAll("[data-card]")) {
  for (const begin of ["mouseenter", "focus"]) {
    mark.addEventListener(begin, () => {
      hold();
      showCard(mark);
    });
  }
  for (const end of ["mouseleave", "blur"]) mark.addEventListener(end, leave);
}
card.addEventListener("mouseenter", hold);
card.addEventListener("mouseleave", leave);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hideCard();
});

// Copy buttons, and parts of a page that load separately.
function prepare(root) {
  for (const button of root.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        heard.textContent = "Copied";
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code); // the clipboard is not available: use Ctrl+C
      }
    });
  }
}
prepare(document);
for (const part of document.querySelectorAll("[data-load]")) {
  part.setAttribute("aria-busy", "true");
  fetch(part.dataset.load)
    .then(async (response) => {
      if (!response.ok) return;
      const loaded = new DOMParser().parseFromString(await response.text(), "text/html");
      part.replaceChildren(...loaded.body.childNodes);
      prepare(part);
    })
    .finally(() => part.removeAttribute("aria-busy"));
}

// Ask the model; `place` shows that it is working, or why there is no answer.
async function askModel(button, address, place, what) {
  place.textContent = `The model is reading the ${what} …`;
  button.disabled = true;
  let answer;
  try {
    answer = await (await fetch(address)).json();
  } catch {
    answer = { error: "the server did not answer" };
  }
  button.disabled = false;
  if (!answer.error) return answer;
  place.textContent = answer.error;
  return null;
}

// The attention over the words of a sentence.
for (const button of document.querySelectorAll("button.attention")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const place = button.nextElementSibling;
    const answer = await askModel(button, button.dataset.attention, place, "sentence");
    if (!answer) return;
    const most = Math.max(...answer.words.map((word) => word.weight), 1e-9);
    place.replaceChildren(make("span", `Attention for ${answer.name}: `, "muted"));
    for (const word of answer.words) {
      const part = make("span", word.text, `word heat-${Math.round((9 * word.weight) / most)}`);
      part.title = `${(100 * word.weight).toFixed(1)} %`;
      part.append(make("sub", `${Math.round(100 * word.weight)}`));
      place.append(part, " ");
    }
  });
}

// The candidates of each mention, in its entry and so in its card.
for (const button of document.querySelectorAll("[data-candidates]")) {
  const place = document.getElementById("candidates");
  button.hidden = false;
  button.addEventListener("click", async () => {
    const answer = await askModel(button, button.dataset.candidates, place, "document");
    if (!answer) return;
    for (const mention of answer.mentions) {
      const entry = document.querySelector(`#mention-${mention.number} .others`);
      const list = make("ol");
      for (const one of mention.candidates) {
        const item = make("li");
        const link = make("a", one.name);
        link.href = one.address;
        item.append(link, " ", make("code", one.id, "id"), " ", make("span", one.score, "muted"));
        list.append(item);
      }
      const title = mention.candidates.length ? "Candidates" : "No candidates";
      entry.replaceChildren(make("p", answer.note ? `${title} ${answer.note}` : title, "muted"), list);
    }
    button.hidden = true;
    place.textContent = "Candidates are in each mention, most probable first.";
  });
}

// Ctrl+Enter runs a query or annotates a text.
for (const area of document.querySelectorAll(".editor textarea")) {
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) area.form.requestSubmit();
  });
}
