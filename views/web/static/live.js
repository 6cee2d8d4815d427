// The stream of pictures: what changed since the last one, and whether it still comes.

const AGAIN_MS = 5000;
const LATE_MS = 20000;

class Feed {
  constructor(first, listener) {
    this.listener = listener;
    this.parts = new Map();
    this.number = 0;
    this.missed = 0;
    this.offset = 0;
    this.source = null;
    this.takenAt = 0;
    this.status = document.getElementById("status");
    this.clock = document.getElementById("clock");
    if (first) this.take(first);
    // A hidden page needs no stream; a browser has six connections to a host, and other tabs need them.
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
    if (!document.hidden) this.open();
    setInterval(() => this.look(), 1000);
  }

  // A server that answers and takes no pictures any more would look as if nothing changed.
  look() {
    if (!this.source || this.source.readyState !== EventSource.OPEN || !this.takenAt) return;
    if (Date.now() - this.takenAt > LATE_MS) this.say("no new picture comes; what is shown is old", true);
  }

  now() { return (Date.now() + this.offset) / 1000; }

  open() {
    if (this.source) return;
    this.takenAt = Date.now();
    const source = new EventSource(`/events?known=${this.number}`);
    this.source = source;
    source.addEventListener("picture", (event) => {
      this.say("live", false);
      this.take(JSON.parse(event.data));
    });
    source.onerror = () => {
      this.say("connection lost; trying again", true);
      if (source.readyState !== EventSource.CLOSED) return;
      this.close();
      setTimeout(() => { if (!document.hidden) this.open(); }, AGAIN_MS);
    };
  }

  close() {
    if (this.source) this.source.close();
    this.source = null;
  }

  say(text, isLost) {
    if (this.status.textContent !== text) this.status.textContent = text;
    this.status.classList.toggle("lost", isLost);
  }

  take(frame) {
    const head = frame.head;
    if (head.whole) this.parts.clear();
    for (const key of head.gone) this.parts.delete(key);
    const changed = new Set(head.gone);
    for (const [key, part] of Object.entries(frame.parts)) {
      this.parts.set(key, part);
      changed.add(key);
    }
    this.number = head.number;
    this.takenAt = Date.now();
    this.missed += head.missed;
    this.offset = head.at * 1000 - Date.now();
    const missed = this.missed ? ` · ${this.missed} pictures missed` : "";
    this.clock.textContent = `· as of ${new Date(head.at * 1000).toLocaleTimeString()}${missed}`;
    this.listener(changed, head.whole);
  }
}
