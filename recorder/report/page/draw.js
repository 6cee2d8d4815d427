// One chart: lines with their bands, limits, gaps and marks, drawn as SVG so that print and dark need no code.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 190;
const EDGE = { top: 10, right: 12, bottom: 22, left: 62 };

function svg(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function html(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "class") element.className = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

// What is drawn of a line: [{x, low, mean, high}] in the view, NaN where nothing is known.
function visiblePoints(view, line, from, to, columns) {
  if (line.points) {
    const inside = [];
    line.points.forEach(([x, y], i) => {
      const next = line.points[i + 1];
      const before = line.points[i - 1];
      if ((next ? next[0] >= from : x >= from) && (before ? before[0] <= to : x <= to)) {
        inside.push({ x, low: y, mean: y === null ? NaN : y, high: y });
      }
    });
    return inside;
  }
  const index = gridFor(view, from, to);
  const grid = view.grids[index];
  const level = line.levels[index];
  if (!level) return [];
  const [first, last] = [Math.max(0, bucketAt(grid, from) - 1), Math.min(grid.count - 1, bucketAt(grid, to) + 1)];
  const step = Math.max(1, Math.floor((last - first + 1) / columns));
  const points = [];
  // Buckets that are drawn as one keep their place when the view moves.
  for (let i = first - (first % step); i <= last; i += step) {
    points.push({ x: grid.start + (i + step / 2) * grid.width, ...merged(level, i, step) });
  }
  return points;
}

function valueRange(chart, drawn) {
  let low = Infinity;
  let high = -Infinity;
  const usable = (value) => !Number.isNaN(value) && (!chart.log || value > 0);
  for (const { points } of drawn) {
    for (const point of points) {
      if (Number.isNaN(point.mean)) continue;
      if (usable(point.low)) low = Math.min(low, point.low);
      if (usable(point.mean)) low = Math.min(low, point.mean);
      if (usable(point.high)) high = Math.max(high, point.high);
    }
  }
  if (low > high) return chart.log ? [1, 10] : [0, 1];
  if (chart.log) return low === high ? [low / 2, high * 2] : [low, high];
  if (chart.zero && low > 0) low = 0;
  if (chart.top !== null && chart.top !== undefined) high = Math.max(high, chart.top);
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  return [chart.zero && low === 0 ? 0 : low - room, high + room];
}

function valueTicks(chart, low, high) {
  if (chart.log) {
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const part of Math.log10(high / low) < 1.5 ? [1, 2, 5] : [1]) ticks.push(part * 10 ** power);
    }
    return ticks.filter((one) => one >= low && one <= high);
  }
  const scale = scaleFor(chart.unit, Math.max(Math.abs(low), Math.abs(high))).factor;
  const step = niceStep((high - low) * scale, 4) / scale;
  const ticks = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) ticks.push(Math.abs(at) < step * 1e-9 ? 0 : at);
  return ticks;
}

class Plot {
  constructor(chart, view, shared) {
    this.chart = chart;
    this.view = view;
    this.shared = shared;
    this.svg = svg("svg", { class: "plot", height: HEIGHT, "aria-hidden": "true", focusable: "false" });
    this.cursor = svg("line", { class: "cursor", y1: EDGE.top, y2: HEIGHT - EDGE.bottom });
    this.selection = svg("rect", { class: "selection", y: EDGE.top, height: HEIGHT - EDGE.top - EDGE.bottom });
  }

  get inner() {
    return Math.max(50, this.width - EDGE.left - EDGE.right);
  }

  px(x) {
    return EDGE.left + ((x - this.shared.from) / (this.shared.to - this.shared.from)) * this.inner;
  }

  xAt(pixel) {
    return this.shared.from + ((pixel - EDGE.left) / this.inner) * (this.shared.to - this.shared.from);
  }

  draw(width) {
    this.width = width;
    const { from, to } = this.shared;
    const lines = this.chart.lines.filter((line) => !line.hidden);
    const drawn = lines.map((line) => ({ line, points: visiblePoints(this.view, line, from, to, this.inner) }));
    const [low, high] = valueRange(this.chart, drawn);
    const bottom = HEIGHT - EDGE.bottom;
    const place = this.chart.log ? (v) => Math.log(Math.max(v, low)) : (v) => v;
    const [base, span] = [place(low), place(high) - place(low) || 1];
    this.py = (value) => bottom - ((place(value) - base) / span) * (bottom - EDGE.top);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.svg.replaceChildren(
      this.axes(low, high, bottom), this.marks(bottom), this.gaps(lines, bottom), this.curves(drawn), this.selection, this.cursor,
    );
    this.showCursor();
  }

  axes(low, high, bottom) {
    const group = svg("g", { class: "axes" });
    const { from, to } = this.shared;
    const scale = scaleFor(this.chart.unit, Math.max(Math.abs(low), Math.abs(high)));
    for (const value of valueTicks(this.chart, low, high)) {
      const y = this.py(value);
      group.append(
        svg("line", { class: "grid", x1: EDGE.left, x2: EDGE.left + this.inner, y1: y, y2: y }),
        svg("text", { x: EDGE.left - 6, y: y + 4, "text-anchor": "end" }, plain(value * scale.factor) + scale.suffix),
      );
    }
    for (const { at, text } of axisTicks(this.view.kind, from, to, Math.max(2, this.inner / 110))) {
      const x = this.px(at);
      group.append(svg("line", { class: "grid", x1: x, x2: x, y1: EDGE.top, y2: bottom }));
      const nearEnd = x > EDGE.left + this.inner - 30;
      group.append(svg("text", { x, y: HEIGHT - 6, "text-anchor": nearEnd ? "end" : "middle" }, text));
    }
    group.append(svg("line", { class: "axis", x1: EDGE.left, x2: EDGE.left + this.inner, y1: bottom, y2: bottom }));
    return group;
  }

