// What runs in a worker: a microphone's audio in, events out. `Microphone` is the other end.

import { Detector } from "./detector.js";
import { WebrtcVad } from "./gate.js";
import { fetchModel } from "./model.js";
import { Resampler } from "./resampler.js";

const SAMPLE_RATE = 16000; // Hz
const MAX_AGE_S = 5.0; // of audio that waits; of more the oldest is left out

/**
 * Serve a `Microphone` of the page; see worker.d.ts.
 * @param {typeof import("onnxruntime-web")} ort
 * @param {() => Promise<import("./index.js").FvadModule>} [fvad]
 */
export function serve(ort, fvad) {
  ort.env.wasm.numThreads = 1; // more would need headers that isolate the page, and gain nothing
  self.onmessage = async ({ data, ports }) => {
    try {
      const model = await fetchModel(ort, data.manifest, data.options);
      const vad = fvad && new WebrtcVad(await fvad(), model.manifest.vad);
      const detector = new Detector(model, { ...data.options, vad, observer: tell });
      const { name, labels } = model.manifest;
      self.postMessage({ event: "ready", model: name, labels, thresholds: detector.thresholds });
      listen(detector, data.rate, ports[0]);
    } catch (error) {
      fail(error);
    }
  };
}

/**
 * @param {Detector} detector
 * @param {number} rate Hz of what the port delivers
 * @param {MessagePort} port
 */
function listen(detector, rate, port) {
  const resampler = new Resampler(rate);
  let waiting = 0; // samples that have come and were not processed yet
  let lost = 0;
  port.onmessage = async ({ data }) => {
    if (waiting > MAX_AGE_S * rate) {
      lost += data.length;
      return;
    }
    try {
      waiting += data.length;
      if (lost) {
        detector.skip(Math.max(1, Math.round((lost * SAMPLE_RATE) / rate)));
        lost = 0;
      }
      await detector.process(resampler.process(data));
      waiting -= data.length;
    } catch (error) {
      port.close();
      fail(error);
    }
  };
}

/** @type {import("./index.js").DetectorOptions["observer"]} */
function tell(hop, posteriors, detections) {
  self.postMessage({ event: "rows", level: levelOf(hop), posteriors: posteriors.at(-1) ?? null });
  for (const detection of detections) {
    self.postMessage({ event: "detection", ...detection });
  }
}

/** @param {any} error */
function fail(error) {
  self.postMessage({ event: "error", message: String(error?.message ?? error) });
}

/**
 * The level of a hop in dB of full scale, -120 for digital silence.
 * @param {Int16Array} hop
 */
function levelOf(hop) {
  const power = hop.reduce((sum, sample) => sum + (sample / 32768.0) ** 2, 0.0) / hop.length;
  return Math.max(10.0 * Math.log10(power), -120.0);
}
