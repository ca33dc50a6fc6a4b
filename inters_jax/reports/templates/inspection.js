"use strict";
// Shows the examples of the page: filter, search, fold, and what a token is. Text from data only ever enters
// the document as text nodes.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const TEXT = 0, BOS = 1, EOS = 2, REST = 4;
  const BATCH = 20;        // examples put on the page at once
  const HEAD = 36;         // tokens shown of the beginning of a long part ...
  const TAIL = 150;        // ... and of the end of the item and of a completion
  const AROUND = 30;       // tokens shown on either side of a match
  const byId = (id) => document.getElementById(id);
  const fields = { q: byId("q"), task: byId("task"), template: byId("template"), shots: byId("shots") };
  const cards = byId("cards"), more = byId("more"), count = byId("count"), clear = byId("clear");
  const tip = byId("tip");
  const number = new Intl.NumberFormat("en");
  const lowered = data.tokens.map(([, text]) => text.toLowerCase());
  const haystacks = new Array(data.examples.length);
  let matching = [], shown = 0, only = null, terms = [], current = null;

  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  // ------------------------------------------------------------------------------------ search and filter

  function haystack(index) {
    if (haystacks[index] === undefined) {
      const example = data.examples[index];
      haystacks[index] = example.t.map((token) => lowered[token]).join("");
    }
    return haystacks[index];
  }

  function parseTerms(text) {
    const found = [];
    for (const match of text.toLowerCase().matchAll(/["“”]([^"“”]+)["“”]?|([^\s"“”]+)/g)) {
      found.push(match[1] ?? match[2]);
    }
    return found;
  }

  function matches(index) {
    const example = data.examples[index];
    if (only !== null) return index === only;
    if (fields.task.value !== "" && data.tasks[example.k] !== fields.task.value) return false;
    if (fields.template.value !== "" && String(example.m ?? "unknown") !== fields.template.value) return false;
    if (fields.shots.value !== "" && String(example.s ?? "unknown") !== fields.shots.value) return false;
    const name = example.e.toLowerCase();
    return terms.every((term) => haystack(index).includes(term) || name.includes(term));
  }

  function update() {
    hideTip();
    terms = parseTerms(fields.q.value);
    matching = [...data.examples.keys()].filter(matches);
    cards.replaceChildren();
    shown = 0;
    showMore();
    const filtered = only !== null || Object.values(fields).some((field) => field.value !== "");
    clear.hidden = !filtered;
    if (!matching.length) {
      cards.append(make("p", { class: "notice" }, "No example on this page matches. The page holds a sample: "
        + "the store may have some."));
    }
  }

  function showMore() {
    const upTo = Math.min(shown + BATCH, matching.length);
    const first = shown;
    for (; shown < upTo; shown++) cards.append(card(matching[shown]));
    const left = matching.length - shown;
    more.hidden = left === 0;
    more.textContent = `Show ${Math.min(BATCH, left)} more of ${number.format(left)}`;
    count.textContent = `${number.format(shown)} of ${number.format(matching.length)} matching, `
      + `${number.format(data.examples.length)} on this page, `
      + `${number.format(Number(cards.dataset.total))} in the store`;
    return cards.children[first];
  }

  // --------------------------------------------------------------------------------------- one example

  function hitTokens(index) {
    // Tokens of an example that a search term touches.
    const hits = new Set();
    if (!terms.length) return hits;
    const text = haystack(index), tokens = data.examples[index].t;
    const starts = [];
    let place = 0;
    for (const token of tokens) { starts.push(place); place += lowered[token].length; }
    for (const term of terms) {
      let token = 0;
      for (let at = text.indexOf(term); at >= 0; at = text.indexOf(term, at + term.length)) {
        while (token + 1 < starts.length && starts[token + 1] <= at) token++;
        for (let t = token; t < starts.length && starts[t] < at + term.length; t++) {
          if (lowered[tokens[t]].length) hits.add(t);
        }
      }
    }
    return hits;
  }

  function sections(example) {
    // [name, first token, last token + 1] of the parts, completion last.
    const parts = (example.r ?? []).map(([name, first]) => [name, first]);
    if (!parts.length) parts.push(["prompt", 0]);
    parts[0][1] = 0;
    parts.push(["completion", example.c]);
    const ends = [...parts.slice(1).map(([, first]) => first), example.t.length];
    return parts.map(([name, first], i) => [name, first, ends[i]]);
  }

  function visibleTokens(name, first, end, hits) {
    // true for the tokens of a part that are not folded away.
    const length = end - first, seen = new Array(length).fill(false);
    const tail = name === "item" || name === "prompt" || name === "completion" ? TAIL : 12;
    for (let i = 0; i < length; i++) seen[i] = i < HEAD || i >= length - tail;
    for (const hit of hits) {
      if (hit < first || hit >= end) continue;
      const from = Math.max(0, hit - first - AROUND), to = Math.min(length, hit - first + AROUND + 1);
      seen.fill(true, from, to);
    }
    // A fold must be worth its button.
    for (let i = 0; i < length;) {
      let j = i;
      while (j < length && !seen[j]) j++;
      if (j > i && j - i < 16) seen.fill(true, i, j);
      i = j + 1;
    }
    return seen;
  }

  function token(index, place, hits) {
    const example = data.examples[index];
    const [id, text, kind] = data.tokens[example.t[place]];
    const classes = ["t"];
    if (place % 2) classes.push("b");
    if (place >= example.c) classes.push("l");
    if (hits.has(place)) classes.push("hit");
    if (kind === REST) classes.push("rest");
    else if (kind !== TEXT) classes.push("end");
    const node = make("span", { class: classes.join(" "), "data-i": place });
    if (kind === BOS || kind === EOS) node.dataset.name = kind === BOS ? "BOS" : "EOS";
    if (kind === REST) {
      node.textContent = "\u00b7";
    } else if (kind === TEXT && text.includes("\n")) {
      text.split("\n").forEach((line, i) => {
        if (i) node.append(make("span", { class: "nl", "aria-hidden": "true" }), "\n");
        if (line) node.append(line);
      });
    } else {
      node.textContent = text;
    }
    return node;
  }

  function fold(index, from, to, hits) {
    const button = make("button", { type: "button", class: "fold", title: "show these tokens" },
      `\u2026 ${number.format(to - from)} tokens \u2026`);
    button.addEventListener("click", () => {
      const nodes = [];
      for (let i = from; i < to; i++) nodes.push(token(index, i, hits));
      const text = button.closest(".text");
      button.replaceWith(...nodes);
      text.focus({ preventScroll: true });
    });
    return button;
  }

  function card(index) {
    const example = data.examples[index], hits = hitTokens(index);
    const head = make("header", {});
    const task = make("button", { type: "button", class: "task", title: "show only this task" },
      data.tasks[example.k]);
    task.addEventListener("click", () => { fields.task.value = data.tasks[example.k]; changed(); });
    const link = make("a", { class: "number", href: `#ex=${index}`, title: "show only this example" }, `#${index}`);
    head.append(make("h3", {}, task), link);
    const facts = make("p", { class: "facts" });
    const fact = (text, kind = "") => facts.append(make("span", { class: `fact ${kind}` }, text));
    if (example.m !== undefined) fact(`template ${example.m}${example.f ? ` · ${example.f.replaceAll("_", " ")}` : ""}`);
    if (example.s !== undefined) fact(example.s === 1 ? "1 shot" : `${example.s} shots`);
    fact(`pass ${example.p}`);
    const length = example.t.length;
    fact(`${number.format(length)} tokens`);
    fact(`${number.format(length - example.c)} in the loss`, "loss");
    if (example.x) fact(`${number.format(example.x)} document tokens cut`, "warn");
    facts.append(make("code", { class: "id", title: "example id" }, example.e));
    const text = make("div", {
      class: "text", tabindex: "0", role: "group", dir: "auto",
      "aria-label": `Tokens of example ${index}; the arrow keys walk through them`,
    });
    for (const [name, first, end] of sections(example)) {
      if (end <= first) continue;
      const part = make("div", { class: name === "completion" ? "part completion" : "part" },
        make("span", { class: "label" }, name));
      const body = make("div", { class: "body" });
      const seen = visibleTokens(name, first, end, hits);
      for (let i = 0; i < seen.length;) {
        if (seen[i]) { body.append(token(index, first + i, hits)); i++; continue; }
        let j = i;
        while (j < seen.length && !seen[j]) j++;
        body.append(fold(index, first + i, first + j, hits));
        i = j;
      }
      part.append(body);
      text.append(part);
    }
    return make("article", { class: "card", id: `e${index}`, "data-example": index }, head, facts, text);
  }

  // ------------------------------------------------------------------------------------------ one token

  function showTip(node) {
    hideTip();
    const box = node.closest(".card");
    if (!box) return;
    const example = data.examples[Number(box.dataset.example)], place = Number(node.dataset.i);
    const [id, text, kind] = data.tokens[example.t[place]];
    const loss = place >= example.c
      ? `in the loss: predicted at position ${place - 1}` : place ? "not in the loss" : "read first, never predicted";
    const quoted = kind === REST ? "(rest of a character)" : JSON.stringify(text);
    tip.replaceChildren(make("b", {}, `${node.dataset.name ? `${node.dataset.name} ` : ""}${quoted}`),
      make("span", {}, `id ${id} · position ${place} of ${example.t.length}`), make("span", {}, loss));
    tip.hidden = false;
    node.classList.add("now");
    current = node;
    const at = node.getClientRects()[0] ?? node.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - own.width - 8));
    const above = at.top - own.height - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 8 ? above : at.bottom + 8}px`;
  }

  function hideTip() {
    tip.hidden = true;
    if (current) current.classList.remove("now");
    current = null;
  }

  cards.addEventListener("pointerover", (event) => {
    const node = event.target.closest(".t");
    if (node) showTip(node);
    else hideTip();
  });
  cards.addEventListener("pointerleave", hideTip);
  cards.addEventListener("click", (event) => {
    const node = event.target.closest(".t");
    if (node) showTip(node);
  });
  cards.addEventListener("focusout", hideTip);
  addEventListener("scroll", hideTip, { passive: true });

  function walk(text, key) {
    const tokens = [...text.querySelectorAll(".t")];
    if (!tokens.length) return;
    const at = current && text.contains(current) ? tokens.indexOf(current) : -1;
    const next = { ArrowRight: at + 1, ArrowLeft: at < 0 ? tokens.length - 1 : at - 1, Home: 0,
      End: tokens.length - 1 }[key];
    const node = tokens[Math.max(0, Math.min(tokens.length - 1, next))];
    const box = node.getBoundingClientRect();
    if (box.top < 90 || box.bottom > innerHeight - 20) node.scrollIntoView({ block: "center", behavior: "instant" });
    showTip(node);
    // Scrolling hides the sign; its event arrives after this handler.
    requestAnimationFrame(() => requestAnimationFrame(() => showTip(node)));
  }

  addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const typing = event.target.matches("input, select, textarea");
    if (event.key === "Escape") {
      if (!tip.hidden) hideTip();
      else if (typing || only !== null || !clear.hidden) clearAll();
      return;
    }
    if (typing) return;
    const text = event.target.closest(".text");
    if (text && ["ArrowRight", "ArrowLeft", "Home", "End"].includes(event.key)) {
      event.preventDefault();
      walk(text, event.key);
    } else if (event.key === "/") {
      event.preventDefault();
      fields.q.focus();
      fields.q.select();
    } else if (event.key === "j" || event.key === "k") {
      const texts = [...cards.querySelectorAll(".card > .text")];
      const at = texts.indexOf(document.activeElement);
      let target = texts[event.key === "j" ? at + 1 : Math.max(0, at - 1)];
      if (!target && event.key === "j" && !more.hidden) target = showMore()?.querySelector(".text");
      if (target) {
        target.focus({ preventScroll: true });
        target.closest(".card").scrollIntoView({ block: "start", behavior: "instant" });
      }
    } else if (event.key === "o" && text) {
      for (const button of [...text.querySelectorAll(".fold")]) button.click();
    }
  });

  // ------------------------------------------------------------------------- state in the page's address

  function changed() {
    only = null;
    const state = new URLSearchParams();
    for (const [name, field] of Object.entries(fields)) if (field.value !== "") state.set(name, field.value);
    const text = state.toString();
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
    update();
  }

  function clearAll() {
    for (const field of Object.values(fields)) field.value = "";
    changed();
  }

  function fromAddress() {
    // #q=...&task=...&template=...&shots=..., #ex=12, or the name of a section, which is left alone.
    const text = location.hash.slice(1);
    if (!text.includes("=")) return false;
    const state = new URLSearchParams(text);
    for (const [name, field] of Object.entries(fields)) {
      field.value = state.get(name) ?? "";
      if (field.selectedIndex === -1) field.value = "";
    }
    const example = state.get("ex");
    only = example !== null && data.examples[Number(example)] ? Number(example) : null;
    update();
    byId("examples").scrollIntoView({ behavior: "instant" });
    const place = state.get("token");
    const node = place !== null && only !== null
      ? cards.querySelector(`.t[data-i="${Number(place)}"]`) : null;
    if (node) requestAnimationFrame(() => showTip(node));
    return true;
  }

  function options(field, all, values) {
    field.append(new Option(all, ""));
    for (const [value, text] of values) field.append(new Option(text, value));
    field.closest("label").hidden = values.length < 2;
  }

  function tally(key) {
    const found = new Map();
    for (const example of data.examples) {
      const value = key(example);
      found.set(value, (found.get(value) ?? 0) + 1);
    }
    return found;
  }

  function numbered(key, name) {
    const found = tally((example) => example[key] ?? "unknown");
    return [...found].sort(([a], [b]) => (a === "unknown") - (b === "unknown") || a - b)
      .map(([value, n]) => [String(value), `${value === "unknown" ? "unknown" : name(value)} (${n})`]);
  }

  const perTask = tally((example) => data.tasks[example.k]);
  options(fields.task, "all tasks", data.tasks.map((task) => [task, `${task} (${perTask.get(task) ?? 0})`]));
  options(fields.template, "all templates", numbered("m", (value) => `template ${value}`));
  options(fields.shots, "any number", numbered("s", (value) => (value === 1 ? "1 shot" : `${value} shots`)));
  byId("filters").hidden = false;
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  let waiting = 0;
  fields.q.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(changed, 120); });
  for (const name of ["task", "template", "shots"]) fields[name].addEventListener("change", changed);
  clear.addEventListener("click", clearAll);
  more.addEventListener("click", () => showMore()?.querySelector(".text").focus({ preventScroll: true }));
  for (const link of document.querySelectorAll("a[data-task]")) {
    link.addEventListener("click", () => { fields.task.value = link.dataset.task; changed(); });
  }
  addEventListener("hashchange", fromAddress);
  if (!fromAddress()) update();
})();
