// The speech gate: WebRTC's voice activity detector, kept open for a hangover after speech.
// kws/vad.py in JavaScript.

const SAMPLE_RATE = 16000; // Hz

/** WebRTC's voice activity detector, of the npm package @echogarden/fvad-wasm. */
export class WebrtcVad {
  #fvad;
  #handle;
  #aggressiveness;
  #buffer;
  #samples;

  /**
   * @param {import("./index.js").FvadModule} fvad what the package's default export resolves to
   * @param {import("./index.js").VadConfig} config the manifest's section `vad`
   */
  constructor(fvad, config) {
    this.#fvad = fvad;
    this.#aggressiveness = config.aggressiveness;
    this.#samples = (SAMPLE_RATE * config.frame_ms) / 1000;
    this.#handle = fvad._fvad_new();
    this.#buffer = fvad._malloc(2 * this.#samples);
    this.reset();
  }

  /** Forget the background so far. */
  reset() {
    this.#fvad._fvad_reset(this.#handle); // which resets the settings too
    this.#fvad._fvad_set_mode(this.#handle, this.#aggressiveness);
    this.#fvad._fvad_set_sample_rate(this.#handle, SAMPLE_RATE);
  }

  /**
   * Whether a frame is speech.
   * @param {Int16Array} frame
   */
  isSpeech(frame) {
    this.#fvad.HEAP16.set(frame, this.#buffer / 2);
    return this.#fvad._fvad_process(this.#handle, this.#buffer, this.#samples) === 1;
  }
}

/** Tells frame by frame whether the network should run. */
export class SpeechGate {
  #vad;
  #frameMs;
  #hangoverMs;
  #openFor = -1; // ms left without further speech

  /**
   * @param {import("./index.js").Vad} vad
   * @param {import("./index.js").VadConfig} config the manifest's section `vad`
   */
  constructor(vad, config) {
    this.#vad = vad;
    this.#frameMs = config.frame_ms;
    this.#hangoverMs = config.hangover_ms;
  }

  /** Forget the speech and the background so far; the gate is closed. */
  reset() {
    this.#vad.reset();
    this.#openFor = -1;
  }

  /**
   * Take the next audio, one or more frames; whether it leaves the gate open.
   * @param {Int16Array} audio
   */
  isOpen(audio) {
    const size = (SAMPLE_RATE * this.#frameMs) / 1000;
    for (let start = 0; start < audio.length; start += size) {
      if (this.#vad.isSpeech(audio.subarray(start, start + size))) {
        this.#openFor = this.#hangoverMs;
      } else {
        this.#openFor -= this.#frameMs;
      }
    }
    return this.#openFor >= 0;
  }
}
