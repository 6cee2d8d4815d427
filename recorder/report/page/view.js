// What all charts share: the range that is shown and the place of the cursor, by mouse, touch and keyboard.
"use strict";

class Shared {
  constructor(view) {
    this.view = view;
    this.from = view.begin;
    this.to = view.end;
    this.cursor = null;
    this.rangeListeners = [];
    this.cursorListeners = [];
  }

  show(from, to) {
    const finest = this.view.grids[this.view.grids.length - 1].width;
    const least = Math.max(finest * 5, (this.view.end - this.view.begin) / 1e5);
    const size = Math.min(this.view.end - this.view.begin, Math.max(least, to - from));
    const center = (from + to) / 2;
    this.from = Math.max(this.view.begin, Math.min(this.view.end - size, center - size / 2));
    this.to = this.from + size;
    for (const listener of this.rangeListeners) listener();
  }

  // What `former` showed; its end moves on with the data if it was the end.
  keep(former) {
    const atEnd = former.to >= former.view.end;
    if (atEnd && former.from <= former.view.begin) return;
    const by = atEnd ? this.view.end - former.to : 0;
    this.show(former.from + by, former.to + by);
    this.cursor = former.cursor;
  }

  zoom(factor, around) {
    const center = around === undefined ? (this.cursorInside() ? this.cursor : (this.from + this.to) / 2) : around;
    this.show(center - (center - this.from) * factor, center + (this.to - center) * factor);
  }

  pan(share) {
    const by = (this.to - this.from) * share;
    this.show(this.from + by, this.to + by);
  }

  cursorInside() {
    return this.cursor !== null && this.cursor >= this.from && this.cursor <= this.to;
  }

  point(x) {
    this.cursor = x === null ? null : Math.max(this.view.begin, Math.min(this.view.end, x));
    for (const listener of this.cursorListeners) listener();
  }

  grid() {
    return this.view.grids[gridFor(this.view, this.from, this.to)];
  }

  // One bucket, or one pixel where that is wider, to a side; the view follows.
  step(by) {
    const grid = this.grid();
    const step = Math.max(grid.width, (this.to - this.from) / 400);
    if (!this.cursorInside()) this.cursor = by > 0 ? this.from : this.to;
    const next = middle(grid, bucketAt(grid, this.cursor + by * step));
    if (next > this.to || next < this.from) this.pan(by > 0 ? 0.5 : -0.5);
    this.point(next);
  }
}

// The values of a line at a place: {low, mean, high}, or {reason} if there is none.
function valuesAt(view, line, x, from, to) {
  if (line.points) {
    const reach = (to - from) / 100;
    let best = null;
    for (const [at, value] of line.points) {
      if (at <= x + reach && (best === null || line.kind === "steps" || Math.abs(at - x) < Math.abs(best[0] - x))) best = [at, value];
    }
    if (best === null || best[1] === null || (line.kind !== "steps" && Math.abs(best[0] - x) > reach)) return { reason: "" };
    return { low: best[1], mean: best[1], high: best[1] };
  }
  const index = gridFor(view, from, to);
  const level = line.levels[index];
  if (!level) return { reason: "not recorded" };
  const values = merged(level, bucketAt(view.grids[index], x), 1);
  if (!Number.isNaN(values.mean)) return values;
  const gap = (line.gaps || []).find((one) => one[0] <= x && x <= one[1]);
  return { reason: gap ? gap[2] : "no sample" };
}

function valueText(view, chart, line, shared) {
  const values = valuesAt(view, line, shared.cursor, shared.from, shared.to);
  if (values.reason === "") return "";
  return values.reason || shownRange(values, chart.unit);
}

class ChartPanel {
  constructor(chart, view, shared, announce) {
    this.chart = chart;
    this.view = view;
    this.shared = shared;
    this.announce = announce;
    this.plot = new Plot(chart, view, shared);
    this.readouts = chart.lines.map(() => html("span", { class: "value" }));
    this.legend = html("div", { class: "legend" }, ...chart.lines.map((line, i) => this.legendEntry(line, i)));
    this.surface = html("div", {
      class: "surface", tabindex: "0", role: "application", "aria-roledescription": "chart", "aria-label": this.label(),
      "aria-describedby": "keys",
    }, this.plot.svg);
    this.table = tableOf(chart, view, shared);
    const title = html("h3", { id: `title-${chart.id}` }, chart.title);
    const head = html("div", { class: "head" }, title);
    if (chart.logs) head.append(this.logButton());
    this.element = html("section", { class: "chart", id: `chart-${chart.id}`, "aria-labelledby": `title-${chart.id}` }, head);
    if (chart.note) this.element.append(html("p", { class: "note" }, chart.note));
    this.element.append(this.legend, this.surface, this.table.element);
    this.listen();
  }

