// The page of a server, a run or a comparison: asks for what it shows, and again when that has changed.

const page = JSON.parse(document.getElementById("data").textContent);
// A comparison costs the server as much as the pages of its runs.
const LEAST_MS = 4000 * page.keys.length;
let former = null;
let asking = false;
let askedAt = 0;
let due = false;
let pressed = false;

function put(id, text) {
  const place = document.getElementById(id);
  if (place.dataset.text === text || place.contains(document.activeElement)) return;
  const open = [...place.querySelectorAll("details")].map((one) => one.open);
  place.dataset.text = text;
  // Made by the server from escaped text; the page's policy lets no script in it run.
  place.innerHTML = text;
  place.querySelectorAll("details").forEach((one, i) => { one.open = Boolean(open[i]); });
}

async function ask() {
  if (asking || pressed) {
    due = true;
    return;
  }
  [asking, due, askedAt] = [true, false, Date.now()];
  try {
    const answer = await fetch(page.source);
    if (!answer.ok) throw new Error(await answer.text());
    const found = await answer.json();
    document.title = found.title;
    put("head", found.head);
    put("tail", found.tail);
    localTimes();
    former = showViews(found.views.map(decodeView), former) || former;
  } catch (error) {
    put("tail", "");
    document.getElementById("tail").textContent = `Not shown: ${error.message}`;
  }
  asking = false;
}

const feed = new Feed(null, (changed, whole) => {
  if (!whole && page.keys.some((key) => changed.has(key))) due = true;
});
document.addEventListener("pointerdown", () => { pressed = true; });
for (const name of ["pointerup", "pointercancel"]) document.addEventListener(name, () => { pressed = false; });
setInterval(() => { if (due && !document.hidden && Date.now() - askedAt > LEAST_MS) ask(); }, 500);
ask();
