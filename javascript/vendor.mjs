// Copies NiiVue from node_modules to where the hub serves it, with its version and the licences of all it carries.
// The folder is ignored by git and part of the wheel. NiiVue's package lacks its own licence: that stands in licences/.
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const packages = join(here, "node_modules");
const to = join(here, "..", "src", "chambit", "web", "vendor", "niivue");
const OWN = { "@niivue/niivue": join(here, "licences", "niivue.txt") };

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

const made = about("@niivue/niivue");
const script = join(packages, "@niivue", "niivue", "dist", "niivue.umd.js");
if (!existsSync(script)) throw new Error(`${script} is missing`);
const texts = [...carried("@niivue/niivue")].map(
  ([name, one]) => `${name} ${one.version} (${one.license})\n\n${readFileSync(licence(name), "utf8").trim()}\n`,
);
texts.push("Roboto, the letters on the pictures (Apache-2.0): https://www.apache.org/licenses/LICENSE-2.0\n");
rmSync(to, { recursive: true, force: true });
mkdirSync(to, { recursive: true });
copyFileSync(script, join(to, "niivue.umd.js"));
writeFileSync(join(to, "LICENCES.txt"), texts.join(`\n${"-".repeat(80)}\n\n`));
writeFileSync(join(to, "VERSION"), `${made.version}\n`);
