/** What a user or a file got wrong: what was expected, what came, and what to do. */
export class KwsError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "KwsError";
  }
}
