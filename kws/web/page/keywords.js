// The worker of the browser's microphone.

import fvad from "./runtime/fvad.mjs";
import * as ort from "./runtime/ort.wasm.min.mjs";
import { serve } from "./kws-web/worker.js";

serve(ort, fvad);
