// The page asks for a path of the API and shows the answer. Whatever comes from outside is put in
// as text, never as HTML.
"use strict";

const PREFIX = "/api/";
const TIMEOUT = 30_000; // ms; the gateway gives up sooner, and says so itself
const LONGEST = 200_000; // characters that are shown: more would only make the browser slow
const PROBES = ["/livez", "/readyz"]; // for machines, not for people

const form = document.getElementById("form");
const input = document.getElementById("path");
const button = document.getElementById("ask");
const statusLine = document.getElementById("status");
const body = document.getElementById("body");

/** The address of a path that was typed, or null if it leads out of the API. */
function address(typed) {
  // People type or paste the whole of it as well.
  const path = typed.trim().replace(/^\/api\//, "").replace(/^[/\\]+/, "");
  // The `./` keeps `http://...` and `a:b` from being read as addresses of their own.
  const url = new URL(`./${path}`, new URL(PREFIX, location.origin));
  url.hash = "";
  // A server may read %2f as a slash: what leads out then leads out now.
  const unfolded = new URL(url.href.replace(/%2f|%5c/gi, "/"));
  const inside = [url, unfolded].every((found) => found.pathname.startsWith(PREFIX));
  return inside ? url : null;
}

/** Fill the line that screen readers speak: what happened first, then the details. */
function tell(kind, headline, ...details) {
  const first = document.createElement("strong");
  first.className = kind;
  first.textContent = headline;
  const others = details.filter(Boolean).map((detail) => {
    const part = document.createElement("span");
    part.textContent = detail;
    return part;
  });
  // Spaces, so that neighbours are not read as one word.
  statusLine.replaceChildren(...[first, ...others].flatMap((part) => [part, " "]));
}

/** Show the body of an answer, or nothing. */
function show(text) {
  const cut = text.length > LONGEST;
  body.textContent = cut ? `${text.slice(0, LONGEST)}\n... (cut after ${LONGEST} characters)` : text;
  body.hidden = text === "";
  body.scrollTop = 0;
}

/** JSON with indents. Numbers stay as they were sent: a number here has 53 bits only. */
function pretty(text) {
  const asSent = (_, value, context) =>
    typeof value === "number" && context && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
  return JSON.stringify(JSON.parse(text, asSent), null, 2);
}

function size(bytes) {
  if (bytes === 1) return "1 byte";
  return bytes < 1000 ? `${bytes} bytes` : `${(bytes / 1000).toFixed(1)} kB`;
}

/** Get the address and show what comes back. */
async function get(url) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), TIMEOUT);
  const began = performance.now();
  try {
    const options = { headers: { Accept: "application/json" }, cache: "no-store" };
    // Followed, a redirect could lead out of the API.
    const response = await fetch(url, { ...options, redirect: "manual", signal: abort.signal });
    if (response.type === "opaqueredirect") {
      tell("bad", "A redirect", "This page does not follow it.");
      return;
    }
    const bytes = await response.arrayBuffer();
    const took = `${Math.round(performance.now() - began)} ms`;
    const text = new TextDecoder().decode(bytes);
    const status = `${response.status} ${response.statusText}`.trim();
    const type = (response.headers.get("Content-Type") ?? "").split(";")[0].trim();
    let shown = text;
    let remark = type;
    if (/[/+]json$/i.test(type)) {
      try {
        shown = pretty(text);
      } catch {
        remark = `${type}, but not valid JSON`;
      }
    }
    tell(response.ok ? "good" : "bad", status, took, size(bytes.byteLength), remark);
    show(shown);
  } catch {
    if (abort.signal.aborted) {
      tell("bad", "No answer in time", `Given up after ${TIMEOUT / 1000} seconds.`);
    } else {
      tell("bad", "No answer", "The server can't be reached, or the connection broke.");
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Ask for what is in the input, unless a question is under way. */
async function ask() {
  if (form.ariaBusy === "true") return;
  show("");
  const url = address(input.value);
  input.ariaInvalid = String(url === null);
  if (url === null) {
    tell("bad", "Not asked", `This path leads out of ${PREFIX}.`);
    return;
  }
  const path = url.href.slice(url.origin.length);
  // The page's own address leads to the same question again. replaceState asks nothing by itself.
  history.replaceState(null, "", `#${path.slice(PREFIX.length)}`);
  // `disabled` would take the focus away from who uses the keyboard.
  form.ariaBusy = button.ariaDisabled = "true";
  tell("", `Asking for ${path} ...`);
  await get(url);
  form.ariaBusy = button.ariaDisabled = "false";
}

/** Put a path in, and ask unless a part such as {name} has to be filled in first. */
function take(path) {
  input.value = path;
  const part = /\{[^}]*\}/.exec(path);
  if (part) {
    input.focus();
    input.setSelectionRange(part.index, part.index + part[0].length);
  } else {
    ask();
  }
}

/** Offer the paths that the service lists; without them the page works as well. */
async function suggest() {
  const response = await fetch(PREFIX, { signal: AbortSignal.timeout(TIMEOUT) });
  const { paths } = await response.json();
  const items = paths
    .filter((path) => !PROBES.includes(path))
    .map((path) => {
      const item = document.createElement("li");
      const choice = document.createElement("button");
      choice.type = "button";
      choice.textContent = path;
      choice.addEventListener("click", () => take(path.slice(1)));
      item.append(choice);
      return item;
    });
  document.getElementById("paths").replaceChildren(...items);
  document.getElementById("suggestions").hidden = items.length === 0;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
window.addEventListener("hashchange", () => take(location.hash.slice(1)));
suggest().catch(() => {});
if (location.hash) take(location.hash.slice(1));
