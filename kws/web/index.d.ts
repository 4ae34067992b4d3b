// Types of kws-web. Times are seconds of stream time, audio is 16 kHz mono.

import type * as Ort from "onnxruntime-web";

/** A spoken keyword. */
export interface Detection {
  keyword: string;
  /** Smoothed posterior, in (0, 1]. */
  score: number;
  /** The keyword lies between start and end. */
  start: number;
  /** When it was decided. */
  end: number;
}

/** The JSON file beside a model's files that describes all of it. */
export interface Manifest {
  version: number;
  name: string;
  /** In the order of the posteriors. */
  labels: string[];
  features: FeatureConfig;
  vad: VadConfig;
  decision: Omit<DecisionConfig, "faint_db" | "loud_db" | "hold_ms"> & Partial<DecisionConfig>;
  thresholds: Record<string, number>;
  /** Thresholds by mode ("isolated", "connected") and sensitivity. */
  presets?: Record<string, Record<string, Record<string, number>>>;
  artefacts: Record<string, Artefact>;
  verifier?: VerifierEntry;
}

/** A larger network that confirms keyword candidates of the first. */
export interface VerifierEntry {
  artefact: Artefact;
  /** Posterior of a keyword above which it runs. */
  candidate: number;
  /** As the manifest's, for the verifier's posteriors. */
  thresholds: Record<string, number>;
  presets: Record<string, Record<string, Record<string, number>>>;
}

export interface Artefact {
  file: string;
  bytes: number;
  sha256: string;
}

export interface FeatureConfig {
  sample_rate: number;
  window: number;
  hop: number;
  fft_size: number;
  bands: number;
  low_hz: number;
  high_hz: number;
  floor: number;
  coefficients: number;
}

export interface VadConfig {
  aggressiveness: number;
  frame_ms: number;
  hangover_ms: number;
  preroll_ms: number;
}

export interface DecisionConfig {
  smoothing_ms: number;
  threshold: number;
  isolation: number;
  faint_db: number;
  loud_db: number;
  context_ms: number;
  lead_ms: number;
  longest_ms: number;
  release: number;
  rearm_ms: number;
  hold_ms: number;
  refractory_ms: number;
}

/** What is wrong with a file or an argument, and what to do. */
export class KwsError extends Error {}

/** A network that takes the features of a second. */
export interface WindowNetwork {
  /** Numbers that it takes: frames times bands. */
  readonly size: number;
  posteriors(features: Float32Array): Promise<Float32Array>;
}

/** A network with its state. It serves one Detector at a time. */
export interface Model {
  readonly manifest: Manifest;
  /** Feature frames that a call takes. */
  readonly frames: number;
  /** Rows of posteriors that it gives, one per 20 ms. */
  readonly steps: number;
  /** The larger network, where it was loaded. */
  readonly verifier?: WindowNetwork;
  posteriors(features: Float32Array): Promise<Float32Array[]>;
  reset(): void;
}

/**
 * A model in onnxruntime-web (its WebAssembly build is enough): a manifest, and the contents of the
 * files that it names as `stream.onnx` and as its verifier. Without the latter, detectors do without.
 * Throws KwsError where they do not fit.
 */
export function loadModel(
  ort: typeof Ort,
  manifest: Manifest,
  graph: Uint8Array | ArrayBuffer,
  verifier?: Uint8Array | ArrayBuffer,
): Promise<Model>;

/**
 * As loadModel, of the manifest at an absolute address and the files beside it; the verifier where
 * the manifest names one, unless `verify` is false.
 */
export function fetchModel(
  ort: typeof Ort,
  address: string | URL,
  options?: { verify?: boolean },
): Promise<Model>;

/** A voice activity detector. */
export interface Vad {
  /** Forget the audio so far. */
  reset(): void;
  /** Whether a frame of `frame_ms` is speech; frames come one after another. */
  isSpeech(frame: Int16Array): boolean;
}

/** What the default export of @echogarden/fvad-wasm resolves to. */
export interface FvadModule {
  HEAP16: Int16Array;
  _fvad_new(): number;
  _fvad_reset(handle: number): void;
  _fvad_set_mode(handle: number, aggressiveness: number): number;
  _fvad_set_sample_rate(handle: number, hertz: number): number;
  _fvad_process(handle: number, frame: number, samples: number): number;
  _malloc(bytes: number): number;
}

