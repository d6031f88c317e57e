// The whole front end: which controllers there are, and one request to the one that was chosen.
// `magic dev` asks nobody for a key. A page for others belongs behind a server of its own, which holds the key: what is in a page is public.
"use strict";

const runtime = "http://127.0.0.1:8080";
const element = (id) => document.getElementById(id);
// As text and never as markup, since it is what a controller answered.
const show = (text) => { element("answer").textContent = text; };

async function ask(path, options) {
  const response = await fetch(runtime + path, options);
  const body = await response.json();
  if (!response.ok) {
    throw new Error(`${body.error.code}: ${body.error.message}`);
  }
  return body;
}

async function list() {
  const { controllers } = await ask("/api/controllers");
  element("controller").replaceChildren(...controllers.map(({ name }) => new Option(name)));
  show(controllers.length ? "" : "There is no controller yet: magic new controller Hello");
}

async function run(event) {
  event.preventDefault();
  const answer = await ask(`/api/execute/${encodeURIComponent(element("controller").value)}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(JSON.parse(element("input").value)),
  });
  show(JSON.stringify(answer.result, null, 2));
}

const told = (error) => show(String(error.message ?? error));
element("form").addEventListener("submit", (event) => run(event).catch(told));
list().catch(told);
