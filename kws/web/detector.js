// The detector of one stream: blocks of audio in, detections out. kws/detector.py in JavaScript.

import { Decider } from "./decision.js";
import { KwsError } from "./errors.js";
import { GatedStream } from "./gated_stream.js";
import { operatingPoint } from "./operating_point.js";

const SAMPLE_RATE = 16000; // Hz

/** Finds the keywords in a stream of audio; see index.d.ts. */
export class Detector {
  #model;
  #stream;
  #decider;
  #observer;
  #pending = new Int16Array(0); // less than a hop
  #samples = 0; // since the stream began or its last gap ended
  #origin = 0; // samples on the stream's clock before its last gap's end
  /** @type {Promise<unknown>} */
  #last = Promise.resolve(); // calls wait for each other

  /**
   * @param {import("./index.js").Model} model
   * @param {import("./index.js").DetectorOptions} [options]
   */
  constructor(model, options = {}) {
    const verified = Boolean(model.verifier) && (options.verify ?? true);
    const { keywords, thresholds, config } = operatingPoint(model.manifest, options, verified);
    this.#model = model;
    this.keywords = keywords;
    this.thresholds = Object.fromEntries(keywords.map((word) => [word, thresholds[word]]));
    this.#stream = new GatedStream(model, options.vad, verified);
    this.#decider = new Decider(model.manifest.labels, thresholds, config, keywords);
    this.#observer = options.observer;
  }

  /**
   * Process a block of 16 kHz mono audio of any length.
   * @param {Int16Array | Float32Array} audio
   */
  process(audio) {
    const samples = toInt16(audio);
    return this.#inTurn(() => this.#process(samples));
  }

  /** What the end of the stream still decides, as though silence followed; then `reset`. */
  finish() {
    return this.#inTurn(async () => {
      const detections = await this.#finish();
      this.#origin = 0;
      return detections;
    });
  }

  /**
   * So many samples of the stream were lost: its clock goes on without them.
   * @param {number} samples
   */
  skip(samples) {
    if (!Number.isInteger(samples) || samples < 1) {
      throw new KwsError(`expected at least 1 lost sample, got ${samples}`);
    }
    return this.#inTurn(async () => {
      const position = this.#origin + this.#samples;
      const detections = await this.#finish();
      this.#origin = position + samples;
      return detections;
    });
  }

  /** Begin a new stream, as though digital silence had gone before. */
  reset() {
    return this.#inTurn(async () => {
      this.#reset();
      this.#origin = 0;
    });
  }

  /**
   * @template Result
   * @param {() => Promise<Result>} work
   * @returns {Promise<Result>}
   */
  #inTurn(work) {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  /** @param {Int16Array} block */
  async #process(block) {
    const audio = new Int16Array(this.#pending.length + block.length);
    audio.set(this.#pending);
    audio.set(block, this.#pending.length);
    this.#samples += block.length;
    const { hop } = this.#stream;
    const whole = audio.length - (audio.length % hop);
    this.#pending = audio.slice(whole);
    const detections = [];
    for (let begin = 0; begin < whole; begin += hop) {
      detections.push(...(await this.#hop(audio.subarray(begin, begin + hop))));
    }
    return detections;
  }

  /** @param {Int16Array} hop */
  async #hop(hop) {
    const rows = await this.#stream.rows(hop);
    const origin = this.#origin / SAMPLE_RATE;
    /** @type {import("./index.js").Detection[]} */
    const detections = [];
    for (const { rested, posteriors, levels } of rows) {
      this.#decider.rest(rested);
      for (const found of this.#decider.update(posteriors, levels)) {
        detections.push({ ...found, start: found.start + origin, end: found.end + origin });
      }
    }
    this.#observer?.(hop, rows.flatMap(({ posteriors }) => posteriors), detections);
    return detections;
  }

  async #finish() {
    const position = (this.#origin + this.#samples) / SAMPLE_RATE;
    const { hangover_ms: hangover } = this.#model.manifest.vad;
    const silence = new Int16Array(Math.floor((SAMPLE_RATE * hangover) / 1000));
    const detections = await this.#process(silence);
    this.#reset();
    return detections.map((found) => ({ ...found, end: Math.min(found.end, position) }));
  }

  #reset() {
    this.#stream.reset();
    this.#decider.reset();
    this.#pending = new Int16Array(0);
    this.#samples = 0;
  }
}

/**
 * @param {Int16Array | Float32Array} audio floats in [-1, 1); what lies beyond is clipped
 * @returns {Int16Array}
 */
function toInt16(audio) {
  if (audio instanceof Int16Array) {
    return audio;
  }
  if (!(audio instanceof Float32Array)) {
    throw new KwsError("expected audio as an Int16Array, or a Float32Array in [-1, 1]");
  }
  return Int16Array.from(audio, (sample) => {
    if (!Number.isFinite(sample)) {
      throw new KwsError("expected audio of finite numbers");
    }
    return Math.min(roundHalfToEven(Math.min(Math.max(sample, -1.0), 1.0) * 32768.0), 32767);
  });
}

/** @param {number} value */
function roundHalfToEven(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
