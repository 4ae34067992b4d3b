// Which keywords are detected, from which thresholds on, and how they are decided.
// kws/operating_point.py in JavaScript.

import { KwsError } from "./errors.js";

const LABELS_OF_NO_KEYWORD = ["silence", "unknown"];
const CONNECTED_SMOOTHING_MS = 240; // of commands within sentences, at most

/**
 * See DetectorOptions in index.d.ts.
 * @param {import("./index.js").Manifest} manifest
 * @param {import("./index.js").DetectorOptions} options
 * @param {boolean} verified whether the verifier confirms candidates
 */
export function operatingPoint(manifest, options, verified) {
  const { threshold, sensitivity, isolated = true } = options;
  const known = keywordsOf(manifest.labels);
  const keywords = known.filter((word) => options.keywords?.includes(word) ?? true);
  const own = typeof threshold === "number" ? fill(keywords, threshold) : { ...threshold };
  for (const word of [...(options.keywords ?? []), ...Object.keys(own)]) {
    if (!keywords.includes(word)) {
      throw new KwsError(`no keyword is called ${word}; the keywords are ${keywords.join(", ")}`);
    }
  }
  if (!keywords.length) {
    throw new KwsError(`expected at least one keyword; the model's are ${known.join(", ")}`);
  }
  for (const [word, value] of Object.entries(own)) {
    if (!(value > 0.0 && value <= 1.0)) {
      throw new KwsError(`expected a threshold in (0, 1] for ${word}, got ${value}`);
    }
  }
  const decision = { faint_db: 0.0, loud_db: 0.0, hold_ms: 0, ...manifest.decision };
  const config = isolated ? decision : connected(decision);
  const preset = presetOf(manifest, verified, isolated ? "isolated" : "connected", sensitivity);
  const thresholds = { ...fill(known, config.threshold), ...preset, ...own };
  return { keywords, thresholds, config };
}

/**
 * The labels that can be detected: all but silence and unknown.
 * @param {readonly string[]} labels
 */
export function keywordsOf(labels) {
  return labels.filter((label) => !LABELS_OF_NO_KEYWORD.includes(label));
}

/**
 * For keywords within running speech: decided sooner, whatever was said before.
 * @param {import("./index.js").DecisionConfig} config
 */
function connected(config) {
  const smoothing = Math.min(config.smoothing_ms, CONNECTED_SMOOTHING_MS);
  return { ...config, isolation: 0.0, smoothing_ms: smoothing };
}

/**
 * @param {import("./index.js").Manifest} manifest
 * @param {boolean} verified
 * @param {string} mode
 * @param {string} [sensitivity]
 */
function presetOf(manifest, verified, mode, sensitivity) {
  const settings = (verified && manifest.verifier) || manifest;
  const presets = settings.presets?.[mode] ?? {};
  if (sensitivity === undefined) {
    return (mode === "connected" && presets.medium) || settings.thresholds;
  }
  if (!presets[sensitivity]) {
    throw new KwsError(`the model ${manifest.name} has no preset ${mode} ${sensitivity}`);
  }
  return presets[sensitivity];
}

/**
 * @param {string[]} words
 * @param {number} value
 * @returns {Record<string, number>}
 */
function fill(words, value) {
  return Object.fromEntries(words.map((word) => [word, value]));
}
