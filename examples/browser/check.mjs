// Open a page that `export` wrote in headless Chromium, choose a photo, and print the scores as JSON.
//
//   node check.mjs FOLDER/signs.html photo.jpg
//
// Needs `npm install` here, and Chromium: CHROMIUM, or /usr/bin/chromium.

import {createServer} from "node:http";
import {readFile, mkdtemp, rm} from "node:fs/promises";
import {tmpdir} from "node:os";
import path from "node:path";
import {chromium} from "playwright-core";

const TYPES = {".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"};
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

const [page, photo] = process.argv.slice(2).map((file) => path.resolve(file));
const modules = path.join(import.meta.dirname, "node_modules");

const server = createServer(async (request, response) => {
  const name = path.normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
  const file = name.startsWith("/node_modules/")
    ? path.join(modules, name.slice("/node_modules/".length)) : path.join(path.dirname(page), name);
  try {
    const content = await readFile(file);
    response.writeHead(200, {"Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream"});
    response.end(content);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

const profile = await mkdtemp(path.join(tmpdir(), "chromium-"));
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const context = await chromium.launchPersistentContext(profile, {executablePath, args: FLAGS});
try {
  const tab = await context.newPage();
  tab.on("pageerror", (error) => console.error(String(error)));
  await tab.goto(`http://127.0.0.1:${server.address().port}/${path.basename(page)}`);
  await tab.setInputFiles("input", photo);
  const output = tab.locator("output[data-scores]");
  await output.waitFor({timeout: 120_000});
  console.log(await output.getAttribute("data-scores"));
} finally {
  await context.close();
  server.close();
  await rm(profile, {recursive: true, force: true});
}
