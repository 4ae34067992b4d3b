// Keyword spotting in JavaScript: the same stages, rules and numbers as the Python package kws.

export { Decider } from "./decision.js";
export { Detector } from "./detector.js";
export { KwsError } from "./errors.js";
export { SpeechGate, WebrtcVad } from "./gate.js";
export { Microphone } from "./microphone.js";
export { fetchModel, loadModel } from "./model.js";