  // Spans and moments of the run; the chart of events names them.
  marks(bottom) {
    const group = svg("g", { class: "marks" });
    const right = EDGE.left + this.inner;
    // Where there are too many of a kind they would hide the lines; the strip of events has them.
    const counts = {};
    for (const { at, until, kind } of this.view.marks) {
      if (until >= this.shared.from && at <= this.shared.to) counts[kind] = (counts[kind] || 0) + 1;
    }
    const fits = (kind) => ["alert", "death", "end"].includes(kind) || counts[kind] <= this.inner / 20;
    for (const mark of this.view.marks) {
      if (mark.until < this.shared.from || mark.at > this.shared.to || !fits(mark.kind)) continue;
      const x = Math.max(EDGE.left, this.px(mark.at));
      const end = Math.min(right, this.px(mark.until));
      if (end - x > 1.5) {
        // Alerts last long: they are a band on top, and shade nothing.
        const height = mark.kind === "alert" ? 4 : bottom - EDGE.top;
        group.append(svg("rect", { class: `mark ${mark.kind}`, x, width: end - x, y: EDGE.top, height }));
      } else {
        group.append(svg("line", { class: `mark ${mark.kind}`, x1: x, x2: x, y1: EDGE.top, y2: bottom }));
      }
    }
    return group;
  }

  gaps(lines, bottom) {
    const group = svg("g");
    for (const line of lines) {
      for (const gap of line.gaps || []) {
        if (gap[1] < this.shared.from || gap[0] > this.shared.to) continue;
        const x = Math.max(EDGE.left, this.px(gap[0]));
        const width = Math.max(2, Math.min(EDGE.left + this.inner, this.px(gap[1])) - x);
        group.append(svg("rect", { class: "gap", x, width, y: bottom - 6, height: 6, fill: "url(#hatch)" }));
      }
    }
    return group;
  }

  curves(drawn) {
    const group = svg("g", { class: drawn.length > 3 ? "curves many" : "curves", "clip-path": `url(#inside-${this.chart.id})` });
    group.append(this.clip());
    for (const { line, points } of drawn) {
      const area = this.band(points);
      if (area) group.append(this.owned(line, svg("path", { class: `band c${line.color}`, d: area })));
    }
    for (const { line, points } of drawn) {
      const attributes = { class: `line c${line.color} ${line.kind}`, d: this.path(points) };
      if (line.dash) attributes["stroke-dasharray"] = line.dash;
      if (line.kind !== "dots") group.append(this.owned(line, svg("path", attributes)));
      if (line.kind === "dots" || (line.points && points.length < this.inner / 8)) {
        for (const point of points.filter((one) => !Number.isNaN(one.mean))) {
          const dot = svg("circle", { class: `c${line.color}`, cx: this.px(point.x), cy: this.py(point.mean), r: 2.5 });
          group.append(this.owned(line, dot));
        }
      }
    }
    return group;
  }

  // The reader points at a line in the legend: the others step back.
  owned(line, element) {
    if (this.chosen && this.chosen !== line) element.classList.add("behind");
    if (this.chosen === line) element.classList.add("chosen");
    return element;
  }

  clip() {
    const path = svg("clipPath", { id: `inside-${this.chart.id}` });
    path.append(svg("rect", { x: EDGE.left, y: 0, width: this.inner, height: HEIGHT }));
    return path;
  }

  path(points) {
    let d = "";
    let open = false;
    points.forEach((point, i) => {
      if (Number.isNaN(point.mean)) {
        open = false;
        return;
      }
      const at = `${this.px(point.x).toFixed(1)} ${this.py(point.mean).toFixed(1)}`;
      const alone = !open && (i + 1 === points.length || Number.isNaN(points[i + 1].mean));
      d += open ? `L${at}` : `M${at}`;
      if (alone) d += `h0`; // a round cap makes a dot of it
      open = true;
    });
    return d;
  }

  band(points) {
    let d = "";
    let run = [];
    const close = () => {
      if (run.length > 1 && run.some((one) => one.high > one.low)) {
        const up = run.map((one) => `${this.px(one.x).toFixed(1)} ${this.py(one.high).toFixed(1)}`);
        const down = run.map((one) => `${this.px(one.x).toFixed(1)} ${this.py(one.low).toFixed(1)}`).reverse();
        d += `M${up.join("L")}L${down.join("L")}Z`;
      }
      run = [];
    };
    for (const point of points) {
      if (Number.isNaN(point.mean)) close();
      else run.push(point);
    }
    close();
    return d;
  }

  showCursor() {
    const { cursor, from, to } = this.shared;
    const seen = cursor !== null && cursor >= from && cursor <= to;
    this.cursor.setAttribute("visibility", seen ? "visible" : "hidden");
    if (!seen) return;
    this.cursor.setAttribute("x1", this.px(cursor));
    this.cursor.setAttribute("x2", this.px(cursor));
  }

  showSelection(a, b) {
    const [x, end] = [Math.min(a, b), Math.max(a, b)].map((one) => Math.min(EDGE.left + this.inner, Math.max(EDGE.left, one)));
    this.selection.setAttribute("x", x);
    this.selection.setAttribute("width", a === b ? 0 : end - x);
  }
}
