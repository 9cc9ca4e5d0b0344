/** Headline with the current emotion, bars of all emotions, latency figures. */

import { toneOf } from "./colours.js";
import { element, write } from "./dom.js";
import { clock } from "./words.js";

const SPOKEN_MILLISECONDS = 3000; // least time between two announcements
const MOST_FIGURES = 2400; // ten minutes at four a second

const STATE_WORDS = {
  silence: () => ["silence", "no speech"],
  warming_up: () => ["listening…", "the first result needs a second of speech"],
  uncertain: (label, percent) => [
    `maybe ${label}`,
    `too uncertain to name: of 100 such moments about ${percent} are ${label}`,
  ],
  speech: (label, percent) => [label, `${percent} % sure`],
};

/** The current emotion, or that of a time the person points at. */
export class Headline {
  #announced = "";
  #timer = 0;
  #announcedAt = -Infinity;
  #waiting = "";

  constructor(section, spoken) {
    this.section = section;
    this.spoken = spoken;
    this.parts = Object.fromEntries(
      ["when", "emotion", "detail"].map((name) => [name, section.querySelector(`#${name}`)]),
    );
    this.bar = section.querySelector("#meter span");
  }

  /** What it says, in one line. */
  get words() {
    const { when, emotion, detail } = this.parts;
    return [when, emotion, detail].map((part) => part.textContent).filter(Boolean).join(", ");
  }

  /** Show words instead of a result. */
  say(word, detail, when = "") {
    this.#show({ word, detail, tone: "", state: "", share: 0, when });
  }

  /** Show a result; for how long it has held, or at what time it was. */
  show(prediction, labels, { heldSeconds = 0, atSeconds = null } = {}) {
    const { state, label, confidence } = prediction;
    const percent = Math.round(100 * confidence);
    const [word, what] = STATE_WORDS[state](label, percent);
    const clauses = [what];
    const isHeld = heldSeconds >= 1 && ["speech", "silence"].includes(state);
    if (isHeld) clauses.push(`for ${Math.floor(heldSeconds)} s`);
    if (prediction.degraded) clauses.push("with audio missing");
    this.#show({
      word,
      state,
      detail: clauses.join(" · "),
      tone: label === null ? "" : toneOf(label, labels),
      share: confidence,
      when: atSeconds === null ? "Now" : `At ${clock(atSeconds, 1)}`,
    });
    const words = label === null ? word.replace("…", "") : `${word} ${percent} % sure`;
    if (atSeconds === null) this.announce(words, word);
  }

  /** Tell a screen reader, not more often than it can say. */
  announce(words, key) {
    if (key === this.#announced) return;
    this.#announced = key;
    this.#waiting = words;
    const wait = this.#announcedAt + SPOKEN_MILLISECONDS - performance.now();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#announcedAt = performance.now();
      this.spoken.textContent = this.#waiting;
    }, Math.max(0, wait));
  }

  #show({ word, detail, tone, state, share, when }) {
    this.section.dataset.state = state;
    if (tone) this.section.dataset.tone = tone;
    else delete this.section.dataset.tone;
    write(this.parts.emotion, word);
    write(this.parts.detail, detail);
    write(this.parts.when, when);
    this.bar.style.transform = `translateX(${100 * share - 100}%)`;
  }
}

/** A bar per label. */
export class Bars {
  #rows = new Map();

  constructor(list) {
    this.list = list;
  }

  /** Begin with other labels. */
  reset(labels) {
    if (labels.join() !== [...this.#rows.keys()].join()) this.#build(labels);
    this.show(null);
  }

  /** Show the probabilities of a result, or none. */
  show(prediction) {
    const shares = prediction?.probabilities ?? {};
    this.list.classList.toggle("idle", !prediction?.probabilities);
    for (const [label, row] of this.#rows) {
      const share = shares[label];
      row.fill.style.transform = `translateX(${100 * (share ?? 0) - 100}%)`;
      write(row.share, share === undefined ? "–" : `${Math.round(100 * share)} %`);
      row.item.classList.toggle("best", label === prediction?.label);
    }
  }

  #build(labels) {
    this.#rows = new Map(labels.map((label) => [label, this.#row(label, labels)]));
    this.list.replaceChildren(...[...this.#rows.values()].map((row) => row.item));
  }

  #row(label, labels) {
    const item = element("li", "", "");
    item.dataset.tone = toneOf(label, labels);
    const track = element("span", "track", "");
    const fill = element("span", "", "");
    const share = element("span", "share", "–");
    track.append(fill);
    item.append(element("span", "name", label), track, share);
    return { item, fill, share };
  }
}

/** Quantiles of the latest seconds of something. */
export class Quantiles {
  #values = [];

  add(seconds) {
    this.#values.push(seconds);
    if (this.#values.length > MOST_FIGURES) this.#values.shift();
  }

  clear() {
    this.#values = [];
  }

  /** The value that a share of them does not exceed, or null. */
  at(share) {
    const sorted = this.#values.toSorted((one, other) => one - other);
    return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? null;
  }

  /** Write the middle and the worst of twenty into a place. */
  write(place) {
    const [middle, late] = [this.at(0.5), this.at(0.95)];
    if (middle === null) return place.replaceChildren("–");
    place.replaceChildren(milliseconds(middle), element("small", "", `p95 ${milliseconds(late)}`));
  }
}

function milliseconds(seconds) {
  const value = 1000 * seconds;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}
