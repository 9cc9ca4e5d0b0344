/** The timeline as a thing to look at and to move in; paint.js draws it. */

import { Colours } from "./colours.js";
import { paint } from "./paint.js";
import { clock } from "./words.js";

const LEAST_SECONDS = 2;
const PIXELS_PER_SECOND = 34; // at first
const FRAME_MILLISECONDS = 40; // while it scrolls; 25 frames a second are smooth at this speed
const DRAG_PIXELS = 4;

/** Event `cursor`: the person points at a time (`cursor`, in seconds), or no more (null). */
export class Timeline extends EventTarget {
  cursor = null;

  #isLive = false;
  #start = null; // seconds at the left; null: follow what comes
  #seconds = null; // shown; null: as many as the width takes
  #frame = 0;
  #timer = 0; // until the next frame of a moving view
  #heardAt = 0; // when the history last grew, and to what
  #heardSeconds = 0;
  #colours = null;
  #isVisible = true;

  constructor(canvas, history) {
    super();
    this.canvas = canvas;
    this.history = history;
    this.motion = matchMedia("(prefers-reduced-motion: reduce)");
    history.addEventListener("change", () => this.#onChange());
    new ResizeObserver(() => this.#onResize()).observe(canvas);
    new IntersectionObserver(([entry]) => {
      this.#isVisible = entry.isIntersecting;
      this.request();
    }).observe(canvas);
    this.#listen();
  }

  /** While audio comes, the end of the history is drawn where it must be by now. */
  set isLive(isLive) {
    this.#isLive = isLive;
    this.request();
  }

  get isFollowing() {
    return this.#start === null && this.cursor === null;
  }

  /** Forget the view: as new. */
  reset() {
    this.#start = this.#seconds = null;
    this.point(null);
  }

  /** Show everything. */
  fit() {
    this.#start = 0;
    this.#seconds = Math.max(LEAST_SECONDS, this.history.seconds);
    this.request();
  }

  /** Go back to what comes. */
  follow() {
    this.#start = null;
    this.point(null);
  }

  /** Show fewer (factor below 1) or more seconds around a place, 0 to 1; else around the cursor. */
  zoom(factor, place = null) {
    const { start, seconds, cursor } = this.view();
    const pointed = ((cursor ?? -1) - start) / seconds;
    const around = place ?? (pointed >= 0 && pointed <= 1 ? pointed : 0.5);
    const most = Math.max(this.#usualSeconds, this.history.seconds);
    const wanted = Math.min(Math.max(seconds * factor, LEAST_SECONDS), most);
    const moved = start + (seconds - wanted) * around;
    if (this.#start !== null) this.#start = this.#limited(moved, wanted);
    this.#seconds = wanted;
    this.request();
  }

  /** Move the view. */
  pan(seconds) {
    const view = this.view();
    this.#start = this.#limited(view.start + seconds, view.seconds);
    this.request();
  }

  /** Point at a time, or at none. */
  point(seconds) {
    this.cursor = seconds === null ? null : Math.min(Math.max(0, seconds), this.history.seconds);
    if (this.cursor !== null) this.#bringIntoView();
    this.dispatchEvent(new Event("cursor"));
    this.request();
  }

  /** Colours or labels are others now. */
  recolour() {
    this.#colours = null;
    this.request();
  }

  /** Draw soon, if the page is visible. */
  request() {
    if (this.#frame || this.#timer || !this.#isVisible) return;
    this.#frame = requestAnimationFrame(() => this.#onFrame());
  }

  /** What is shown. */
  view() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const seconds = this.#seconds ?? this.#usualSeconds;
    const start = this.#start ?? Math.max(0, this.#nowSeconds() - seconds);
    return { width, height, seconds, start, cursor: this.cursor };
  }

  get #usualSeconds() {
    return Math.max(8, this.canvas.clientWidth / PIXELS_PER_SECOND);
  }

  /** Whether it glides between the blocks; before the view is full nothing moves. */
  get #isMoving() {
    const isFull = this.history.seconds > (this.#seconds ?? this.#usualSeconds);
    return this.#isLive && isFull && this.#start === null && !this.motion.matches;
  }

  #nowSeconds() {
    if (!this.#isMoving) return this.history.seconds;
    const since = (performance.now() - this.#heardAt) / 1000;
    return this.#heardSeconds + Math.min(since, 0.3) - 0.3; // blocks come in steps, this glides
  }

  #limited(start, seconds) {
    return Math.max(0, Math.min(start, this.history.seconds - seconds / 2));
  }

  #bringIntoView() {
    const { start, seconds } = this.view();
    const [least, most] = [this.cursor - 0.9 * seconds, this.cursor - 0.1 * seconds];
    this.#start = Math.max(0, Math.min(Math.max(start, least), Math.max(most, 0)));
    if (start <= this.cursor && this.cursor <= start + seconds) this.#start = start;
  }

  #onChange() {
    if (this.history.seconds !== this.#heardSeconds) this.#keepTime();
    this.request();
  }

  /** Steer the gliding clock gently towards the one of the blocks. */
  #keepTime() {
    const now = performance.now();
    const glided = this.#heardSeconds + (now - this.#heardAt) / 1000;
    const wrong = this.history.seconds - glided;
    const isFar = Math.abs(wrong) > 0.25;
    this.#heardSeconds = isFar ? this.history.seconds : glided + 0.1 * wrong;
    this.#heardAt = now;
  }

  #onResize() {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    this.#paint(); // at once: that has made it empty
  }

