"use strict";
// Sends what was typed to /v1/rerank and lists the answer. Text only ever enters the page as text nodes.
(() => {
  const byId = (id) => document.getElementById(id);
  const form = byId("form"), query = byId("query"), documents = byId("documents");
  const send = byId("send"), status = byId("status"), results = byId("results");

  function make(tag, name, ...children) {
    const node = document.createElement(tag);
    if (name) node.className = name;
    node.append(...children);
    return node;
  }

  function say(text, failed = false) {
    status.textContent = text;
    status.className = failed ? "error" : "";
  }

  function item(result, place, lines) {
    const moved = result.index - place;
    const kind = moved > 0 ? "up" : moved < 0 ? "down" : "";
    const from = moved === 0 ? "as before" : `${moved > 0 ? "up" : "down"} ${Math.abs(moved)}, was ${result.index + 1}`;
    const fill = make("i");
    fill.style.width = `${(100 * result.relevance_score).toFixed(1)}%`;
    const words = make("div", "words", lines[result.index], make("div", `moved ${kind}`, from));
    const score = make("div", "score", result.relevance_score.toFixed(4), make("span", "bar", fill));
    return make("li", "", make("span", "rank", String(place + 1)), words, score);
  }

  async function rerank() {
    const lines = documents.value.split("\n").map((line) => line.trim()).filter(Boolean);
    if (!query.value.trim() || !lines.length) {
      say("A query and at least one document are needed.", true);
      return;
    }
    send.disabled = true;
    say(`Ranking ${lines.length} documents …`);
    const started = performance.now();
    try {
      const response = await fetch("/v1/rerank", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ query: query.value, documents: lines }),
      });
      const body = await response.json();
      if (!response.ok) throw new Error(body.message || `the server answered ${response.status}`);
      results.replaceChildren(...body.results.map((result, place) => item(result, place, lines)));
      const seconds = (performance.now() - started) / 1000;
      say(`${lines.length} documents, ${body.usage.total_tokens} tokens, ${seconds.toFixed(2)} s`);
    } catch (error) {
      results.replaceChildren();
      say(error.message, true);
    } finally {
      send.disabled = false;
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const state = new URLSearchParams({ q: query.value });
    for (const line of documents.value.split("\n")) state.append("d", line);
    history.replaceState(null, "", `#${state}`);
    rerank();
  });

  // An address with a query and documents (#q=...&d=...&d=...) is filled in and sent.
  const given = new URLSearchParams(location.hash.slice(1));
  if (given.has("q")) {
    query.value = given.get("q");
    documents.value = given.getAll("d").join("\n");
    rerank();
  }
})();
