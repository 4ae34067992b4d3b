// One microphone on the page: its state, level, posteriors and detections.

const SHOWN_MS = 1500; // a detected word stands out for so long
const KEPT = 50; // detections

export class View {
  #part;
  /** @type {string[]} */
  #labels = [];
  /** @type {Map<string, HTMLElement>} */
  #words = new Map();

  /** @param {HTMLElement} section */
  constructor(section) {
    const template = /** @type {HTMLTemplateElement} */ (document.getElementById("view"));
    section.append(template.content.cloneNode(true));
    this.#part = (/** @type {string} */ selector) =>
      /** @type {any} */ (section.querySelector(selector));
  }

  /**
   * @param {string} text
   * @param {boolean} [problem]
   */
  say(text, problem = false) {
    const state = this.#part(".state");
    state.textContent = text;
    state.classList.toggle("problem", problem);
  }

  /**
   * @param {string[]} labels in the order of the posteriors
   * @param {Record<string, number>} thresholds
   */
  setWords(labels, thresholds) {
    this.#labels = labels;
    this.#words = new Map(
      Object.entries(thresholds).map(([word, threshold]) => {
        const mark = element("div", "threshold");
        mark.style.left = `${100 * threshold}%`;
        const track = element("div", "track");
        track.append(element("div", "bar"), mark);
        const item = element("li");
        item.append(element("span", "", word), track);
        return [word, item];
      }),
    );
    this.#part(".words").replaceChildren(...this.#words.values());
  }

  /**
   * @param {number | null} level in dB of full scale; null: unknown
   * @param {ArrayLike<number> | null} posteriors null: the gate is closed
   */
  show(level, posteriors) {
    this.#part("meter").value = level ?? -80;
    this.#part("output").textContent = level === null ? "" : `${level.toFixed(0)} dBFS`;
    this.#words.forEach((item, word) => {
      const posterior = posteriors?.[this.#labels.indexOf(word)] ?? 0;
      const bar = /** @type {HTMLElement} */ (item.querySelector(".bar"));
      bar.style.clipPath = `inset(0 ${100 - 100 * posterior}% 0 0 round 0.35rem)`;
    });
  }

  /**
   * @param {{ keyword: string, score: number, end: number, time?: number | null }} detection
   *   `time` in Unix seconds; of a recording, which has none, `end` is shown
   */
  add({ keyword, score, end, time }) {
    const when = time ? new Date(1000 * time).toLocaleTimeString() : `${end.toFixed(1)} s`;
    const item = element("li");
    item.append(
      element("strong", "", keyword),
      element("span", "", score.toFixed(2)),
      element("time", "", when),
    );
    const list = this.#part(".detections");
    list.prepend(item);
    while (list.children.length > KEPT) {
      list.lastChild.remove();
    }
    const word = this.#words.get(keyword);
    word?.classList.add("detected");
    setTimeout(() => word?.classList.remove("detected"), SHOWN_MS);
  }

  /** Forget the detections. */
  clear() {
    this.#part(".detections").replaceChildren();
  }
}

/**
 * @param {string} name
 * @param {string} [kind] its class
 * @param {string} [text]
 */
function element(name, kind = "", text = "") {
  const made = document.createElement(name);
  made.className = kind;
  made.textContent = text;
  return made;
}
