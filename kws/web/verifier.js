// A larger network that runs only where the first one returns a keyword candidate.
// kws/verifier.py in JavaScript, for one stream.

import { keywordsOf } from "./operating_point.js";

const CANDIDATE_HYSTERESIS = 0.5; // of the candidate's posterior, from the call after one with a candidate

/** Keeps the last second of features of a stream, to verify candidates. */
export class Verifier {
  #network;
  #keywords; // their columns
  #candidate;
  #level; // the posterior above which it runs
  #recent; // the features of the last second

  /**
   * @param {import("./index.js").WindowNetwork} network
   * @param {import("./index.js").Manifest} manifest one that names a verifier
   */
  constructor(network, manifest) {
    const { labels, verifier } = manifest;
    this.#network = network;
    this.#keywords = keywordsOf(labels).map((keyword) => labels.indexOf(keyword));
    this.#candidate = this.#level = /** @type {{ candidate: number }} */ (verifier).candidate;
    this.#recent = new Float32Array(network.size);
  }

  /** Begin again, as though digital silence had gone before. */
  reset() {
    this.#recent.fill(0.0);
    this.#level = this.#candidate;
  }

  /**
   * Rows of posteriors, verified where they hold a candidate.
   * @param {Float32Array} features that the first network made them of
   * @param {Float32Array[]} posteriors
   * @returns {Promise<Float32Array[]>}
   */
  async verified(features, posteriors) {
    this.#recent.copyWithin(0, features.length);
    this.#recent.set(features, this.#recent.length - features.length);
    const rows = posteriors.map((row) =>
      this.#keywords.some((column) => row[column] > this.#level),
    );
    const found = rows.includes(true);
    this.#level = this.#candidate * (found ? CANDIDATE_HYSTERESIS : 1.0);
    if (!found) {
      return posteriors; // as nearly always
    }
    const returned = await this.#network.posteriors(this.#recent);
    return posteriors.map((row, place) => (rows[place] ? returned : row));
  }
}