  label() {
    const names = this.chart.lines.slice(0, 12).map((line) => line.name).join(", ");
    return `${this.chart.title}: ${names}. The table below has the values.`;
  }

  legendEntry(line, index) {
    const swatch = svg("svg", { class: "swatch", width: 22, height: 10, "aria-hidden": "true" });
    const stroke = svg("path", { class: `line c${line.color} ${line.kind}`, d: "M1 5H21" });
    if (line.dash) stroke.setAttribute("stroke-dasharray", line.dash);
    swatch.append(line.kind === "dots" ? svg("circle", { class: `c${line.color}`, cx: 11, cy: 5, r: 3 }) : stroke);
    const button = html("button", { type: "button", "aria-pressed": String(!line.hidden), title: `Show or hide ${line.name}` }, swatch, line.name);
    button.addEventListener("click", () => {
      line.hidden = !line.hidden;
      button.setAttribute("aria-pressed", String(!line.hidden));
      this.draw();
    });
    const choose = (chosen) => () => {
      this.plot.chosen = chosen;
      if (this.chart.lines.length > 1) this.draw();
    };
    button.addEventListener("pointerenter", choose(line));
    button.addEventListener("focus", choose(line));
    button.addEventListener("pointerleave", choose(null));
    button.addEventListener("blur", choose(null));
    return html("span", { class: "entry" }, button, this.readouts[index]);
  }

  logButton() {
    const button = html("button", { type: "button", "aria-pressed": String(this.chart.log) }, "logarithmic");
    button.addEventListener("click", () => {
      this.chart.log = !this.chart.log;
      button.setAttribute("aria-pressed", String(this.chart.log));
      this.draw();
    });
    return button;
  }

  draw() {
    const width = this.surface.clientWidth;
    if (width > 0) this.plot.draw(width);
    this.table.refresh();
  }

  showCursor() {
    this.plot.showCursor();
    const inside = this.shared.cursorInside();
    this.chart.lines.forEach((line, i) => {
      this.readouts[i].textContent = inside && !line.hidden ? valueText(this.view, this.chart, line, this.shared) : "";
    });
  }

  speak() {
    const parts = this.chart.lines.filter((line) => !line.hidden)
      .map((line) => [line.name, valueText(this.view, this.chart, line, this.shared)]).filter((one) => one[1]);
    this.announce(`${shownPlace(this.view.kind, this.shared.cursor)}. ${parts.map((one) => one.join(" ")).join(", ")}`);
  }

  listen() {
    let start = null;
    const xOf = (event) => event.clientX - this.surface.getBoundingClientRect().left;
    this.surface.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      start = xOf(event);
      this.surface.setPointerCapture(event.pointerId);
    });
    this.surface.addEventListener("pointermove", (event) => {
      this.shared.point(Math.max(this.shared.from, Math.min(this.shared.to, this.plot.xAt(xOf(event)))));
      if (start !== null) this.plot.showSelection(start, xOf(event));
    });
    this.surface.addEventListener("pointerup", (event) => {
      const [a, b] = [start, xOf(event)];
      start = null;
      this.plot.showSelection(0, 0);
      if (a !== null && Math.abs(a - b) > 6) this.shared.show(...[this.plot.xAt(a), this.plot.xAt(b)].sort((one, two) => one - two));
    });
    this.surface.addEventListener("pointercancel", () => {
      start = null;
      this.plot.showSelection(0, 0);
    });
    this.surface.addEventListener("dblclick", () => this.shared.show(this.view.begin, this.view.end));
    this.surface.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return; // the wheel alone scrolls the page
      event.preventDefault();
      this.shared.zoom(event.deltaY < 0 ? 0.7 : 1 / 0.7, this.plot.xAt(xOf(event)));
    }, { passive: false });
    this.surface.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    if (event.altKey || event.metaKey || event.ctrlKey) return;
    const far = event.shiftKey ? 10 : 1;
    const actions = {
      ArrowLeft: () => this.shared.step(-far),
      ArrowRight: () => this.shared.step(far),
      Home: () => this.shared.point(this.shared.from),
      End: () => this.shared.point(this.shared.to),
      "+": () => this.shared.zoom(0.5),
      "=": () => this.shared.zoom(0.5),
      "-": () => this.shared.zoom(2),
      0: () => this.shared.show(this.view.begin, this.view.end),
      PageUp: () => this.shared.pan(-0.5),
      PageDown: () => this.shared.pan(0.5),
      Escape: () => this.shared.point(null),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
    if (this.shared.cursorInside()) this.speak();
  }
}