/** WebRTC's voice activity detector, bit for bit the one that the Python package uses. */
export class WebrtcVad implements Vad {
  constructor(fvad: FvadModule, config: VadConfig);
  reset(): void;
  isSpeech(frame: Int16Array): boolean;
}

/** Tells whether the network should run: while somebody speaks, and for a hangover after it. */
export class SpeechGate {
  constructor(vad: Vad, config: VadConfig);
  reset(): void;
  /** Take the next audio, one or more frames; whether it leaves the gate open. */
  isOpen(audio: Int16Array): boolean;
}

export interface DetectorOptions {
  /** In (0, 1], instead of the model's own: for all keywords, or some as in { stop: 0.5 }. */
  threshold?: number | Record<string, number>;
  /** An operating point that came with the model; default: its own. */
  sensitivity?: "low" | "medium" | "high";
  /** Those to detect; default: all. The others count as other speech. */
  keywords?: readonly string[];
  /** Commands are spoken alone, the default; false: within sentences too. */
  isolated?: boolean;
  /** Whether the model's verifier, where it was loaded, confirms candidates, the default; false:
   * without it, and with the thresholds for that. */
  verify?: boolean;
  /** Lets the network rest in silence; default: it never rests. */
  vad?: Vad;
  /** Called after each hop (80 ms): its audio, the rows of posteriors of it and of what the network
   * caught up on, none while the gate is closed, and what was detected in them. */
  observer?: (hop: Int16Array, posteriors: Float32Array[], detections: Detection[]) => void;
}

/**
 * Finds the keywords in one stream. What comes out depends on the audio alone, never on how it was
 * cut into blocks. Calls may overlap: they take their turns.
 */
export class Detector {
  /** Throws KwsError for a keyword, threshold or sensitivity that does not exist. */
  constructor(model: Model, options?: DetectorOptions);
  /** The words that it detects. */
  readonly keywords: readonly string[];
  /** The score from which each counts. */
  readonly thresholds: Readonly<Record<string, number>>;
  /** Process a block of any length; floats lie in [-1, 1] and are clipped beyond it. */
  process(audio: Int16Array | Float32Array): Promise<Detection[]>;
  /** What the end of the stream still decides, as though silence followed; then `reset`. */
  finish(): Promise<Detection[]>;
  /** So many samples were lost: the clock goes on without them. */
  skip(samples: number): Promise<Detection[]>;
  /** Begin a new stream. */
  reset(): Promise<void>;
}

/** From rows of posteriors to detections; what each setting does is in kws/decision.py. */
export class Decider {
  constructor(
    labels: readonly string[],
    thresholds: Readonly<Record<string, number>>,
    config: DecisionConfig,
    keywords?: readonly string[],
  );
  reset(): void;
  /** Let so many steps of 20 ms pass in which the gate was closed. */
  rest(rows: number): void;
  /** Take the next rows, one per 20 ms, and their levels in dB. */
  update(posteriors: readonly ArrayLike<number>[], levels?: ArrayLike<number>): Detection[];
}

export type MicrophoneEvent =
  | { event: "ready"; model: string; labels: string[]; thresholds: Record<string, number> }
  /** Every 80 ms: dB of full scale, and the latest row, null while the gate is closed. */
  | { event: "rows"; level: number; posteriors: Float32Array | null }
  | ({ event: "detection" } & Detection)
  | { event: "error"; message: string };

export interface MicrophoneSettings {
  /** One that calls `serve` of kws-web/worker; it ends with the microphone. */
  worker: Worker;
  /** The manifest's absolute address. */
  manifest: string | URL;
  options?: Omit<DetectorOptions, "vad" | "observer">;
  /** Where capture.js is served; default: beside this module. */
  capture?: string | URL;
  onEvent: (event: MicrophoneEvent) => void;
}

/** A browser's microphone, its audio detected in a worker. */
export class Microphone {
  constructor(settings: MicrophoneSettings);
  /** Load the model, then ask for the microphone and listen. Call it from a click: browsers demand
   * one for audio. Throws KwsError where the model does not load, and what getUserMedia throws. */
  start(): Promise<void>;
  /** Let go of the microphone and end the worker. */
  stop(): Promise<void>;
}
