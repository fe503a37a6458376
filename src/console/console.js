// The console: reads the JSON of /api/v1/ every two seconds. Everything from the server goes in as text, never as markup.
"use strict";

const at = (id) => document.getElementById(id);
let token = sessionStorage.getItem("token") ?? "";

async function ask(path, options = {}) {
  const headers = { ...(token && { Authorization: `Bearer ${token}` }), ...(options.method && { "Content-Type": "application/json" }) };
  const response = await fetch(`api/v1/${path}`, { ...options, headers });
  if (response.status === 401 || response.status === 403) {
    at("login").hidden = false;
    throw new Error(response.status === 401 ? "The admin token is needed." : "Set admin.token_file to use the console from here.");
  }
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail ?? body.title);
  at("login").hidden = true;
  return body;
}

function row(cells) {
  const tr = document.createElement("tr");
  for (const cell of cells) {
    const td = document.createElement("td");
    td.append(cell ?? "");
    tr.append(td);
  }
  return tr;
}

function button(label, act) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = label;
  element.addEventListener("click", async () => {
    element.disabled = true;
    try { at("message").textContent = await act(); } catch (error) { at("message").textContent = error.message; }
    element.disabled = false;
    refresh();
  });
  return element;
}

function showStatus(status) {
  const { ready, degraded } = status.readiness;
  const state = at("state");
  state.className = !ready ? "refusing" : degraded.length ? "degraded" : "ready";
  state.textContent = !ready ? `refusing postbacks: ${status.readiness.reasons.join(", ")}` : degraded.length ? "accepting, but degraded" : "ready";
  at("figures").replaceChildren(...Object.entries(status.figures).map(([name, value]) => {
    const box = document.createElement("div");
    const dt = document.createElement("dt");
    const dd = document.createElement("dd");
    dt.textContent = name.replaceAll("_", " ");
    dd.textContent = typeof value === "number" ? value.toLocaleString() : value ?? "–";
    box.append(dt, dd);
    return box;
  }));
  at("alarms").replaceChildren(...status.alarms.map(({ code, text }) => {
    const li = document.createElement("li");
    li.textContent = `${code}: ${text}`;
    return li;
  }));
}

function showQuarantine(entries) {
  at("none").hidden = entries.length > 0;
  at("quarantine").hidden = entries.length === 0;
  at("quarantine").tBodies[0].replaceChildren(...entries.map((entry) => {
    const path = `quarantine/${encodeURIComponent(entry.id)}`;
    const actions = document.createElement("span");
    actions.append(
      button("requeue", async () => `requeued as ${(await ask(`${path}/requeue`, { method: "POST", body: "{}" })).eventId}`),
      " ",
      button("discard", async () => {
        if (!confirm("Drop this request for good?")) return "";
        await ask(`${path}/discard`, { method: "POST", body: "{}" });
        return "discarded";
      }),
    );
    return row([entry.receivedAt, entry.reason, entry.detail, entry.size.toLocaleString(), entry.id, actions]);
  }));
}

async function refresh() {
  try {
    showStatus(await ask("status"));
    showQuarantine((await ask("quarantine?limit=50")).entries);
    const { records } = await ask("records?newest=20");
    at("records").tBodies[0].replaceChildren(...records.map((record) => row([record.position, record.receivedAt, record.type, record.key, record.id])));
  } catch (error) {
    at("message").textContent = error.message;
  }
}

at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token = at("token").value;
  sessionStorage.setItem("token", token);
  at("message").textContent = "";
  refresh();
});

refresh();
setInterval(() => { if (!document.hidden) refresh(); }, 2000);
