// Copies the scripts that pages use from node_modules to where the hub serves them, each with its version and the
// licences of all it carries. The folder is ignored by git and part of the wheel.
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const packages = join(here, "node_modules");
const to = join(here, "..", "src", "chambit", "web", "vendor");
const WANTED = [
  { name: "@niivue/niivue", as: "niivue", script: "dist/niivue.umd.js",
    beside: "Roboto, the letters on the pictures (Apache-2.0): https://www.apache.org/licenses/LICENSE-2.0\n" },
  { name: "openseadragon", as: "openseadragon", script: "build/openseadragon/openseadragon.min.js" },
];
const OWN = { "@niivue/niivue": join(here, "licences", "niivue.txt") };  // its package lacks it

const about = (name) => JSON.parse(readFileSync(join(packages, name, "package.json"), "utf8"));

function carried(name, found = new Map()) {
  if (found.has(name)) return found;
  found.set(name, about(name));
  for (const other of Object.keys(found.get(name).dependencies ?? {})) carried(other, found);
  return found;
}

function licence(name) {
  if (OWN[name]) return OWN[name];
  const file = readdirSync(join(packages, name)).find((one) => /^licen[cs]e(\.|$)/i.test(one));
  if (!file) throw new Error(`${name} has no licence file: put its text into licences/ and name it here`);
  return join(packages, name, file);
}

for (const one of WANTED) {
  const script = join(packages, one.name, one.script);
  if (!existsSync(script)) throw new Error(`${script} is missing`);
  const texts = [...carried(one.name)].map(
    ([name, each]) => `${name} ${each.version} (${each.license})\n\n${readFileSync(licence(name), "utf8").trim()}\n`,
  );
  if (one.beside) texts.push(one.beside);
  const folder = join(to, one.as);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  copyFileSync(script, join(folder, one.script.split("/").pop()));
  writeFileSync(join(folder, "LICENCES.txt"), texts.join(`\n${"-".repeat(80)}\n\n`));
  writeFileSync(join(folder, "VERSION"), `${about(one.name).version}\n`);
}
