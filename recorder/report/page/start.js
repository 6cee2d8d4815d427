// Builds the page's charts from the data in it.
"use strict";

function localTimes() {
  for (const element of document.querySelectorAll("time[datetime]")) {
    element.title = element.textContent;
    element.textContent = FULL.format(new Date(element.dateTime));
  }
}

function toolbar(view, shared) {
  const place = document.getElementById("toolbar");
  const range = html("span", { class: "range", "aria-live": "off" });
  const button = (text, title, action) => {
    const one = html("button", { type: "button", title, "aria-label": title }, text);
    one.addEventListener("click", action);
    return one;
  };
  const buttons = html("div", { class: "buttons", role: "toolbar", "aria-label": "Range of all charts" },
    button("Whole run", "Show the whole run (0)", () => shared.show(view.begin, view.end)));
  if (view.grids.length > 1) {
    const last = view.grids[view.grids.length - 1];
    const minutes = `${Math.round((last.width * last.count) / 60)} min`;
    buttons.append(button(`Last ${minutes}`, `Show the last ${minutes}`, () => shared.show(last.start, view.end)));
  }
  buttons.append(
    button("+", "Zoom in (+)", () => shared.zoom(0.5)), button("\u2212", "Zoom out (-)", () => shared.zoom(2)),
    button("\u2190", "Earlier (Page Up)", () => shared.pan(-0.5)), button("\u2192", "Later (Page Down)", () => shared.pan(0.5)),
  );
  place.replaceChildren(buttons, range);
  place.hidden = false;
  const refresh = () => {
    range.textContent = `${shownPlace(view.kind, shared.from)} to ${shownPlace(view.kind, shared.to)}`;
  };
  shared.rangeListeners.push(refresh);
  refresh();
}

function showView(view, announce) {
  const shared = new Shared(view);
  const place = document.getElementById("charts");
  const panels = view.charts.map((chart) => new ChartPanel(chart, view, shared, announce));
  if (view.lanes.length) panels.unshift(new EventStrip(view, shared, announce));
  place.replaceChildren(...panels.map((panel) => panel.element));
  toolbar(view, shared);
  let due = false;
  const later = (action) => () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      action();
    });
  };
  const drawAll = () => {
    for (const panel of panels) panel.draw();
    for (const panel of panels) panel.showCursor();
  };
  shared.rangeListeners.push(drawAll);
  shared.cursorListeners.push(() => panels.forEach((panel) => panel.showCursor()));
  new ResizeObserver(later(drawAll)).observe(place);
  place.addEventListener("pointerleave", () => shared.point(null));
  drawAll();
}

function start() {
  localTimes();
  const page = JSON.parse(document.getElementById("data").textContent);
  const live = document.getElementById("live");
  let timer = 0;
  const announce = (text) => {
    clearTimeout(timer);
    timer = setTimeout(() => { live.textContent = text; }, 150);
  };
  const views = page.views.map(decodeView);
  if (!views.length) return;
  const choice = document.getElementById("views");
  if (views.length > 1) {
    const names = { time: "time", elapsed: "time since the start", step: "step", epoch: "epoch" };
    choice.append(html("legend", {}, "Curves by"));
    views.forEach((view, i) => {
      const input = html("input", { type: "radio", name: "view", id: `view-${i}` });
      input.checked = i === 0;
      input.addEventListener("change", () => showView(view, announce));
      choice.append(html("span", {}, input, html("label", { for: `view-${i}` }, names[view.kind])));
    });
    choice.hidden = false;
  }
  showView(views[0], announce);
}

start();
