import { connect } from "node:net";

/** An answer as it came over the wire. */
export interface RawAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

const DEADLINE_MS = 60_000;

/**
 * Sends `text` as it stands to the server of `url` and reads until that closes the connection, so ask it to.
 *
 * For what `fetch` would correct: the Host header, the address that the connection comes from, a body's framing.
 */
export function rawRequest(url: string, text: string, localAddress?: string): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    let received = "";
    const to = { port: Number(port), host: hostname.replace(/^\[(.*)\]$/, "$1") };
    const socket = connect({ ...to, ...(localAddress ? { localAddress } : {}) }, () => socket.write(text));
    socket.setTimeout(DEADLINE_MS, () => socket.destroy(new Error("no answer")));
    socket.setEncoding("utf8");
    socket.on("data", (chunk) => (received += String(chunk)));
    socket.on("error", reject);
    socket.on("close", () => resolve(parse(received)));
  });
}

/** A GET with these headers, each as a line of its own; nothing is added but the wish to close. */
export function rawGet(
  url: string,
  path: string,
  headers: readonly string[],
  localAddress?: string,
): Promise<RawAnswer> {
  const lines = [`GET ${path} HTTP/1.1`, ...headers, "Connection: close", "", ""];
  return rawRequest(url, lines.join("\r\n"), localAddress);
}

/**
 * Sends `text`, one byte a character, and `tail` behind its first answer unless that ends the connection; then reads until
 * the server closes. Gives every answer in turn, the server's own short ones too; none when it just closed.
 *
 * Whether the tail is answered tells whether the server still knows where a request begins.
 */
export function rawExchange(url: string, text: string, tail: string): Promise<RawAnswer[]> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    let received = "";
    let isTailSent = false;
    const socket = connect({ port: Number(port), host: hostname }, () => socket.write(text, "latin1"));
    const timer = setTimeout(() => {
      reject(new Error(`the server neither answers all nor closes; it said: ${received.slice(0, 200)}`));
      socket.destroy();
    }, DEADLINE_MS);
    socket.setEncoding("latin1");
    socket.on("data", (chunk) => {
      received += String(chunk);
      if (isTailSent || answersIn(received).length === 0 || /\r\nconnection: close\r\n/i.test(received))
        return;
      isTailSent = true;
      socket.write(tail);
    });
    // A server that closes with bytes unread resets the connection: closed is closed.
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(answersIn(received));
    });
  });
}

/** The complete answers at the beginning of `text`, which has a character for each byte. */
function answersIn(text: string): RawAnswer[] {
  const answers: RawAnswer[] = [];
  for (let rest = text; rest !== "";) {
    const end = rest.indexOf("\r\n\r\n");
    if (end === -1) break;
    const head = parse(rest.slice(0, end));
    const length = Number(head.headers.get("content-length") ?? 0);
    const body = rest.slice(end + 4, end + 4 + length);
    if (body.length < length) break;
    answers.push({ ...head, body: Buffer.from(body, "latin1").toString("utf8") });
    rest = rest.slice(end + 4 + length);
  }
  return answers;
}

function parse(text: string): RawAnswer {
  const [head = "", body = ""] = text.split("\r\n\r\n", 2);
  const [statusLine = "", ...lines] = head.split("\r\n");
  const headers = lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
  });
  return { status: Number(statusLine.split(" ")[1]), headers: new Map(headers), body };
}
