// The table behind each chart, and the strip of events.
"use strict";

const TABLE_ROWS = 30;
const LANE = 22;

function filledTable(heads, rows, caption) {
  const table = html("table", {}, html("caption", {}, caption));
  table.append(html("thead", {}, html("tr", {}, ...heads.map((one) => html("th", { scope: "col" }, one)))));
  const body = html("tbody");
  for (const [first, ...cells] of rows) {
    body.append(html("tr", {}, html("th", { scope: "row" }, first), ...cells.map((one) => html("td", {}, one))));
  }
  table.append(body);
  return table;
}

// A table that is filled when it is opened, and again when the range changes.
function lazyTable(title, fill) {
  const place = html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Table of ${title}` });
  const element = html("details", {}, html("summary", {}, `Table of ${title}`), place);
  const refresh = () => {
    if (element.open) place.replaceChildren(fill());
  };
  element.addEventListener("toggle", refresh);
  return { element, refresh };
}

function tableOf(chart, view, shared) {
  return lazyTable(chart.title, () => {
    const heads = [{ time: "Time", elapsed: "Since the start", step: "Step", epoch: "Epoch" }[view.kind], ...chart.lines.map((one) => one.name)];
    const width = (shared.to - shared.from) / TABLE_ROWS;
    const rows = [];
    for (let row = 0; row < TABLE_ROWS; row++) {
      const [from, to] = [shared.from + row * width, shared.from + (row + 1) * width];
      const cells = chart.lines.map((line) => cellText(chart, view, line, from, to, shared));
      if (cells.some((one) => one !== "")) rows.push([shownPlace(view.kind, from), ...cells]);
    }
    return filledTable(heads, rows, `Each row: mean (least to greatest) of its part of what is shown, ${shownPlace(view.kind, shared.from)} to ${shownPlace(view.kind, shared.to)}.`);
  });
}

function cellText(chart, view, line, from, to, shared) {
  if (line.points) {
    const inside = line.points.filter(([x, y]) => x >= from && x < to && y !== null).map((one) => one[1]);
    if (!inside.length) return "";
    const mean = inside.reduce((sum, one) => sum + one, 0) / inside.length;
    return shownRange({ low: Math.min(...inside), mean, high: Math.max(...inside) }, chart.unit);
  }
  const index = gridFor(view, shared.from, shared.to);
  const [grid, level] = [view.grids[index], line.levels[index]];
  if (!level) return "not recorded";
  const first = bucketAt(grid, from);
  const values = merged(level, first, Math.max(1, bucketAt(grid, to) - first));
  if (!Number.isNaN(values.mean)) return shownRange(values, chart.unit);
  return valuesAt(view, line, (from + to) / 2, shared.from, shared.to).reason || "no sample";
}

class EventStrip {
  constructor(view, shared, announce) {
    this.view = view;
    this.shared = shared;
    this.announce = announce;
    this.height = 6 + view.lanes.length * LANE + EDGE.bottom;
    this.svg = svg("svg", { class: "plot", height: this.height, "aria-hidden": "true", focusable: "false" });
    this.cursor = svg("line", { class: "cursor", y1: 0, y2: this.height - EDGE.bottom });
    this.surface = html("div", {
      class: "surface", tabindex: "0", role: "application", "aria-roledescription": "strip of events",
      "aria-label": `Events: ${view.lanes.map((lane) => lane.name).join(", ")}. The table below lists them.`, "aria-describedby": "keys",
    }, this.svg);
    this.readout = html("p", { class: "readout" });
    this.table = lazyTable("events", () => this.list());
    this.element = html("section", { class: "chart events", "aria-labelledby": "title-events" },
      html("div", { class: "head" }, html("h3", { id: "title-events" }, "Events")), this.readout, this.surface, this.table.element);
    this.chart = { id: "events", lines: [] };
    this.plot = this;
    ChartPanel.prototype.listen.call(this);
  }

  get inner() { return Math.max(50, this.width - EDGE.left - EDGE.right); }
  px(x) { return Plot.prototype.px.call(this, x); }
  xAt(pixel) { return Plot.prototype.xAt.call(this, pixel); }
  showSelection() {}
  key(event) { ChartPanel.prototype.key.call(this, event); }

  speak() { this.announce(this.readout.textContent); }

  draw() {
    this.width = this.surface.clientWidth;
    if (!this.width) return;
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    const groups = this.view.lanes.map((lane, row) => this.lane(lane, 4 + row * LANE));
    const axis = svg("g", { class: "axes" });
    for (const { at, text } of axisTicks(this.view.kind, this.shared.from, this.shared.to, Math.max(2, this.inner / 110))) {
      const x = this.px(at);
      axis.append(svg("text", { x, y: this.height - 6, "text-anchor": x > this.width - 42 ? "end" : "middle" }, text));
    }
    this.svg.replaceChildren(axis, ...groups, this.cursor);
    this.table.refresh();
    this.showCursor();
  }

  lane(lane, y) {
    const group = svg("g", { class: "lane" });
    group.append(svg("text", { x: EDGE.left - 6, y: y + 14, "text-anchor": "end" }, lane.name));
    group.append(svg("line", { class: "grid", x1: EDGE.left, x2: EDGE.left + this.inner, y1: y + LANE - 3, y2: y + LANE - 3 }));
    let free = 0;
    for (const item of lane.items) {
      if (item.until < this.shared.from || item.at > this.shared.to) continue;
      const x = Math.max(EDGE.left, this.px(item.at));
      const end = Math.min(EDGE.left + this.inner, this.px(item.until));
      const width = Math.max(2, end - x);
      group.append(svg("rect", { class: `item ${item.kind}`, x, y, width, height: LANE - 6, rx: 2 }));
      const needed = item.text.length * 6.2 + 8;
      const spanned = item.until > item.at;
      if (x >= free && (spanned ? needed < width : x + needed < this.width - EDGE.right)) {
        group.append(svg("text", { class: "inside", x: x + 4, y: y + 12 }, item.text));
        free = x + needed;
      } else if (!spanned && x - needed > free) {
        group.append(svg("text", { class: "inside", x: x - 4, y: y + 12, "text-anchor": "end" }, item.text));
        free = x;
      }
    }
    return group;
  }

  showCursor() {
    Plot.prototype.showCursor.call(this);
    const inside = this.shared.cursorInside();
    this.readout.textContent = inside ? this.at(this.shared.cursor) : "";
  }

  at(x) {
    const reach = (this.shared.to - this.shared.from) / this.inner;
    const parts = [shownPlace(this.view.kind, x)];
    for (const lane of this.view.lanes) {
      const here = lane.items.filter((one) => one.at - reach <= x && x <= one.until + reach);
      if (here.length) parts.push(here.length > 3 ? `${lane.name}: ${here.length}` : here.map((one) => one.text).join(", "));
    }
    return parts.join(" · ");
  }

  list() {
    const items = this.view.lanes.flatMap((lane) => lane.items.map((item) => ({ lane: lane.name, ...item })))
      .filter((one) => one.until >= this.shared.from && one.at <= this.shared.to).sort((a, b) => a.at - b.at);
    const rows = items.slice(0, 200).map((one) => [shownPlace(this.view.kind, one.at), one.lane, one.text,
      one.until > one.at ? whole(one.until - one.at) : ""]);
    const more = items.length > 200 ? ` The first 200 of ${items.length}: zoom in for the others.` : "";
    return filledTable(["Time", "Kind", "Event", "Duration"], rows, `Events of what is shown.${more}`);
  }
}
