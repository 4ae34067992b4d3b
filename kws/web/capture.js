// In an AudioWorklet: what the microphone delivers, in blocks of a few hops, to the port that it is
// given. Runs in a thread of its own and does nothing else.

const BLOCK_S = 0.02; // posting each 128 samples would cost more than all that follows

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(Math.round(sampleRate * BLOCK_S));
    this.filled = 0;
    /** @type {MessagePort | null} */
    this.target = null;
    this.port.onmessage = ({ data }) => (this.target = data);
  }

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    const [channel] = inputs[0]; // mixed down to one by the node; none before the source starts
    for (let taken = 0; this.target && channel && taken < channel.length; ) {
      const some = channel.subarray(taken, taken + this.block.length - this.filled);
      this.block.set(some, this.filled);
      this.filled += some.length;
      taken += some.length;
      if (this.filled === this.block.length) {
        this.target.postMessage(this.block, [this.block.buffer]);
        this.block = new Float32Array(Math.round(sampleRate * BLOCK_S));
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("kws-capture", Capture);
