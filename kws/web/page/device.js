// The microphone of the device that runs `kws serve`: its events come as server-sent events.

import { View } from "./view.js";

/** @typedef {{ manifest: string, options: object } | { problem: string }} Browser */

/**
 * Follow the device.
 * @param {(model: string, browser: Browser) => void} onSnapshot
 */
export function followDevice(onSnapshot) {
  const view = new View(/** @type {HTMLElement} */ (document.getElementById("device")));
  const mute = /** @type {HTMLButtonElement} */ (document.getElementById("mute"));
  let paused = false;
  const setPaused = (/** @type {boolean} */ value) => {
    paused = value;
    mute.disabled = false;
    mute.textContent = paused ? "Unmute" : "Mute";
    view.say(paused ? "Muted: nothing is detected." : "Listening.");
    view.show(null, null);
  };
  /** @type {Record<string, (event: any) => void>} */
  const handlers = {
    snapshot({ ready, paused: value, source, detections, end, browser }) {
      view.clear();
      view.say("Waiting for audio.");
      if (ready) {
        view.setWords(ready.labels, ready.thresholds);
        setPaused(value);
      }
      if (source && !value) {
        view.say(source.message);
      }
      detections.forEach(view.add.bind(view));
      if (end) {
        handlers.end(end);
      }
      onSnapshot(ready?.model ?? "", browser);
    },
    ready({ labels, thresholds }) {
      view.setWords(labels, thresholds);
      setPaused(paused);
    },
    rows({ level, posteriors }) {
      if (!paused) {
        view.show(level, posteriors); // else it is the last one from before
      }
    },
    detection: (detection) => view.add(detection),
    paused: () => setPaused(true),
    resumed: () => setPaused(false),
    end({ message }) {
      view.show(null, null);
      view.say(message || "Listening has ended.", Boolean(message));
      mute.disabled = true;
    },
  };
  const events = new EventSource("events");
  events.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    const handler = handlers[event.event];
    if (handler) {
      handler(event);
    } else if (event.message) {
      view.say(event.message); // how the microphone fares
    }
  };
  events.onerror = () => {
    mute.disabled = true;
    view.show(null, null);
    view.say("No connection to the device; trying again.", true);
  };
  mute.onclick = async () => {
    const response = await fetch(paused ? "resume" : "pause", { method: "POST" });
    if (!response.ok) {
      view.say(await response.text(), true);
    }
  };
}
