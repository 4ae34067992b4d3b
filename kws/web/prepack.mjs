// What the npm package has beside this folder's files: the default model, and the licence. npm runs
// this before it packs, and afterwards with --remove.
import { copyFileSync, mkdirSync, readFileSync, rmSync } from "node:fs";

const models = new URL("../models/", import.meta.url);
const packed = new URL("./models/", import.meta.url);
const licence = new URL("./LICENSE", import.meta.url);

rmSync(packed, { recursive: true, force: true });
rmSync(licence, { force: true });
if (!process.argv.includes("--remove")) {
  const manifest = JSON.parse(readFileSync(new URL("commands.json", models), "utf8"));
  mkdirSync(packed);
  const artefacts = [manifest.artefacts["stream.onnx"], manifest.verifier.artefact];
  for (const name of ["commands.json", ...artefacts.map(({ file }) => file)]) {
    copyFileSync(new URL(name, models), new URL(name, packed));
  }
  copyFileSync(new URL("../../LICENSE", import.meta.url), licence);
}
