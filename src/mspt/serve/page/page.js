// The page of `mspt serve`: photos in, cards out, best first; and a live meter for the webcam.
// Photos are sent to the server that the page came from, one at a time, and to nobody else; or they
// are scored in this browser (device/, built from web/) and sent to nobody at all.

const AT_ONCE = 4; // requests at a time
const LIVE_MS = 250; // least time between two scores of the webcam
const TRIES = 60; // of a request that is told to come back
const ADVICE = {
  blurred: "Hold still, and let the camera focus.",
  noisy: "Find more light.",
  dark: "Turn to the light.",
  bright: "Move away from the light, or lower the exposure.",
  flat: "Wipe the lens, or turn away from the window.",
  small: "Come closer.",
  blocky: "Use a better connection or camera setting.",
  colour_cast: "Find white light.",
  uneven_light: "Turn until both sides are lit.",
};
const PHOTO = /\.(jpe?g|jfif|png|webp|avif|hei[cf]|hif|jp2|bmp|gif|tiff?)$/i;

const byId = (id) => document.getElementById(id);
const cards = []; // {name, url, row, node}
let waiting = [];
let running = 0;
let failed = 0;
let passedOver = 0; // files that are no photos
let generation = 0; // raised by clear: what was on its way then is dropped
let locked = false; // the server wants a token first; photos wait

byId("host").textContent = location.host;

// ---- who scores ----

const MODELS = new URL("device/models.json", location.href).href;
let device = null; // a promise of what scores in this browser
let findsHere = false; // whether faces can be found in this browser

const isHere = () => byId("here").checked;

/** Offer to score in this browser where the page can; without a server it is the only way. */
async function offerDevice() {
  const about = await (await fetch(MODELS)).json();
  const names = Object.keys(about.models);
  byId("here-label").hidden = !names.length || !about.server;
  byId("docs").hidden = !about.server;
  findsHere = Boolean(about.detector);
  for (const name of names) byId("model").add(new Option(name, name));
  byId("here").checked = !about.server;
  changePlace();
}

/** Say where photos are scored, and offer what is possible there. */
function changePlace() {
  byId("where-server").hidden = isHere();
  byId("where-here").hidden = byId("model-label").hidden = !isHere();
  byId("detect-label").hidden = isHere() && !findsHere;
  closeDevice();
  unlock();
}

/** Go on with the photos that waited for a token. */
function unlock() {
  locked = false;
  start();
}

function closeDevice() {
  device?.then((opened) => opened.close()).catch(() => {});
  device = null;
}

/** Return the rows of one photo; throws an Error whose message is for people. */
async function score(blob, options) {
  if (!isHere()) return askServer(blob, options);
  device ??= import("./device/device.js")
    .then(({ Device }) => Device.open(MODELS, byId("model").value))
    .catch((error) => {
      device = null; // the next photo tries again
      throw error;
    });
  return (await device).score(blob, Boolean(options.detect) && findsHere);
}

/** Ask the server for the rows of one photo; throws an Error whose message is for people. */
async function askServer(blob, options) {
  const query = new URLSearchParams(options);
  const headers = { "Content-Type": blob.type.startsWith("image/") ? blob.type : "application/octet-stream" };
  const token = byId("token").value;
  if (token) headers.Authorization = `Bearer ${token}`;
  for (let tries = 1; ; tries++) {
    const answer = await fetch(`v1/score?${query}`, { method: "POST", headers, body: blob });
    if (answer.ok) return (await answer.json()).rows;
    const problem = await answer.json().catch(() => ({ detail: answer.statusText }));
    if ((answer.status === 503 || answer.status === 429) && tries < TRIES) {
      const seconds = Number(answer.headers.get("Retry-After")) || 1;
      await new Promise((done) => setTimeout(done, 1000 * seconds));
      continue;
    }
    throw Object.assign(new Error(problem.detail), { name: answer.status === 401 ? "Locked" : "Error" });
  }
}

