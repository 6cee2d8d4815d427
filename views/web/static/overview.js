// The overview: a line for each run and server, of which only what changed is written.

const NUMBER = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const GIB = 2 ** 30;
const TICK_MS = 1000;
const BAR = 8;
// How a run ended is an alert for so long.
const RECENT_S = 86400;

function html(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function svg(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

// A figure is a number, or the reason why there is none.
const known = (figure) => typeof figure === "number";
const or = (figure, text) => (known(figure) ? text(figure) : { reason: figure === null || figure === undefined ? "?" : figure });
const percent = (figure) => or(figure, (value) => `${Math.round(value)} %`);
const plain = (figure) => or(figure, (value) => NUMBER.format(value));
const gib = (figure) => or(figure, (value) => `${NUMBER.format(value / GIB)} GiB`);
const rate = (figure) => or(figure, (value) => (value < 1024 ? `${Math.round(value)} B/s` : value < 2 ** 20 ? `${NUMBER.format(value / 1024)} KiB/s` : `${NUMBER.format(value / 2 ** 20)} MiB/s`));
const time = (figure) => or(figure, (value) => (value < 1 ? `${NUMBER.format(value * 1000)} ms` : `${NUMBER.format(value)} s`));

function duration(seconds) {
  if (seconds < 120) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

function used(figures, of) {
  if (!known(figures) || !known(of)) return gib(figures);
  return `${NUMBER.format(figures / GIB)} of ${NUMBER.format(of / GIB)} GiB`;
}

function write(cell, value) {
  const text = typeof value === "string" ? value : value.reason;
  if (cell.dataset.text === text && cell.dataset.known === String(typeof value === "string")) return;
  cell.dataset.text = text;
  cell.dataset.known = String(typeof value === "string");
  cell.replaceChildren(typeof value === "string" ? text : html("em", {}, text));
}

// A table whose rows have keys: `heads` of the columns, `make` gives the cells of a new row, `fill` writes them.
class Rows {
  constructor(id, caption, heads, make, fill) {
    this.table = document.getElementById(id);
    this.make = make;
    this.fill = fill;
    this.byKey = new Map();
    this.body = html("tbody");
    this.caption = html("caption", {}, caption);
    const cells = heads.map(([text, isText]) => html("th", isText ? { scope: "col", class: "text" } : { scope: "col", class: "number" }, text));
    // A tick alone has no name.
    if (cells[0].textContent === "\u2713") cells[0].setAttribute("aria-label", "Choose to compare");
    this.table.replaceChildren(this.caption, html("thead", {}, html("tr", {}, ...cells)), this.body);
  }

  show(parts, words) {
    const keys = new Set(parts.map((one) => one.id));
    for (const [key, row] of this.byKey) {
      if (keys.has(key)) continue;
      row.element.remove();
      this.byKey.delete(key);
    }
    parts.forEach((part, place) => {
      let row = this.byKey.get(part.id);
      if (!row) {
        row = this.make(part);
        this.byKey.set(part.id, row);
      }
      if (this.body.children[place] !== row.element) this.body.insertBefore(row.element, this.body.children[place] || null);
      if (row.part !== part) this.fill(row, part);
      row.part = part;
      row.element.hidden = !words.every((word) => row.search.includes(word));
    });
  }
}

function rowOf(first, names, classes) {
  const element = html("tr", {}, ...first);
  const cells = {};
  for (const name of names) {
    cells[name] = html("td", classes[name] ? { class: classes[name] } : {});
    element.append(cells[name]);
  }
  return { element, cells, part: null, search: "" };
}

const RUN_COLUMNS = ["state", "epoch", "step", "loss", "step_s", "wait_s", "score", "verdict", "seen"];

function newRun(run) {
  const box = html("input", { type: "checkbox", name: "run", value: run.id, "aria-label": `Choose ${run.name} to compare` });
  box.addEventListener("change", chosen);
  const row = rowOf([html("td", {}, box), html("th", { scope: "row" }, html("a", { href: `/run/${run.id}` }, run.name), html("span", { class: "host" }, `${run.host} ${run.folder}`))],
    RUN_COLUMNS, { state: "text", verdict: "text", score: "text", seen: "text" });
  row.badge = html("span", { class: "badge" });
  row.cells.state.append(row.badge);
  row.search = `${run.name} ${run.host} ${run.folder}`.toLowerCase();
  return row;
}

function fillRun(row, run) {
  const { cells } = row;
  row.element.className = run.state;
  row.badge.textContent = run.running && run.doing && run.doing !== "training" ? `${run.state}: ${run.doing}` : run.state;
  row.badge.title = run.cause;
  write(cells.epoch, run.epoch === null ? { reason: "?" } : run.epochs === null ? String(run.epoch) : `${run.epoch} of ${run.epochs}`);
  write(cells.step, or(run.step, (value) => value.toLocaleString("en")));
  write(cells.loss, run.non_finite ? `${run.non_finite} non-finite` : plain(run.loss));
  write(cells.step_s, time(run.step_s));
  write(cells.wait_s, known(run.step_s) && known(run.wait_s) && run.step_s > 0 ? `${Math.round((100 * run.wait_s) / run.step_s)} %` : { reason: "?" });
  write(cells.score, run.score ? `${run.score[0]} ${known(run.score[1]) ? NUMBER.format(run.score[1]) : "?"}` : { reason: "none yet" });
  write(cells.verdict, run.verdict ? run.verdict.split(":")[0] : { reason: "none yet" });
}

const SERVER_COLUMNS = ["state", "age", "cpu", "memory", "net", "use", "gpu_memory", "hottest"];

function newServer(server) {
  const row = rowOf([html("th", { scope: "row" }, html("a", { href: `/server/${server.id}` }, server.name))],
    SERVER_COLUMNS, { state: "text" });
  row.badge = html("span", { class: "badge" });
  row.cells.state.append(row.badge);
  row.bars = svg("svg", { class: "gpus", "aria-hidden": "true", focusable: "false", width: 0, height: 18 });
  row.use = html("span");
  row.cells.use.append(row.bars, row.use);
  row.search = server.name.toLowerCase();
  return row;
}

function ofAll(server, place, join) {
  const all = server.gpus.map((gpu) => gpu[place]);
  if (!server.gpus_known) return { reason: "not known" };
  if (!all.length) return "none";
  const values = all.filter(known);
  if (!values.length) return { reason: all[0] };
  const missing = values.length < all.length ? ` (${values.length} of ${all.length} known)` : "";
  return `${join(values)}${missing}`;
}

const sum = (values) => values.reduce((total, one) => total + one, 0);

function drawBars(row, server) {
  const count = server.gpus.length;
  if (row.bars.childElementCount !== count) {
    row.bars.setAttribute("width", count * BAR);
    row.bars.replaceChildren(...server.gpus.map((_, i) => svg("rect", { x: i * BAR + 1, width: BAR - 2 })));
  }
  server.gpus.forEach((gpu, i) => {
    const bar = row.bars.children[i];
    const height = known(gpu[0]) ? Math.max(1, Math.round((Math.min(100, gpu[0]) / 100) * 18)) : 18;
    bar.setAttribute("y", 18 - height);
    bar.setAttribute("height", height);
    bar.setAttribute("class", known(gpu[0]) ? "" : "unknown");
  });
}

function fillServer(row, server) {
  const { cells } = row;
  row.element.className = server.ok ? "finished" : "failed";
  row.badge.textContent = server.state;
  const host = server.figures;
  write(cells.cpu, percent(host.cpu_utilization));
  write(cells.memory, used(host.memory_used, host.memory_total));
  const both = [rate(host.net_received), rate(host.net_sent)];
  write(cells.net, both.every((one) => typeof one === "string") ? both.join(" / ") : both.find((one) => typeof one !== "string"));
  drawBars(row, server);
  write(row.use, ofAll(server, 0, (values) => `${server.gpus.length}: ${Math.round(sum(values) / values.length)} %`));
  write(cells.gpu_memory, ofAll(server, 1, (values) => {
    const totals = server.gpus.map((gpu) => gpu[2]).filter(known);
    const of = totals.length === server.gpus.length ? ` of ${NUMBER.format(sum(totals) / GIB)}` : "";
    return `${NUMBER.format(sum(values) / GIB)}${of} GiB`;
  }));
  write(cells.hottest, ofAll(server, 3, (values) => `${Math.round(Math.max(...values))} °C`));
}

const frame = JSON.parse(document.getElementById("data").textContent);
const form = document.getElementById("compare");
const filter = html("input", { type: "search", id: "filter", autocomplete: "off" });
document.getElementById("alerts").before(html("p", { id: "filter-line" }, html("label", { for: "filter" }, "Show only names with "), filter));
const alertList = document.getElementById("alert-list");
alertList.setAttribute("aria-live", "polite");

function chosen() {
  document.getElementById("compare-button").disabled = form.querySelectorAll("input:checked").length < 2;
}

const runs = new Rows("runs", "From those that go on to those that ended longest ago",
  [["\u2713", true], ["Run", true], ["State", true], ["Epoch"], ["Step"], ["Loss"], ["Step time"], ["Wait"], ["Score", true], ["Held back by", true], ["Newest entry", true]], newRun, fillRun);
const servers = new Rows("servers", "GPU bars: utilization of each; what is not known has its reason",
  [["Server", true], ["State", true], ["Age"], ["CPU"], ["Memory"], ["Network in / out"], ["GPUs"], ["GPU memory"], ["Hottest GPU"]], newServer, fillServer);

function alertItem(kind, text, link) {
  return { key: `${kind} ${link || ""} ${text}`, kind, text, link };
}

let alertsShown = null;

function showAlerts(all, shownRuns, shownServers) {
  const items = all.problems.map((text) => alertItem("warning", text));
  if (all.left_out) items.push(alertItem("warning", `${all.left_out} older runs are left out`));
  for (const run of shownRuns) {
    for (const one of run.alerts) items.push(alertItem(one.severity, `${run.name}: ${one.text}`, `/run/${run.id}`));
    if (!run.running && run.state !== "finished" && feed.now() - run.seen < RECENT_S) items.push(alertItem("warning", `${run.name}: ${run.cause}`, `/run/${run.id}`));
  }
  for (const server of shownServers) {
    if (!server.ok || server.note) items.push(alertItem(server.ok ? "warning" : "critical", `${server.name}: ${[server.state, server.note].filter(Boolean).join(": ")}`, `/server/${server.id}`));
  }
  const shown = items.slice(0, 50);
  if (items.length > shown.length) shown.push(alertItem("warning", `and ${items.length - shown.length} more`));
  if (!shown.length) shown.push(alertItem("none", "none"));
  const key = shown.map((one) => one.key).join("\n");
  if (key === alertsShown) return;
  alertsShown = key;
  alertList.replaceChildren(...shown.map((one) => html("li", { class: one.kind }, one.link ? html("a", { href: one.link }, one.text) : one.text)));
}

let feed = null;

function ages() {
  for (const row of servers.byKey.values()) write(row.cells.age, row.part.at === null ? { reason: "never seen" } : duration(feed.now() - row.part.at));
  for (const row of runs.byKey.values()) {
    const left = row.part.end_at !== null && row.part.running ? `, ends in ${duration(row.part.end_at - feed.now())}` : "";
    write(row.cells.seen, `${duration(feed.now() - row.part.seen)} ago${left}`);
  }
}

function show() {
  const all = feed.parts.get("all");
  if (!all) return;
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const shownRuns = all.runs.map((number) => feed.parts.get(`r${number}`)).filter(Boolean);
  const shownServers = all.servers.map((number) => feed.parts.get(`s${number}`)).filter(Boolean);
  showAlerts(all, shownRuns, shownServers);
  runs.show(shownRuns, words);
  servers.show(shownServers, words);
  document.getElementById("compare").parentElement.hidden = !shownRuns.length;
  chosen();
  ages();
}

feed = { parts: new Map() };
feed = new Feed(null, () => show());
if (frame) feed.take(frame);
filter.addEventListener("input", show);
setInterval(() => { if (!document.hidden) ages(); }, TICK_MS);
