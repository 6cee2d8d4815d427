// What the page was given: decoding, looking up, and showing values.
"use strict";

const NONE = 65535; // in an array of 16 bits: there is no value

function bytesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

// An array of numbers, NaN for what is not known. Little-endian, as every machine that has a browser.
function decoded(packed) {
  if (packed === null) return null;
  const buffer = bytesOf(packed.data).buffer;
  if (packed.bits === 32) return new Float32Array(buffer);
  const steps = new Uint16Array(buffer);
  const values = new Float64Array(steps.length);
  const scale = (packed.high - packed.low) / (NONE - 1);
  for (let i = 0; i < steps.length; i++) values[i] = steps[i] === NONE ? NaN : packed.low + steps[i] * scale;
  return values;
}

// The values of one line on one grid, null if it has none there: `low` and `high` are `mean` itself if each bucket has one value alone.
function decodedLevel(level) {
  if (level === null) return null;
  const mean = decoded(level.mean);
  return { low: level.low ? decoded(level.low) : mean, mean, high: level.high ? decoded(level.high) : mean };
}

function decodeView(view) {
  for (const chart of view.charts) {
    for (const line of chart.lines) {
      line.levels = (line.levels || []).map(decodedLevel);
      line.hidden = false;
    }
  }
  view.begin = view.grids[0].start;
  view.end = view.begin + view.grids[0].width * view.grids[0].count;
  return view;
}

// The finest grid that covers the whole range: each is finer, and shorter, than the one before.
function gridFor(view, from, to) {
  let best = 0;
  view.grids.forEach((grid, index) => {
    const end = grid.start + grid.width * grid.count;
    if (grid.start <= from + grid.width / 2 && end >= to - grid.width / 2) best = index;
  });
  return best;
}

function bucketAt(grid, x) {
  return Math.max(0, Math.min(grid.count - 1, Math.floor((x - grid.start) / grid.width)));
}

const middle = (grid, bucket) => grid.start + (bucket + 0.5) * grid.width;

// The buckets from `first` on, `step` of them as one: {low, mean, high}, NaN where none has a value.
function merged(level, first, step) {
  let low = Infinity;
  let high = -Infinity;
  let sum = 0;
  let known = 0;
  for (let i = first; i < Math.min(first + step, level.mean.length); i++) {
    if (Number.isNaN(level.mean[i])) continue;
    low = Math.min(low, level.low[i]);
    high = Math.max(high, level.high[i]);
    sum += level.mean[i];
    known += 1;
  }
  return known ? { low, mean: sum / known, high } : { low: NaN, mean: NaN, high: NaN };
}

// --- values as people read them

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const NUMBER = new Intl.NumberFormat("en", { maximumSignificantDigits: 4, useGrouping: true });
const COUNT = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

function plain(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(2);
  return NUMBER.format(value);
}

// Numbers of one axis, or of one value, share one scale: {factor, suffix}.
function scaleFor(unit, size) {
  if (unit === "bytes" || unit === "bytes_per_second") {
    const power = size < 1 ? 0 : Math.min(BINARY.length - 1, Math.floor(Math.log2(size) / 10));
    return { factor: 1 / 1024 ** power, suffix: ` ${BINARY[power]}${unit === "bytes" ? "" : "/s"}` };
  }
  if (unit === "seconds") return size < 1 ? { factor: 1e3, suffix: " ms" } : { factor: 1, suffix: " s" };
  if (unit === "hertz") return size < 1e9 ? { factor: 1e-6, suffix: " MHz" } : { factor: 1e-9, suffix: " GHz" };
  const suffixes = { percent: " %", watts: " W", celsius: " °C", count: "", "": "" };
  return { factor: 1, suffix: suffixes[unit] === undefined ? ` ${unit}` : suffixes[unit] };
}

function shown(value, unit) {
  const scale = scaleFor(unit, Math.abs(value));
  return plain(value * scale.factor) + scale.suffix;
}

function shownRange(values, unit) {
  if (values.low === values.high) return shown(values.mean, unit);
  const scale = scaleFor(unit, Math.max(Math.abs(values.low), Math.abs(values.high)));
  const [low, mean, high] = [values.low, values.mean, values.high].map((one) => plain(one * scale.factor));
  return `${mean}${scale.suffix} (${low} to ${high})`;
}

// --- the axis: times in the reader's zone, steps, epochs

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const CLOCK_S = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const FULL = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
  hourCycle: "h23", timeZoneName: "short",
});
const PERIODS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];

const dateOf = (seconds) => new Date(seconds * 1000);
const whole = (seconds) => {
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  return h ? `${h} h ${String(m).padStart(2, "0")} min` : m ? `${m} min ${String(s).padStart(2, "0")} s` : `${plain(seconds)} s`;
};

function shownPlace(kind, x) {
  if (kind === "time") return `${DAY.format(dateOf(x))} ${CLOCK_S.format(dateOf(x))}`;
  if (kind === "elapsed") return whole(Math.max(0, x));
  return `${kind} ${COUNT.format(x)}`;
}

function niceStep(range, wanted) {
  const rough = range / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough) || 10 * power;
}

// The places of an axis' ticks: [{at, text}].
function axisTicks(kind, from, to, wanted) {
  const timed = kind === "time" || kind === "elapsed";
  let step = timed ? PERIODS.find((one) => one >= (to - from) / wanted) : undefined;
  if (step === undefined) step = niceStep(to - from, wanted);
  if (!timed) step = Math.max(1, Math.round(step));
  const shift = kind === "time" ? dateOf(from).getTimezoneOffset() * 60 : 0;
  const ticks = [];
  let day = "";
  for (let at = Math.ceil((from - shift) / step) * step + shift; at <= to; at += step) {
    let text = timed ? whole(at) : COUNT.format(at);
    if (kind === "time") {
      text = (step < 60 ? CLOCK_S : CLOCK).format(dateOf(at));
      const date = DAY.format(dateOf(at));
      if (date !== day && to - from > 43200) text = step >= 86400 ? date : `${date} ${text}`;
      day = date;
    }
    ticks.push({ at, text });
  }
  return ticks;
}
