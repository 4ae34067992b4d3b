// From posteriors to detections; knows nothing of audio or models. kws/decision.py in JavaScript,
// for one stream: the same rules under the same names, explained there.

const SILENCE = "silence";
const UNKNOWN = "unknown";
const STEP_MS = 20; // from one row of posteriors to the next
const KEYWORD_CONTEXT_WEIGHT = 0.25; // how much of a posterior is other speech, if none is detected

const WORD_MS = 600; // before a score rises, its word has begun no earlier than this
// So far below its loudest a word is over, and up to so far another begins, after so many rows.
const PAUSE_DB = 12.0;
const ONSET_DB = 8.0;
const RUN_ROWS = 80 / STEP_MS;
const APART_ROWS = 400 / STEP_MS; // from one word's onset to that of the next, at least
const RISE_ROWS = 300 / STEP_MS; // from the onset of a word to the rise of its posterior, at most
const LEVEL_ROWS = 400 / STEP_MS; // a row of posteriors is about the loudest of so many up to it

/** Smoothing, thresholds, isolation, one detection per word, and the refractory period. */
export class Decider {
  #config;
  #keywords;
  #usesContext;
  #usesLevels;
  #context; // the column of other speech; before it lie those of the keywords
  #width;
  #columns;
  #thresholds;
  #released;
  #smoothed;
  #contextEnd;
  #contextBegin;
  #longest;
  #rearming;
  #held;
  #history;
  /** @type {Float32Array[]} */
  #rows = []; // the latest last: keywords, other speech, level
  /** @type {boolean[]} */
  #armed = [];
  #count = 0; // rows since the stream began
  #refractoryUntil = 0; // the row in which something may be detected again
  #onset = 0; // rows before the word that was detected last
  /** @type {number[]} */
  #since = []; // the row before which a posterior counts as low: it was that of the word before

  /**
   * @param {readonly string[]} labels in the order of the posteriors
   * @param {Readonly<Record<string, number>>} thresholds
   * @param {import("./index.js").DecisionConfig} config the manifest's section `decision`
   * @param {readonly string[]} [keywords] those to detect; default: all
   */
  constructor(labels, thresholds, config, keywords) {
    this.#config = config;
    this.#keywords = labels.filter((label) => label !== SILENCE && label !== UNKNOWN);
    this.#usesContext = labels.includes(UNKNOWN) && config.context_ms >= STEP_MS;
    this.#usesLevels = config.faint_db > 0.0 || config.hold_ms > 0;
    this.#context = this.#keywords.length;
    this.#width = this.#context + Number(this.#usesContext) + Number(this.#usesLevels);
    const columns = this.#usesContext ? [...this.#keywords, UNKNOWN] : this.#keywords;
    this.#columns = columns.map((label) => labels.indexOf(label));
    this.#thresholds = this.#keywords.map((keyword) => thresholds[keyword] ?? config.threshold);
    this.#released = this.#thresholds.map((threshold, column) =>
      keywords && !keywords.includes(this.#keywords[column])
        ? Infinity // never up
        : Math.fround(threshold * config.release),
    );
    this.#smoothed = Math.max(1, rowsIn(config.smoothing_ms));
    this.#contextEnd = this.#smoothed + rowsIn(config.lead_ms); // rows ago
    this.#contextBegin = this.#contextEnd + rowsIn(config.context_ms);
    this.#longest = Math.max(1, rowsIn(config.longest_ms));
    this.#rearming = Math.max(1, rowsIn(config.rearm_ms));
    const oldest = this.#contextBegin + LEVEL_ROWS - 1;
    this.#held = rowsIn(config.hold_ms);
    this.#history = Math.max(oldest, this.#longest + 1, this.#rearming, 2 * this.#held);
    this.reset();
  }

  /** Forget the rows and detections so far. */
  reset() {
    const { length } = this.#keywords;
    this.#rows = Array.from({ length: this.#history + 1 }, () => new Float32Array(this.#width));
    this.#armed = Array(length).fill(true);
    this.#since = Array(length).fill(0);
    this.#count = this.#refractoryUntil = this.#onset = 0;
  }

