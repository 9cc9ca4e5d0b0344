/** Runs on the browser's audio thread: collects samples into blocks and posts them. */

const BLOCKS_PER_SECOND = 10;

class Capture extends AudioWorkletProcessor {
  constructor({ channelCount = 1, processorOptions }) {
    super();
    this.channels = processorOptions?.channels ?? channelCount;
    this.block = new Float32Array(Math.round(sampleRate / BLOCKS_PER_SECOND) * this.channels);
    this.filled = 0;
    this.nextFrame = null; // where the audio goes on, if nothing is lost
    this.isOver = false;
    this.port.onmessage = () => this.finish();
  }

  process([input]) {
    if (input.length === 0) return !this.isOver; // nothing is connected yet, or any more
    const frames = input[0].length;
    if (this.nextFrame !== null && currentFrame > this.nextFrame) {
      this.post();
      this.port.postMessage({ lost: currentFrame - this.nextFrame });
    }
    this.nextFrame = currentFrame + frames;
    for (let frame = 0; frame < frames; frame++) {
      for (let channel = 0; channel < this.channels; channel++) {
        this.block[this.filled++] = (input[channel] ?? input[0])[frame];
      }
      if (this.filled === this.block.length) this.post();
    }
    return !this.isOver;
  }

  post() {
    if (this.filled) this.port.postMessage({ samples: this.block.slice(0, this.filled) });
    this.filled = 0;
  }

  finish() {
    this.post();
    this.isOver = true;
    this.port.postMessage({ isOver: true });
  }
}

registerProcessor("ser-capture", Capture);
