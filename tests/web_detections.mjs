// Runs jobs of tests/test_web_module.py: node web_detections.mjs MODULE RUNTIME JOBS.json
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, runtime, jobs] = process.argv.slice(2);
const load = (place, name) => import(pathToFileURL(`${place}/${name}`).href);
const { Decider, Detector, WebrtcVad, loadModel } = await load(folder, "index.js");
const { StreamingFrontend } = await load(folder, "frontend.js");
const { Resampler } = await load(folder, "resampler.js");
const ort = await load(runtime, "ort.wasm.min.mjs");
const { default: openFvad } = await load(runtime, "fvad.mjs");
ort.env.wasm.numThreads = 1;

const { manifest, graph, verifier, streams, rows, features, resampled } = JSON.parse(
  readFileSync(jobs, "utf8"),
);
const fvad = await openFvad();
const settings = JSON.parse(readFileSync(manifest, "utf8"));
const model = await loadModel(ort, settings, readFileSync(graph), readFileSync(verifier));
const results = { streams: [], rows: [], features: null, resampled: null };

function samples(path, Type) {
  const { buffer, byteOffset, byteLength } = readFileSync(path);
  return new Type(buffer.slice(byteOffset, byteOffset + byteLength));
}

for (const { audio, gate, block, options } of streams) {
  const rowsSeen = [];
  const detector = new Detector(model, {
    ...options,
    vad: gate ? new WebrtcVad(fvad, settings.vad) : undefined,
    observer: (_, posteriors) => rowsSeen.push(posteriors.length),
  });
  const all = samples(audio, Int16Array);
  const found = [];
  for (let begin = 0; begin < all.length; begin += block) {
    found.push(...(await detector.process(all.subarray(begin, begin + block))));
  }
  found.push(...(await detector.finish()));
  results.streams.push({ found, rows: rowsSeen, thresholds: detector.thresholds });
}

for (const { labels, thresholds, config, keywords, rested, posteriors, levels } of rows) {
  const decider = new Decider(labels, thresholds, config, keywords);
  const found = [];
  posteriors.forEach((some, index) => {
    decider.rest(rested[index]);
    found.push(...decider.update(some, levels[index]));
  });
  results.rows.push(found);
}

const frontend = new StreamingFrontend(features.config, features.frames, 2);
const audio = samples(features.audio, Int16Array);
results.features = [];
for (let begin = 0, hop = 0; begin + features.hop <= audio.length; begin += features.hop, hop++) {
  frontend.append(audio.subarray(begin, begin + features.hop));
  results.features.push(...frontend.features(hop));
}

results.resampled = resampled.map(({ rate, audio: path }) => {
  const resampler = new Resampler(rate);
  const input = samples(path, Float32Array);
  const output = [];
  for (let begin = 0; begin < input.length; begin += 441) {
    output.push(...resampler.process(input.subarray(begin, begin + 441)));
  }
  return output;
});

process.stdout.write(JSON.stringify(results));
