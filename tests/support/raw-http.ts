import { connect } from "node:net";

/** An answer as it came over the wire. */
export interface RawAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

const DEADLINE_MS = 20_000;

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

function parse(text: string): RawAnswer {
  const [head = "", body = ""] = text.split("\r\n\r\n", 2);
  const [statusLine = "", ...lines] = head.split("\r\n");
  const headers = lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
  });
  return { status: Number(statusLine.split(" ")[1]), headers: new Map(headers), body };
}
