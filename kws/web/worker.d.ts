import type * as Ort from "onnxruntime-web";
import type { FvadModule } from "./index.js";

/**
 * Detect what a Microphone sends; call it once in a module worker. `fvad` is the default export of
 * @echogarden/fvad-wasm; without it the network never rests.
 */
export function serve(ort: typeof Ort, fvad?: () => Promise<FvadModule>): void;
