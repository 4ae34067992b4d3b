// A browser's microphone, its audio detected in a worker; runs in the page.

import { KwsError } from "./errors.js";

/** See index.d.ts. */
export class Microphone {
  #settings;
  /** @type {MediaStream | null} */
  #stream = null;
  /** @type {AudioContext | null} */
  #context = null;

  /** @param {import("./index.js").MicrophoneSettings} settings */
  constructor(settings) {
    this.#settings = settings;
  }

  /** Load the model, then ask for the microphone and listen. */
  async start() {
    this.#context = new AudioContext(); // at once, while the click that led here counts
    const { port1, port2 } = new MessageChannel();
    await this.#startWorker(port2);
    const { capture = new URL("./capture.js", import.meta.url) } = this.#settings;
    await this.#context.audioWorklet.addModule(capture);
    this.#stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    const node = new AudioWorkletNode(this.#context, "kws-capture", {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: "explicit",
    });
    node.port.postMessage(port1, [port1]);
    this.#context.createMediaStreamSource(this.#stream).connect(node);
    await this.#context.resume();
  }

  /** Let go of the microphone and end the worker. */
  async stop() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#settings.worker.terminate();
    await this.#context?.close();
    this.#stream = this.#context = null;
  }

  /**
   * Until it is ready to detect what comes through the port.
   * @param {MessagePort} port
   * @returns {Promise<void>}
   */
  #startWorker(port) {
    const { worker, manifest, options = {}, onEvent } = this.#settings;
    const start = { manifest: String(manifest), options, rate: this.#context?.sampleRate };
    return new Promise((resolve, reject) => {
      let started = false;
      worker.onerror = ({ message }) => reject(new KwsError(message || "the worker does not load"));
      worker.onmessage = ({ data }) => {
        if (!started && data.event === "error") {
          reject(new KwsError(data.message));
          return;
        }
        started = true;
        resolve();
        onEvent(data);
      };
      worker.postMessage(start, [port]);
    });
  }
}
