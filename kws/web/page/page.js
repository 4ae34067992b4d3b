import { Microphone } from "./kws-web/index.js";
import { followDevice } from "./device.js";
import { View } from "./view.js";

const view = new View(/** @type {HTMLElement} */ (document.getElementById("browser")));
const listen = /** @type {HTMLButtonElement} */ (document.getElementById("listen"));
const READY = "Its audio stays in this browser.";
/** @type {Microphone | null} */
let microphone = null;

followDevice((model, browser) => {
  const title = /** @type {HTMLElement} */ (document.getElementById("model"));
  title.textContent = model && `model ${model}`;
  if (microphone) {
    return; // it goes on, whatever became of the device
  }
  if ("problem" in browser) {
    view.say(browser.problem, true);
  } else if (!navigator.mediaDevices) {
    view.say("Browsers give their microphone to pages from localhost or https only.", true);
  } else {
    view.say(READY);
    listen.disabled = false;
    listen.onclick = () => (microphone ? stop() : start(browser.manifest, browser.options));
  }
});

/**
 * @param {string} manifest
 * @param {object} options
 */
async function start(manifest, options) {
  listen.disabled = true;
  view.clear();
  view.say("Starting.");
  microphone = new Microphone({
    worker: new Worker("keywords.js", { type: "module" }),
    manifest: new URL(manifest, location.href),
    options,
    onEvent: show,
  });
  try {
    await microphone.start();
    listen.textContent = "Stop";
  } catch (error) {
    await stop();
    view.say(`It cannot listen: ${/** @type {Error} */ (error).message}`, true);
  }
  listen.disabled = false;
}

async function stop() {
  await microphone?.stop();
  microphone = null;
  listen.textContent = "Listen";
  view.show(null, null);
  view.say(READY);
}

/** @param {import("../index.js").MicrophoneEvent} event */
function show(event) {
  if (event.event === "ready") {
    view.setWords(event.labels, event.thresholds);
    view.say("Listening.");
  } else if (event.event === "rows") {
    view.show(event.level, event.posteriors);
  } else if (event.event === "detection") {
    view.add({ ...event, time: Date.now() / 1000 });
  } else {
    stop().then(() => view.say(event.message, true));
  }
}
