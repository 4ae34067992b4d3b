// A browser's microphone, its audio detected in a worker; runs in the page.

/** See index.d.ts. */
export class Microphone {
  #worker;
  /** @type {MediaStream | null} */
  #stream = null;
  /** @type {AudioContext | null} */
  #context = null;
  #settings;

  /** @param {import("./index.js").MicrophoneSettings} settings */
  constructor(settings) {
    this.#settings = settings;
    this.#worker = settings.worker;
    this.#worker.onmessage = ({ data }) => settings.onEvent(data);
    this.#worker.onerror = ({ message }) =>
      settings.onEvent({ event: "error", message: message || "the worker does not load" });
  }

  /** Ask for the microphone and listen. Call it from a click: browsers demand one for audio. */
  async start() {
    const { manifest, options = {}, capture = new URL("./capture.js", import.meta.url) } =
      this.#settings;
    this.#stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    this.#context = new AudioContext();
    await this.#context.audioWorklet.addModule(capture);
    const node = new AudioWorkletNode(this.#context, "kws-capture", {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: "explicit",
    });
    const { port1, port2 } = new MessageChannel();
    node.port.postMessage(port1, [port1]);
    const rate = this.#context.sampleRate;
    this.#worker.postMessage({ manifest: String(manifest), options, rate }, [port2]);
    this.#context.createMediaStreamSource(this.#stream).connect(node);
  }

  /** Let go of the microphone and end the worker. */
  async stop() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#worker.terminate();
    await this.#context?.close();
    this.#stream = this.#context = null;
  }
}
