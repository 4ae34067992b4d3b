// Any rate to 16 kHz, block by block. Browsers differ in whether they resample a microphone.

const SAMPLE_RATE = 16000; // Hz
const ZEROS = 16; // of the sinc on each side; beyond them the window is 0
const PASSED = 0.92; // of the band that both rates have

/** A windowed sinc; the output is `ZEROS` samples or 1 ms late. */
export class Resampler {
  #step; // between two outputs, in parts of an input sample
  #parts; // of an input sample
  #weights; // for each part in which an output may lie
  #samples; // that have an effect on what comes
  #next = 0; // where the next output's first input lies in them, in parts

  /** @param {number} rate whole Hz of what comes in */
  constructor(rate) {
    const divisor = greatestDivisor(rate, SAMPLE_RATE);
    this.#step = rate / divisor;
    this.#parts = SAMPLE_RATE / divisor;
    const cutoff = PASSED * Math.min(1.0, SAMPLE_RATE / rate); // of the input's band
    const reach = Math.ceil(ZEROS / cutoff); // inputs on each side of an output
    this.#weights = Array.from({ length: this.#parts }, (_, part) =>
      Float32Array.from(
        { length: 2 * reach },
        (_, input) => cutoff * sinc((input + 1 - reach - part / this.#parts) * cutoff),
      ),
    );
    this.#samples = new Float32Array(2 * reach - 1);
  }

  /**
   * @param {Float32Array} block
   * @returns {Float32Array}
   */
  process(block) {
    const samples = new Float32Array(this.#samples.length + block.length);
    samples.set(this.#samples);
    samples.set(block, this.#samples.length);
    const output = [];
    let first = Math.floor(this.#next / this.#parts);
    while (first + this.#weights[0].length <= samples.length) {
      const weights = this.#weights[this.#next % this.#parts];
      output.push(weights.reduce((sum, weight, input) => sum + weight * samples[first + input], 0));
      this.#next += this.#step;
      first = Math.floor(this.#next / this.#parts);
    }
    this.#samples = samples.slice(Math.min(first, samples.length));
    this.#next -= (samples.length - this.#samples.length) * this.#parts;
    return Float32Array.from(output);
  }
}

/** @param {number} x in zeros of the sinc */
function sinc(x) {
  if (Math.abs(x) >= ZEROS) {
    return 0.0;
  }
  const window = Math.cos((Math.PI * x) / (2 * ZEROS)) ** 2;
  return x === 0.0 ? 1.0 : (window * Math.sin(Math.PI * x)) / (Math.PI * x);
}

/**
 * @param {number} a
 * @param {number} b
 * @returns {number}
 */
function greatestDivisor(a, b) {
  return b ? greatestDivisor(b, a % b) : a;
}
