// A manifest, its stream graph and its verifier, ready to run in onnxruntime-web.

import { KwsError } from "./errors.js";

const STEP_FRAMES = 2; // feature frames from one row of posteriors to the next, 20 ms
const ARTEFACT = "stream.onnx";
const VERSION = 1; // of manifests

/**
 * See index.d.ts.
 * @param {typeof import("onnxruntime-web")} ort
 * @param {import("./index.js").Manifest} manifest
 * @param {Uint8Array | ArrayBuffer} graph
 * @param {Uint8Array | ArrayBuffer} [verifier]
 */
export async function loadModel(ort, manifest, graph, verifier) {
  const { session, shapes } = await open(ort, artefactOf(manifest), graph);
  const { features, state } = shapes;
  const { bands, hop, sample_rate: rate } = manifest.features;
  if (features?.[2] !== bands || state?.length !== 2 || STEP_FRAMES * hop * 50 !== rate) {
    throw new KwsError(
      `expected a graph with features of ${bands} bands, a frame per 10 ms, and a state, ` +
        `got ${JSON.stringify(shapes)}`,
    );
  }
  const frames = features[1];
  const larger = verifier && (await openVerifier(ort, manifest, verifier));
  const model = new Model(ort, session, manifest, frames, features, state, larger);
  const silence = new Float32Array(frames * features[2]);
  for (let frame = 0; frame < rate / hop; frame += frames) {
    await model.posteriors(silence); // nothing before this second has an effect
  }
  model.keepSilence();
  return model;
}

/**
 * The model of a manifest at this address, whose files lie beside it; see index.d.ts.
 * @param {typeof import("onnxruntime-web")} ort
 * @param {string | URL} address
 * @param {{ verify?: boolean }} [options]
 */
export async function fetchModel(ort, address, { verify = true } = {}) {
  const manifest = await (await fetchFile(address)).json();
  const content = async (/** @type {import("./index.js").Artefact} */ { file }) =>
    (await fetchFile(new URL(file, address))).arrayBuffer();
  const [graph, verifier] = await Promise.all([
    content(artefactOf(manifest)),
    verify && manifest.verifier ? content(manifest.verifier.artefact) : undefined,
  ]);
  return loadModel(ort, manifest, graph, verifier);
}

/**
 * The larger network of a manifest, run once: its first run takes longer than others.
 * @param {typeof import("onnxruntime-web")} ort
 * @param {import("./index.js").Manifest} manifest
 * @param {Uint8Array | ArrayBuffer} content
 */
async function openVerifier(ort, manifest, content) {
  if (!manifest.verifier) {
    throw new KwsError(`expected no verifier: the model ${manifest.name} has none`);
  }
  const { session, shapes } = await open(ort, manifest.verifier.artefact, content);
  const { bands, hop, sample_rate: rate, window } = manifest.features;
  const frames = 1 + Math.floor((rate - window) / hop); // of a second
  if (shapes.features?.[1] !== frames || shapes.features[2] !== bands) {
    throw new KwsError(
      `expected a verifier with ${frames} frames of ${bands} bands, got ${JSON.stringify(shapes)}`,
    );
  }
  const network = new WindowNetwork(ort, session, shapes.features);
  await network.posteriors(new Float32Array(network.size));
  return network;
}

/**
 * A session of an artefact, and the shapes of its inputs by name.
 * @param {typeof import("onnxruntime-web")} ort
 * @param {import("./index.js").Artefact} artefact
 * @param {Uint8Array | ArrayBuffer} file
 */
async function open(ort, artefact, file) {
  const content = new Uint8Array(file);
  await check(artefact, content);
  const session = await ort.InferenceSession.create(content, { executionProviders: ["wasm"] });
  const shapes = Object.fromEntries(
    session.inputMetadata.map((input) => [
      input.name,
      (input.isTensor ? input.shape : []).map((size) => (typeof size === "number" ? size : 1)),
    ]),
  );
  return { session, shapes };
}

