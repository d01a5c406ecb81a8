// A subscriber for Node without any package: the NATS protocol over TCP. `node subscriber.mjs CREDS PLACE_FILE`
// Prints each event as a line of JSON, and stores its place after it: at least once, in order, without gaps.
import net from "node:net";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";

const [credsFile, placeFile] = process.argv.slice(2);
const creds = JSON.parse(readFileSync(credsFile, "utf8"));
let place = existsSync(placeFile) ? JSON.parse(readFileSync(placeFile, "utf8")) : { generation: "", position: 0 };
const { hostname, port } = new URL(creds.url);
const socket = net.connect(Number(port), hostname);
const inbox = `_INBOX.node${process.pid}`;
let buffer = Buffer.alloc(0);

function store(generation, position) {
  place = { generation, position };
  writeFileSync(placeFile + ".new", JSON.stringify(place));
  renameSync(placeFile + ".new", placeFile);
}
function ask() {
  const question = JSON.stringify({ after: place.position, generation: place.generation, max: 100, wait_ms: 5000 });
  socket.write(`PUB read.${creds.cell}.events ${inbox} ${Buffer.byteLength(question)}\r\n${question}\r\n`);
}
function take(headers, payload) {
  if (headers === null) { // the end of an answer, the only message without headers
    const end = JSON.parse(payload.toString());
    if (end.error) { console.error(`${end.error}: ${end.text}`); process.exit(1); }
    store(end.generation, end.position);
    return ask();
  }
  const found = Object.fromEntries(headers.split("\r\n").slice(1).filter(Boolean).map((line) => line.split(/:\s*(.*)/s)));
  if (!found["ce-id"]) { console.error("nobody answers: is orderspine up?"); process.exit(1); }
  console.log(JSON.stringify({ position: Number(found["ce-position"]), stream: found["ce-subject"], type: found["ce-type"],
    data: payload.length ? JSON.parse(payload.toString()) : null }));
  store(found["ce-generation"], Number(found["ce-resume"]));
}
socket.on("data", (chunk) => {
  buffer = Buffer.concat([buffer, chunk]);
  for (;;) {
    const end = buffer.indexOf("\r\n");
    if (end < 0) return;
    const words = buffer.subarray(0, end).toString().split(" ");
    if (words[0] === "MSG" || words[0] === "HMSG") {
      const size = Number(words.at(-1)), from = end + 2;
      if (buffer.length < from + size + 2) return;
      const head = words[0] === "HMSG" ? Number(words.at(-2)) : 0;
      const headers = head ? buffer.subarray(from, from + head).toString() : null;
      const payload = buffer.subarray(from + head, from + size);
      buffer = buffer.subarray(from + size + 2);
      take(headers, payload);
      continue;
    }
    buffer = buffer.subarray(end + 2);
    if (words[0] === "INFO") {
      const hello = { user: creds.user, pass: creds.password, headers: true, no_responders: true, verbose: false, lang: "node", version: "1" };
      socket.write(`CONNECT ${JSON.stringify(hello)}\r\nSUB ${inbox} 1\r\n`);
      ask();
    } else if (words[0] === "PING") socket.write("PONG\r\n");
    else if (words[0] === "-ERR") { console.error(words.join(" ")); process.exit(1); }
  }
});
socket.on("close", () => process.exit(1));
