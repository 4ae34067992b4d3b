// The streaming engine for one stream: gate, pre-roll, catch-up, verifier.
// kws/gated_stream.py in JavaScript.

import { KwsError } from "./errors.js";
import { StreamingFrontend, stepLevels } from "./frontend.js";
import { SpeechGate } from "./gate.js";
import { Verifier } from "./verifier.js";

/** A stream through the gate and the network; while the gate is closed, nothing is computed. */
export class GatedStream {
  #model;
  #gate;
  #preroll;
  #frontend;
  #verifier;
  #received = 0; // hops
  #processed = 0; // of them, by the network, or rested through

  /**
   * @param {import("./index.js").Model} model
   * @param {import("./index.js").Vad} [vad] without one the gate is always open
   * @param {boolean} [verify] whether the model's verifier is queried about candidates
   */
  constructor(model, vad, verify = false) {
    const { manifest, frames } = model;
    const hopMs = (1000 * frames * manifest.features.hop) / manifest.features.sample_rate;
    if (vad && hopMs % manifest.vad.frame_ms) {
      throw new KwsError(
        `expected a vad.frame_ms that divides ${hopMs}, got ${manifest.vad.frame_ms}`,
      );
    }
    this.#model = model;
    this.hop = frames * manifest.features.hop; // samples
    this.#gate = vad && new SpeechGate(vad, manifest.vad);
    this.#preroll = Math.ceil(manifest.vad.preroll_ms / hopMs); // hops
    this.#frontend = new StreamingFrontend(manifest.features, frames, this.#preroll + 1);
    this.#verifier = verify && model.verifier ? new Verifier(model.verifier, manifest) : null;
    this.reset();
  }

  /** Begin again, as though digital silence had gone before. */
  reset() {
    this.#gate?.reset();
    this.#restart();
    this.#frontend.reset();
    this.#received = this.#processed = 0;
  }

  /**
   * Rows of the next hop; none of a closed gate. Where the gate has just opened, those of the
   * pre-roll come first.
   * @param {Int16Array} hop
   */
  async rows(hop) {
    this.#frontend.append(hop);
    this.#received++;
    if (this.#gate && !this.#gate.isOpen(hop)) {
      return [];
    }
    const rows = [];
    let rested = this.#rest();
    while (this.#processed < this.#received) {
      const features = this.#frontend.features(this.#processed);
      let posteriors = await this.#model.posteriors(features);
      if (this.#verifier) {
        posteriors = await this.#verifier.verified(features, posteriors);
      }
      rows.push({ rested, posteriors, levels: stepLevels(features, this.#model.steps) });
      this.#processed++;
      rested = 0;
    }
    return rows;
  }

  /** Skip what is older than the pre-roll of a gate that has just opened; returns steps. */
  #rest() {
    const rested = this.#received - 1 - this.#preroll - this.#processed;
    if (!this.#gate || rested <= 0) {
      return 0;
    }
    this.#restart();
    this.#processed += rested;
    return rested * this.#model.steps;
  }

  /** Let the networks begin again, as though digital silence had gone before. */
  #restart() {
    this.#model.reset();
    this.#verifier?.reset();
  }
}
