// What the npm package has beside this folder's files: the default model, and the licence.
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";

const models = new URL("../models/", import.meta.url);
const own = new URL("./models/", import.meta.url);
const manifest = JSON.parse(readFileSync(new URL("commands.json", models), "utf8"));

mkdirSync(own, { recursive: true });
for (const name of ["commands.json", manifest.artefacts["stream.onnx"].file]) {
  copyFileSync(new URL(name, models), new URL(name, own));
}
copyFileSync(new URL("../../LICENSE", import.meta.url), new URL("./LICENSE", import.meta.url));