  #onFrame() {
    this.#frame = 0;
    if (this.#isMoving) {
      this.#timer = setTimeout(() => {
        this.#timer = 0;
        this.request();
      }, FRAME_MILLISECONDS);
    }
    this.#paint();
  }

  #paint() {
    const view = this.view();
    if (!view.width) return;
    this.#colours ??= new Colours(this.canvas.parentElement, this.history.labels);
    const to = this.canvas.getContext("2d");
    const ratio = this.canvas.width / view.width;
    to.setTransform(ratio, 0, 0, ratio, 0, 0);
    paint(to, view, this.history, this.#colours);
  }

  #listen() {
    const { canvas } = this;
    let grabbed = null;
    canvas.addEventListener("pointerdown", (event) => {
      grabbed = { x: event.clientX, at: event.clientX, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!grabbed) return;
      grabbed.moved ||= Math.abs(event.clientX - grabbed.x) > DRAG_PIXELS;
      if (!grabbed.moved) return;
      this.pan(((grabbed.at - event.clientX) * this.view().seconds) / canvas.clientWidth);
      grabbed.at = event.clientX;
    });
    canvas.addEventListener("pointerup", (event) => {
      if (grabbed && !grabbed.moved) this.point(this.#timeAt(event));
      grabbed = null;
    });
    canvas.addEventListener("pointercancel", () => (grabbed = null));
    canvas.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
  }

  #timeAt({ clientX }) {
    const { left } = this.canvas.getBoundingClientRect();
    const { start, seconds, width } = this.view();
    return start + ((clientX - left) * seconds) / width;
  }

  #onWheel(event) {
    const { seconds, width } = this.view();
    if (event.ctrlKey || event.metaKey) {
      const { left } = this.canvas.getBoundingClientRect();
      this.zoom(2 ** (event.deltaY / 200), (event.clientX - left) / width);
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      this.pan(((event.deltaX || event.deltaY) * seconds) / width);
    } else {
      return; // the page scrolls
    }
    event.preventDefault();
  }

  #onKey(event) {
    const from = this.cursor ?? this.history.seconds;
    const step = event.shiftKey ? this.view().seconds / 4 : 0.25;
    const actions = {
      ArrowLeft: () => this.point(from - step),
      ArrowRight: () => this.point(from + step),
      Home: () => this.point(0),
      End: () => this.point(this.history.seconds),
      Escape: () => this.follow(),
      "+": () => this.zoom(0.5),
      "-": () => this.zoom(2),
      0: () => this.fit(),
    };
    if (!(event.key in actions) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[event.key]();
  }
}

/** All of a timeline in one line. */
export function timelineWords({ segments, gaps, seconds }) {
  if (!seconds) return "empty";
  const parts = [clock(seconds), `${segments.length} segments`];
  if (gaps.length) parts.push(`${gaps.length} gaps`);
  return parts.join(", ");
}