/** Take files that may be photos; say how many others there were. */
function add(files) {
  const photos = [...files].filter((file) => file.type.startsWith("image/") || PHOTO.test(file.name));
  const others = [...files].length - photos.length;
  if (photos.length + others) byId("results").hidden = false;
  passedOver += others;
  if (!photos.length) return others && say(summary());
  waiting.push(...photos);
  start();
}

function start() {
  for (let i = running; i < Math.min(AT_ONCE, running + waiting.length); i++) work();
}

async function work() {
  running++;
  while (waiting.length && !locked) {
    say(`${waiting.length + running - 1} photos to go`);
    await scoreFile(waiting.shift());
  }
  running--;
  if (!running) say(locked ? `The server asks for its token; ${waiting.length} photos wait for it.` : summary());
}

async function scoreFile(file) {
  const name = file.path || file.webkitRelativePath || file.name || "pasted photo";
  const begun = generation;
  try {
    const detect = byId("detect").checked;
    const rows = await score(file, { factors: true, crop: true, detect });
    if (begun !== generation) return;
    for (const row of rows) {
      if (row.status === "ok") place(name, `data:image/jpeg;base64,${row.crop}`, row);
      else fail(name, row.error || "no face found");
    }
  } catch (error) {
    if (begun !== generation) return;
    if (error.name === "Locked" || error.name === "Closed") waiting.unshift(file); // it takes another turn
    if (error.name === "Locked") lock();
    else if (error.name !== "Closed") fail(name, error instanceof TypeError ? "the server cannot be reached" : error.message);
  }
}

function lock() {
  if (locked) return;
  locked = true;
  byId("token-label").hidden = false;
  byId("token").value = ""; // none, or a wrong one
  byId("token").focus();
}

function fail(name, why) {
  failed++;
  cards.push({ name, row: { score: null, reasons: why } });
  show(cards.at(-1), "");
}

function place(name, url, row) {
  cards.push({ name, row });
  show(cards.at(-1), url);
}

/** Put a card where its score belongs: the best first, what failed last. */
function show(card, url) {
  const { row, name } = card;
  const node = document.createElement("li");
  if (url) {
    const picture = document.createElement("img");
    picture.src = url;
    picture.alt = `the scored square of ${name}`;
    node.append(picture);
  }
  const text = document.createElement("div");
  const face = row.n_faces > 1 ? `, face ${row.face + 1} of ${row.n_faces}` : "";
  const scored = row.score !== null;
  text.append(
    line("p", scored ? row.score.toFixed(3) : "not scored", `score ${row.band ?? ""}`),
    line("p", scored ? `${row.band}, better than ${Math.round(row.percentile)} of 100 (${row.model})` : row.reasons),
    line("p", scored ? row.reasons : ""),
    line("p", "kept", "kept"),
    line("p", name + face, "name"),
  );
  node.append(text);
  card.node = node;
  const value = row.score ?? -1;
  const after = cards.filter((c) => c.node && c !== card && (c.row.score ?? -1) < value);
  const next = after.sort((a, b) => (b.row.score ?? -1) - (a.row.score ?? -1))[0];
  byId("cards").insertBefore(node, next?.node ?? null);
  mark(card);
}

function line(tag, text, className = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  node.className = className;
  node.hidden = !text;
  return node;
}

const least = () => Number(byId("least").value);
const isKept = (card) => card.row.score !== null && card.row.score >= least();

/** Say on a card whether it is kept, in words and in looks. */
function mark(card) {
  card.node.classList.toggle("below", !isKept(card));
  card.node.querySelector(".kept").textContent = isKept(card) ? "kept" : "not kept";
}
const say = (text) => (byId("status").textContent = text);

function summary() {
  const kept = cards.filter(isKept).length;
  const lost = failed ? `, ${failed} not scored` : "";
  const others = passedOver ? `, ${passedOver} other files passed over` : "";
  return `${cards.length - failed} scored${lost}${others}; ${kept} have ${least()} or more`;
}

