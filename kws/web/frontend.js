// Log-mel features: kws/frontend.py and kws/streaming_frontend.py in JavaScript, for one stream.

import { KwsError } from "./errors.js";

const DB = 10.0 / Math.log(10.0); // decibels in a natural logarithm of energy of 1

/** `logMel` of a stream: the latest hops are kept, and the frames in them are made on demand. */
export class StreamingFrontend {
  #config;
  #frames; // in a hop
  #kept;
  #early; // so many frames of a hop begin before it
  #samples;
  #count = 0; // hops
  #logMel;

  /**
   * @param {import("./index.js").FeatureConfig} config the manifest's section `features`
   * @param {number} frames in a hop
   * @param {number} kept how many of the latest hops are
   */
  constructor(config, frames, kept) {
    this.#config = config;
    this.#frames = frames;
    this.#kept = kept;
    this.#early = Math.ceil((config.window - config.hop) / config.hop);
    this.#samples = new Int16Array((this.#early + kept * frames) * config.hop);
    this.#logMel = new LogMel(config);
  }

  /** Forget the audio; the next hop is number 0. */
  reset() {
    this.#samples.fill(0);
    this.#count = 0;
  }

  /**
   * Copy the next hop.
   * @param {Int16Array} hop
   */
  append(hop) {
    this.#samples.copyWithin(0, hop.length);
    this.#samples.set(hop, this.#samples.length - hop.length);
    this.#count++;
  }

  /**
   * Frames (frames, bands) of one of the hops that are kept, by its number. Those that begin before
   * the stream are 0.0, as if digital silence had gone before.
   * @param {number} number
   */
  features(number) {
    const { bands, hop, window } = this.#config;
    const features = new Float32Array(this.#frames * bands);
    const first = (this.#kept - this.#count + number) * this.#frames; // its place, in frames
    for (let frame = 0; frame < this.#frames; frame++) {
      if (number * this.#frames + frame >= this.#early) {
        const start = (first + frame) * hop;
        const audio = this.#samples.subarray(start, start + window);
        features.set(this.#logMel.frame(audio), frame * bands);
      }
    }
    return features;
  }
}

/**
 * How loud each of `steps` steps is, in dB above the floor: its loudest mel band.
 * @param {Float32Array} features
 * @param {number} steps
 */
export function stepLevels(features, steps) {
  const size = features.length / steps;
  return Float32Array.from({ length: steps }, (_, step) =>
    features.subarray(step * size, (step + 1) * size).reduce((a, b) => Math.max(a, b)) * DB,
  );
}

/** Frames of audio as log-mel bands: ln(1 + energy / floor). */
class LogMel {
  #config;
  #window;
  #filters;
  #fft;

  /** @param {import("./index.js").FeatureConfig} config */
  constructor(config) {
    if (config.fft_size & (config.fft_size - 1)) {
      throw new KwsError(`expected an fft_size that is a power of two, got ${config.fft_size}`);
    }
    if (config.coefficients) {
      throw new KwsError("a model with cepstral coefficients does not run here, only in Python");
    }
    this.#config = config;
    this.#window = hann(config.window);
    this.#filters = melFilters(config);
    this.#fft = new Fft(config.fft_size);
  }

  /**
   * @param {Int16Array} audio (window,)
   * @returns {Float32Array} (bands,)
   */
  frame(audio) {
    const fft = this.#fft;
    fft.real.fill(0.0);
    fft.imaginary.fill(0.0);
    this.#window.forEach((weight, index) => (fft.real[index] = (weight * audio[index]) / 32768.0));
    fft.transform();
    return Float32Array.from(this.#filters, ({ first, weights }) => {
      const energy = weights.reduce(
        (sum, weight, bin) =>
          sum + weight * (fft.real[first + bin] ** 2 + fft.imaginary[first + bin] ** 2),
        0.0,
      );
      return Math.log1p(energy / this.#config.floor);
    });
  }
}

/**
 * Periodic Hann window.
 * @param {number} size
 */
function hann(size) {
  return Float32Array.from(
    { length: size },
    (_, index) => 0.5 - 0.5 * Math.cos((2.0 * Math.PI * index) / size),
  );
}

/** @param {number} hertz */
function hertzToMel(hertz) {
  return 2595.0 * Math.log10(1.0 + hertz / 700.0);
}

/**
 * Triangular filters of peak 1, equally spaced in mel: of each band the first bin and the weights.
 * @param {import("./index.js").FeatureConfig} config
 */
function melFilters(config) {
  const low = hertzToMel(config.low_hz);
  const step = (hertzToMel(config.high_hz) - low) / (config.bands + 1);
  const bins = Array.from({ length: config.fft_size / 2 + 1 }, (_, bin) =>
    hertzToMel((bin * config.sample_rate) / config.fft_size),
  );
  return Array.from({ length: config.bands }, (_, band) => {
    const weights = bins.map((mel) => {
      const rising = (mel - low) / step - band;
      return Math.fround(Math.max(0.0, Math.min(rising, 2.0 - rising)));
    });
    const first = weights.findIndex((weight) => weight > 0.0);
    const last = weights.length - [...weights].reverse().findIndex((weight) => weight > 0.0);
    return { first, weights: Float32Array.from(weights.slice(first, last)) };
  });
}

/** The discrete Fourier transform of `real` and `imaginary`, in place; a power of two of them. */
class Fft {
  /** @param {number} size */
  constructor(size) {
    this.size = size;
    this.real = new Float64Array(size);
    this.imaginary = new Float64Array(size);
    const angles = Array.from({ length: size / 2 }, (_, index) => (-2.0 * Math.PI * index) / size);
    this.cosines = Float64Array.from(angles, Math.cos);
    this.sines = Float64Array.from(angles, Math.sin);
    const bits = Math.log2(size);
    this.reversed = Uint16Array.from({ length: size }, (_, index) => {
      let reversed = 0;
      for (let bit = 0; bit < bits; bit++) {
        reversed = (reversed << 1) | ((index >> bit) & 1);
      }
      return reversed;
    });
  }

  transform() {
    const { size, real, imaginary, cosines, sines, reversed } = this;
    for (let index = 0; index < size; index++) {
      const other = reversed[index];
      if (other > index) {
        [real[index], real[other]] = [real[other], real[index]];
        [imaginary[index], imaginary[other]] = [imaginary[other], imaginary[index]];
      }
    }
    for (let half = 1; half < size; half *= 2) {
      const stride = size / (2 * half);
      for (let begin = 0; begin < size; begin += 2 * half) {
        for (let offset = 0; offset < half; offset++) {
          const [low, high, turn] = [begin + offset, begin + offset + half, offset * stride];
          const re = real[high] * cosines[turn] - imaginary[high] * sines[turn];
          const im = real[high] * sines[turn] + imaginary[high] * cosines[turn];
          real[high] = real[low] - re;
          imaginary[high] = imaginary[low] - im;
          real[low] += re;
          imaginary[low] += im;
        }
      }
    }
  }
}
