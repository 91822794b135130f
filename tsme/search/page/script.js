"use strict";

const get = (id) => document.getElementById(id);
let token = new URLSearchParams(location.hash.slice(1)).get("token") || "";
let query = null; // the image file to search by
let latest = 0; // number of the newest search: answers of earlier ones are dropped
let urls = []; // of the thumbnails that are shown

if (token) history.replaceState(null, "", location.pathname); // keep it out of the address bar

async function call(path, options = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) {
    get("token-form").hidden = false;
    get("token").focus();
  }
  if (!response.ok) {
    const { detail } = await response.json().catch(() => ({}));
    throw new Error(typeof detail === "string" ? detail : `the server answered ${response.status}`);
  }
  return response;
}

function say(text, isError = false) {
  get("status").textContent = text;
  get("status").classList.toggle("error", isError);
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

async function describe() {
  try {
    const index = await (await call("api/index")).json();
    const counts = Object.entries(index.modalities).map(([name, n]) => `${n.toLocaleString("en")} ${name}`);
    get("about").textContent = `among ${counts.join(" and ")} images; model ${index.model}`;
    get("token-form").hidden = true;
    say("");
  } catch (error) {
    say(error.message, true);
  }
}

function choose(file) {
  if (!file) return;
  query = file;
  URL.revokeObjectURL(get("preview").src);
  get("preview").src = URL.createObjectURL(file);
  get("preview").alt = `Query: ${file.name}`;
  get("preview").hidden = false;
  get("hint").textContent = file.name;
  search();
}

async function search() {
  if (!query) return;
  const number = ++latest;
  const options = new URLSearchParams({ top: get("top").value, rerank: get("rerank").checked });
  const modality = document.querySelector("input[name=modality]:checked").value;
  if (modality) options.set("modality", modality);
  say("searching …");
  get("matches").classList.add("stale");
  try {
    const response = await call(`api/search?${options}`, { method: "POST", body: query });
    const found = await response.json();
    if (number !== latest) return;
    show(found);
  } catch (error) {
    if (number !== latest) return;
    get("matches").replaceChildren();
    say(error.message, true);
  } finally {
    if (number === latest) get("matches").classList.remove("stale");
  }
}

function show(found) {
  const channels = found.modality === "infrared" ? "its three channels are equal" : "it has colour";
  const told = found.told ? ` (${channels})` : "";
  const order = get("rerank").checked ? "re-ranked, " : "";
  const count = `${found.matches.length} matches by cosine similarity, ${order}in ${found.seconds} s`;
  say(`Taken as ${found.modality}${told}: ${count}`);
  urls.forEach((url) => URL.revokeObjectURL(url));
  urls = [];
  get("matches").replaceChildren(...found.matches.map(card));
}

function card(match) {
  const name = match.path.split("/").pop();
  const item = element("li", "match");
  const picture = element("img", "picture");
  picture.alt = `Rank ${match.rank}: ${match.label || match.modality}, ${name}`;
  load(picture, match.row);
  const line = element("div", "line");
  line.append(element("span", "rank", `${match.rank}`), element("span", "score", match.score.toFixed(3)));
  const bar = element("div", "bar");
  const filled = element("span", "");
  filled.style.width = `${100 * Math.max(0, match.score)}%`;
  bar.append(filled);
  const label = element("div", "label", match.label || match.modality);
  const file = element("div", "file", name);
  file.title = match.path;
  item.append(picture, line, bar, label, file);
  return item;
}

async function load(picture, row) {
  try {
    const url = URL.createObjectURL(await (await call(`api/images/${row}`)).blob());
    urls.push(url);
    picture.src = url;
  } catch {
    picture.alt += " (its file is gone)";
    picture.classList.add("missing");
  }
}

const drop = get("drop");
get("file").addEventListener("change", (event) => choose(event.target.files[0]));
drop.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  choose(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => choose(event.clipboardData.files[0]));
get("query").addEventListener("change", (event) => event.target.id !== "file" && search());
get("query").addEventListener("submit", (event) => event.preventDefault());
get("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = get("token").value;
  describe();
});
describe();