function download() {
  const quote = (cell) => `"${String(cell).replaceAll('"', '""').replace(/^([=+\-@])/, "./$1")}"`;
  const kept = cards.filter(isKept).sort((a, b) => b.row.score - a.row.score);
  const lines = kept.map(({ name, row }) => [name, row.score, row.band, row.reasons, row.model].map(quote).join(","));
  const blob = new Blob([["path,score,band,reasons,model", ...lines, ""].join("\n")], { type: "text/csv" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = "kept.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function clear() {
  waiting = [];
  locked = false;
  generation++;
  cards.length = failed = passedOver = 0;
  byId("cards").replaceChildren();
  byId("results").hidden = true;
}

// ---- folders that are dropped ----

/** Return the files of a dropped file or folder, each with its path; what cannot be read is left out. */
async function filesOf(entry) {
  try {
    if (entry.isFile) {
      const file = await new Promise((done, no) => entry.file(done, no));
      file.path = entry.fullPath.replace(/^\//, "");
      return [file];
    }
    const reader = entry.createReader();
    const found = [];
    for (;;) {
      const some = await new Promise((done, no) => reader.readEntries(done, no));
      if (!some.length) return found;
      for (const inner of some) found.push(...(await filesOf(inner)));
    }
  } catch {
    return [];
  }
}

async function dropped(event) {
  event.preventDefault();
  byId("drop").classList.remove("over");
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = entries.length ? (await Promise.all(entries.map(filesOf))).flat() : event.dataTransfer.files;
  add(files);
}

// ---- webcam ----

let stream = null;
let newest = null; // the newest picture and its row

async function startWebcam() {
  if (byId("webcam").disabled) return;
  if (!navigator.mediaDevices) return say("The webcam cannot be used: browsers want https for it, or this very machine.");
  byId("webcam").disabled = true; // a second click would take a second camera
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: 1280, facingMode: "user" } });
    byId("video").srcObject = stream;
    await byId("video").play();
  } catch (error) {
    stopWebcam();
    return say(`The webcam cannot be used: ${error.message}`);
  }
  byId("live").hidden = false;
  const own = stream;
  while (stream === own) {
    const begun = performance.now();
    await scoreFrame();
    await new Promise((done) => setTimeout(done, Math.max(0, LIVE_MS - (performance.now() - begun))));
  }
}

async function scoreFrame() {
  const video = byId("video");
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
  try {
    const own = stream;
    const [row] = await score(blob, { factors: true, crop: true });
    if (stream !== own) return; // stopped meanwhile
    newest = row;
    byId("live-score").textContent = row.score.toFixed(2);
    byId("live-score").className = `score ${row.band}`;
    byId("live-band").textContent = row.band;
    byId("live-meter").value = row.score;
    const advice = ADVICE[row.reason_codes.split(" ")[0]] ?? ""; // one thing at a time
    if (byId("live-advice").textContent !== advice) byId("live-advice").textContent = advice;
  } catch (error) {
    if (error.name === "Locked") lock();
    byId("live-advice").textContent = error.message;
  }
}

function stopWebcam() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = newest = null;
  byId("webcam").disabled = false;
  byId("live").hidden = true;
}

function snap() {
  if (!newest) return;
  byId("results").hidden = false;
  place(`webcam ${new Date().toLocaleTimeString()}`, `data:image/jpeg;base64,${newest.crop}`, newest);
  say(summary());
}

// Anywhere on the page: a photo dropped beside the frame would else replace the page.
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("drop").classList.add("over");
});
document.addEventListener("dragleave", () => byId("drop").classList.remove("over"));
document.addEventListener("drop", dropped);
document.addEventListener("paste", (event) => add(event.clipboardData.files));
for (const id of ["files", "folder"])
  byId(id).addEventListener("change", ({ target }) => {
    add(target.files);
    target.value = "";
  });
byId("here").addEventListener("change", changePlace);
byId("model").addEventListener("change", closeDevice);
byId("token").addEventListener("change", unlock);
byId("least").addEventListener("input", () => {
  cards.forEach(mark);
  say(summary());
});
byId("download").addEventListener("click", download);
byId("clear").addEventListener("click", clear);
byId("webcam").addEventListener("click", startWebcam);
byId("stop").addEventListener("click", stopWebcam);
byId("snap").addEventListener("click", snap);
await offerDevice();
