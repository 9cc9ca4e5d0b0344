/** Table of segments, utterances and events: the timeline as text, for screen readers too. */

import { toneOf } from "./colours.js";
import { element, write } from "./dom.js";
import { secondsOf } from "./history.js";
import { clock } from "./words.js";

const MOST_ROWS = 500;
const LISTED = ["segment", "utterance", "event", "error"];

/** Keeps the rows of a table, the newest first, while its details are open. */
export class Rows {
  #first; // record in the last row, or undefined
  #shown = 0;

  constructor(body, history) {
    this.body = body;
    this.history = history;
  }

  /** Write what has come since the last time. */
  update() {
    const entries = this.#entries();
    if (entries[0] !== this.#first) this.body.replaceChildren(); // another session
    const fresh = entries[0] === this.#first ? entries.slice(this.#shown) : entries;
    for (const entry of fresh) this.body.prepend(this.#row(entry));
    [this.#first, this.#shown] = [entries[0], entries.length];
    while (this.body.rows.length > MOST_ROWS) this.body.lastChild.remove();
  }

  #entries() {
    return this.history.records.filter(({ type }) => LISTED.includes(type));
  }

  #row(entry) {
    const row = document.createElement("tr");
    const [from, to] = [entry.start_seconds ?? entry.at_seconds, entry.end_seconds];
    const kind = (entry.event ?? entry.code ?? "").replaceAll("_", " ");
    const said = entry.type === "utterance" ? `utterance: ${entry.label}` : entry.label;
    const what = said ?? `${kind}: ${entry.detail}`;
    const share = entry.mean_confidence ?? entry.confidence;
    const name = element("td", "", what);
    if (entry.label) name.dataset.tone = toneOf(entry.label, this.history.labels);
    row.append(
      element("td", "", from === undefined ? "" : clock(from, 1)),
      element("td", "", to === undefined ? "" : clock(to, 1)),
      name,
      element("td", "", entry.label ? `${Math.round(100 * share)} %` : ""),
    );
    return row;
  }
}

/** Seconds of each label in a table; then of what has none, and of missing audio. */
export class Totals {
  constructor(place, history) {
    Object.assign(this, { place, history, body: place.querySelector("tbody") });
  }

  update() {
    const { allSegments, lostSeconds, labels, seconds } = this.history;
    const sums = secondsOf(allSegments, 0, seconds);
    const named = [...sums].reduce((sum, [, one]) => sum + one, 0);
    const order = [...labels, "uncertain"].filter((label) => sums.get(label));
    const entries = order.map((label) => [label, sums.get(label), toneOf(label, labels)]);
    entries.push(["silence, warming up", Math.max(0, seconds - named - lostSeconds), ""]);
    if (lostSeconds) entries.push(["missing audio", lostSeconds, ""]);
    this.place.hidden = seconds === 0;
    while (this.body.rows.length > entries.length) this.body.lastChild.remove();
    entries.forEach(([name, of, tone], at) => {
      const row = this.body.rows[at] ?? this.body.insertRow();
      while (row.cells.length < 3) row.insertCell();
      if (tone) row.cells[0].dataset.tone = tone;
      else delete row.cells[0].dataset.tone;
      write(row.cells[0], name);
      write(row.cells[1], `${of.toFixed(1)} s`);
      write(row.cells[2], `${Math.round((100 * of) / seconds)} %`);
    });
  }
}