  /**
   * Let so many steps pass in which the gate was closed.
   * @param {number} rows
   */
  rest(rows) {
    const kept = Math.min(rows, this.#history);
    for (let row = 0; row < kept; row++) {
      this.#decide(new Float32Array(this.#width));
    }
    this.#count += rows - kept;
  }

  /**
   * Take the next rows, one per 20 ms; returns what has been spoken.
   * @param {readonly ArrayLike<number>[]} posteriors
   * @param {ArrayLike<number>} [levels] in dB, one per row
   * @returns {import("./index.js").Detection[]}
   */
  update(posteriors, levels) {
    const detections = [];
    for (const [index, row] of posteriors.entries()) {
      const kept = new Float32Array(this.#width);
      this.#columns.forEach((column, place) => {
        kept[place] = Number.isFinite(row[column]) ? row[column] : 0.0;
      });
      if (this.#usesContext) {
        kept[this.#context] += keywordContext(kept.subarray(0, this.#context));
      }
      if (this.#usesLevels) {
        kept[this.#width - 1] = levels ? levels[index] : 0.0;
      }
      const detection = this.#decide(kept);
      if (detection) {
        detections.push(detection);
      }
    }
    return detections;
  }

  /**
   * What one more row decides.
   * @param {Float32Array} row
   */
  #decide(row) {
    const rows = this.#rows;
    rows.shift();
    rows.push(row);
    const count = ++this.#count;
    const up = this.#released.map((released, column) => row[column] >= released);
    if (this.#armed.includes(false)) {
      this.#leaveOut(row);
      const latest = rows.slice(-this.#rearming);
      this.#released.forEach((released, column) => {
        this.#armed[column] ||= latest.every((past) => past[column] < released);
      });
      if (this.#held) {
        this.#armRepeated();
      }
    }
    const spoken = this.#spoken(up.map((isUp, column) => isUp && this.#armed[column]));
    if (!spoken || count <= this.#refractoryUntil) {
      return null;
    }
    const { best, score, rise } = spoken;
    this.#onset = count - rise - RISE_ROWS;
    this.#refractoryUntil = count + rowsIn(this.#config.refractory_ms) - 1;
    this.#armed[best] = false;
    if (this.#usesContext) {
      rows.forEach((past) => (past[this.#context] = 0.0)); // all of it so far has led to this
    }
    return {
      keyword: this.#keywords[best],
      score,
      start: Math.max(0, (count - rise) * STEP_MS - WORD_MS) / 1000,
      end: (count * STEP_MS) / 1000,
    };
  }

  /** Arm keywords that the latest row shows to be said once more. */
  #armRepeated() {
    if (!this.#armed.includes(false)) {
      return;
    }
    const count = this.#count;
    const before = Math.max(this.#onset, count - this.#history, 0);
    if (count - before < this.#held) {
      return;
    }
    const levels = this.#rows.slice(before - count).map((row) => row[this.#width - 1]);
    const again = repeatedOnset(levels, this.#held);
    if (again !== null) {
      this.#armed.forEach((isArmed, column) => {
        if (!isArmed) {
          this.#since[column] = before + again + RISE_ROWS + 1;
        }
      });
      this.#armed.fill(true);
    }
  }

  /**
   * Take what disarmed keywords have of a row from its speech: the rest of a word that has been
   * detected.
   * @param {Float32Array} row
   */
  #leaveOut(row) {
    if (this.#usesContext) {
      const own = Float32Array.from(this.#armed, (armed, column) => (armed ? 0.0 : row[column]));
      row[this.#context] -= keywordContext(own);
    }
  }

  /**
   * What the latest row decides, where it may: the keyword's column, its score, and how many rows
   * ago its posterior rose.
   * @param {boolean[]} up which armed keywords are
   */
  #spoken(up) {
    if (!up.includes(true)) {
      return null;
    }
    const rows = this.#rows;
    const smoothed = rows.slice(-this.#smoothed);
    const scores = up.map((isUp, column) => (isUp ? mean(smoothed, (row) => row[column]) : 0.0));
    const reached = up.map((isUp, column) => isUp && scores[column] >= this.#thresholds[column]);
    if (!reached.includes(true)) {
      return null; // as in most rows; the rest can only forbid what this allows
    }
    const speech = this.#speech();
    const recent = rows.slice(-this.#longest - 1);
    /** @type {{ best: number, score: number, rise: number } | null} */
    let found = null;
    for (const [column, isReached] of reached.entries()) {
      const threshold = this.#thresholds[column];
      if (!isReached || scores[column] < threshold + speech * (1.0 - threshold)) {
        continue;
      }
      const since = this.#since[column] - this.#count + this.#longest; // its place in `recent`
      const high = recent.map((row, place) => row[column] >= this.#released[column] && place >= since);
      const rise = high.reverse().indexOf(false);
      if (rise >= 0 && !(found && found.score >= scores[column])) {
        found = { best: column, score: scores[column], rise };
      }
    }
    return found;
  }

  /** How much the thresholds rise on the way to 1 for earlier speech. */
  #speech() {
    if (!this.#usesContext) {
      return 0.0;
    }
    const rows = this.#rows;
    const begin = rows.length - this.#contextBegin;
    const end = rows.length - this.#contextEnd;
    const context = rows.slice(begin, end).map((row) => row[this.#context]);
    if (this.#config.faint_db > 0.0) {
      const levels = rows.map((row) => row[this.#width - 1]);
      const first = begin - LEVEL_ROWS + 1;
      const weights = contextWeights(levels.slice(first, end), levels.slice(end), this.#config);
      weights.forEach((weight, place) => (context[place] *= weight));
    }
    return this.#config.isolation * mean(context, (value) => value);
  }
}

/**
 * Where a word was said once more, as an index into `levels`; null where it was not.
 *
 * `levels` in dB, one per row, begin with the first word. That ended at least `held` rows ago. What
 * begins less than APART_ROWS after it is part of it: "stop" is silent before its t.
 * @param {number[]} levels
 * @param {number} held
 */
function repeatedOnset(levels, held) {
  const loudest = Math.max(...levels);
  const loud = levels.map((level) => loudest - level <= ONSET_DB);
  const faint = levels.map((level) => loudest - level > PAUSE_DB);
  const word = run(loud, 0);
  let pause = run(faint, word);
  let onset = run(loud, pause);
  while (onset < Math.min(word + APART_ROWS, levels.length)) {
    pause = run(faint, onset);
    onset = run(loud, pause);
  }
  const enough = levels.length - pause >= held && levels.length - onset > RISE_ROWS;
  return enough ? onset : null;
}

/**
 * From `first` on, where RUN_ROWS in a row are true; the end where they never are.
 * @param {boolean[]} flags
 * @param {number} first
 */
function run(flags, first) {
  let length = 0;
  for (let index = first; index < flags.length; index++) {
    length = flags[index] ? length + 1 : 0;
    if (length === RUN_ROWS) {
      return index + 1 - RUN_ROWS;
    }
  }
  return flags.length;
}

/**
 * How much each row of a context counts, in [0, 1], by levels in dB: of the context and the
 * LEVEL_ROWS - 1 rows before it, and of the word and what followed.
 * @param {number[]} context
 * @param {number[]} word
 * @param {import("./index.js").DecisionConfig} config
 */
function contextWeights(context, word, config) {
  const loudest = Math.max(...word);
  return context.slice(LEVEL_ROWS - 1).map((_, place) => {
    const below = loudest - Math.max(...context.slice(place, place + LEVEL_ROWS));
    const weight = (config.faint_db - below) / (config.faint_db - config.loud_db);
    return Math.min(Math.max(weight, 0.0), 1.0);
  });
}

/**
 * What posteriors of keywords add to other speech.
 * @param {Float32Array} row
 */
function keywordContext(row) {
  return row.reduce((sum, posterior) => sum + posterior, 0.0) * KEYWORD_CONTEXT_WEIGHT;
}

/**
 * @template Row
 * @param {Row[]} rows
 * @param {(row: Row) => number} value
 */
function mean(rows, value) {
  return rows.reduce((sum, row) => sum + value(row), 0.0) / rows.length;
}

/** @param {number} milliseconds */
function rowsIn(milliseconds) {
  return Math.floor(milliseconds / STEP_MS);
}
