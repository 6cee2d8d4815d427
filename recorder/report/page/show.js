// Shows a view: its charts, its toolbar, and times in the zone of the reader.
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
    button(view.lanes.length ? "Whole run" : "All", "Show all (0)", () => shared.show(view.begin, view.end)));
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

// Which chart has the focus and which tables are open, to be so again when the charts are replaced.
function placeOf(place) {
  const open = [...place.querySelectorAll("details[open] summary")].map((one) => one.textContent);
  const focused = place.contains(document.activeElement) ? document.activeElement : null;
  const chart = focused ? focused.closest(".chart") : null;
  const selector = "button, summary, [tabindex]";
  const number = chart ? [...chart.querySelectorAll(selector)].indexOf(focused) : -1;
  return {
    restore() {
      for (const one of place.querySelectorAll("summary")) one.parentElement.open = open.includes(one.textContent);
      const again = chart ? [...place.children].find((one) => one.getAttribute("aria-labelledby") === chart.getAttribute("aria-labelledby")) : null;
      const element = again && number >= 0 ? again.querySelectorAll(selector)[number] : null;
      if (element) element.focus({ preventScroll: true });
    },
  };
}

function hideLines(view, former) {
  for (const chart of view.charts) {
    const before = former.charts.find((one) => one.id === chart.id);
    if (!before) continue;
    chart.log = before.log;
    for (const line of chart.lines) line.hidden = before.lines.some((one) => one.name === line.name && one.hidden);
  }
}

// Shows a view; `kept` is what an earlier one of the same kind showed, so that a reader's place stays.
function showView(view, announce, kept) {
  const shared = new Shared(view);
  const place = document.getElementById("charts");
  const former = kept ? placeOf(place) : null;
  if (kept) {
    kept.stop();
    shared.keep(kept);
    hideLines(view, kept.view);
  }
  const panels = view.charts.map((chart) => new ChartPanel(chart, view, shared, announce));
  if (view.lanes.length) panels.unshift(new EventStrip(view, shared, announce));
  place.replaceChildren(...panels.map((panel) => panel.element));
  if (former) former.restore();
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
  const observer = new ResizeObserver(later(drawAll));
  observer.observe(place);
  const listening = new AbortController();
  place.addEventListener("pointerleave", () => shared.point(null), { signal: listening.signal });
  shared.stop = () => {
    observer.disconnect();
    listening.abort();
  };
  drawAll();
  return shared;
}

function announcer() {
  const live = document.getElementById("live");
  let timer = 0;
  return (text) => {
    clearTimeout(timer);
    timer = setTimeout(() => { live.textContent = text; }, 150);
  };
}

// Shows the first of several views, or the one that is chosen; `former` is what this has given for the former views of the same page.
function showViews(views, former) {
  if (!views.length) return null;
  const announce = former ? former.announce : announcer();
  const shown = { announce, kind: views[0].kind, shared: null };
  const choose = (view) => {
    const kept = former && former.kind === view.kind ? former.shared : null;
    shown.kind = view.kind;
    shown.shared = showView(view, announce, kept);
  };
  const first = views.find((one) => former && one.kind === former.kind) || views[0];
  const choice = document.getElementById("views");
  if (views.length > 1) {
    const names = { time: "time", elapsed: "time since the start", step: "step", epoch: "epoch" };
    choice.replaceChildren(html("legend", {}, "Curves by"));
    views.forEach((view, i) => {
      const input = html("input", { type: "radio", name: "view", id: `view-${i}` });
      input.checked = view === first;
      input.addEventListener("change", () => choose(view));
      choice.append(html("span", {}, input, html("label", { for: `view-${i}` }, names[view.kind])));
    });
    choice.hidden = false;
  }
  choose(first);
  return shown;
}