/** @param {string | URL} address */
async function fetchFile(address) {
  const response = await fetch(address);
  if (!response.ok) {
    throw new KwsError(`expected a file at ${address}, got status ${response.status}`);
  }
  return response;
}

/** The network of one stream and its state. */
class Model {
  #ort;
  #session;
  #shape;
  /** @type {import("onnxruntime-web").Tensor} */
  #state;
  #silent;

  /**
   * @param {typeof import("onnxruntime-web")} ort
   * @param {import("onnxruntime-web").InferenceSession} session
   * @param {import("./index.js").Manifest} manifest
   * @param {number} frames
   * @param {number[]} features
   * @param {number[]} state
   * @param {WindowNetwork} [verifier]
   */
  constructor(ort, session, manifest, frames, features, state, verifier) {
    this.#ort = ort;
    this.#session = session;
    this.manifest = manifest;
    this.verifier = verifier;
    this.frames = frames; // new feature frames that a call takes
    this.steps = frames / STEP_FRAMES; // rows of posteriors that it gives
    this.#shape = features;
    this.#state = new ort.Tensor("float32", new Float32Array(state[0] * state[1]), state);
    this.#silent = this.#state;
  }

  /** What the state is by now is what it is after digital silence. */
  keepSilence() {
    this.#silent = this.#state;
  }

  /** Begin again, as though digital silence had gone before. */
  reset() {
    this.#state = this.#silent;
  }

  /**
   * Rows of posteriors of the next features.
   * @param {Float32Array} features (frames, bands)
   * @returns {Promise<Float32Array[]>} steps of (labels,)
   */
  async posteriors(features) {
    const { posteriors, next_state: next } = await this.#session.run({
      features: new this.#ort.Tensor("float32", features, this.#shape),
      state: this.#state,
    });
    this.#state = next;
    const rows = /** @type {Float32Array} */ (posteriors.data);
    const labels = rows.length / this.steps;
    return Array.from({ length: this.steps }, (_, step) =>
      rows.slice(step * labels, (step + 1) * labels),
    );
  }
}

/** A network that takes a second at once. */
class WindowNetwork {
  #ort;
  #session;
  #shape;

  /**
   * @param {typeof import("onnxruntime-web")} ort
   * @param {import("onnxruntime-web").InferenceSession} session
   * @param {number[]} shape of its features (1, frames, bands)
   */
  constructor(ort, session, shape) {
    this.#ort = ort;
    this.#session = session;
    this.#shape = shape;
    this.size = shape[1] * shape[2];
  }

  /**
   * @param {Float32Array} features (frames, bands)
   * @returns {Promise<Float32Array>} (labels,)
   */
  async posteriors(features) {
    const { posteriors } = await this.#session.run({
      features: new this.#ort.Tensor("float32", features, this.#shape),
    });
    return /** @type {Float32Array} */ (posteriors.data);
  }
}

/**
 * The stream graph's entry in the manifest.
 * @param {import("./index.js").Manifest} manifest
 */
function artefactOf(manifest) {
  if (manifest?.version !== VERSION) {
    throw new KwsError(`expected a manifest of version ${VERSION}, got ${manifest?.version}`);
  }
  const artefact = manifest.artefacts[ARTEFACT];
  if (!artefact) {
    throw new KwsError(`the model ${manifest.name} has no ${ARTEFACT}, which runs here`);
  }
  return artefact;
}

/**
 * @param {import("./index.js").Artefact} artefact
 * @param {Uint8Array<ArrayBuffer>} content
 */
async function check(artefact, content) {
  const subtle = globalThis.crypto?.subtle; // pages over plain http from elsewhere have none
  if (!subtle) {
    return;
  }
  const digest = new Uint8Array(await subtle.digest("SHA-256", content));
  const sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (sha256 !== artefact.sha256) {
    throw new KwsError(`expected the ${artefact.file} that the manifest names, got another file`);
  }
}
