/** The colours of style.css, for the canvas; which label has which is decided here. */

const KNOWN = new Set(
  "neutral calm happy sad angry fearful disgust surprised uncertain".split(" "),
);
const SPARE_COUNT = 4;

/** The name under which style.css keeps the colour of a label. */
export function toneOf(label, labels) {
  if (KNOWN.has(label)) return label;
  const unknown = labels.filter((one) => !KNOWN.has(one));
  return `other-${Math.max(0, unknown.indexOf(label)) % SPARE_COUNT}`;
}

export class Colours {
  #tones = new Map();
  #hatches = new Map();

  /**
   * @param {HTMLElement} beside inherits the page's colours; probes are put in it for a moment
   * @param {string[]} labels of the model
   */
  constructor(beside, labels) {
    this.labels = labels;
    this.#probe = document.createElement("i");
    this.#probe.hidden = true;
    beside.append(this.#probe);
    const read = (name) => this.#read(`var(--${name})`);
    this.text = read("text");
    this.muted = read("muted");
    this.quiet = read("quiet");
    this.line = read("line");
    this.card = read("card");
    this.edge = read("edge");
    this.font = getComputedStyle(beside).fontFamily;
    for (const label of [...labels, "uncertain"]) this.#tones.set(label, this.#tone(label));
    this.#probe.remove();
  }

  #probe;

  /** Fill, ink and tint of a label. */
  of(label) {
    return this.#tones.get(label) ?? this.#tones.get("uncertain");
  }

  /** Diagonal lines that stand still on the clock. */
  hatch(colour, originPixels, stepPixels, isFalling = false) {
    const key = `${colour} ${stepPixels} ${isFalling}`;
    if (!this.#hatches.has(key)) this.#hatches.set(key, lines(colour, stepPixels, isFalling));
    const pattern = this.#hatches.get(key);
    pattern.setTransform(new DOMMatrix([0.5, 0, 0, 0.5, originPixels % stepPixels, 0]));
    return pattern;
  }

  #tone(label) {
    this.#probe.dataset.tone = toneOf(label, this.labels);
    const [fill, ink] = [this.#read("var(--fill)"), this.#read("var(--ink)")];
    return { fill, ink, tint: this.#read("color-mix(in srgb, var(--fill) 10%, transparent)") };
  }

  #read(value) {
    this.#probe.style.color = value;
    return getComputedStyle(this.#probe).color;
  }
}

/** A tile of two device pixels per pixel. */
function lines(colour, stepPixels, isFalling) {
  const tile = new OffscreenCanvas(2 * stepPixels, 2 * stepPixels);
  const to = tile.getContext("2d");
  const size = tile.width;
  to.strokeStyle = colour;
  to.globalAlpha = 0.55;
  to.lineWidth = 2;
  to.beginPath();
  for (const shift of [-size, 0, size]) {
    to.moveTo(shift - 1, isFalling ? -1 : size + 1);
    to.lineTo(shift + size + 1, isFalling ? size + 1 : -1);
  }
  to.stroke();
  return to.createPattern(tile, "repeat");
}
