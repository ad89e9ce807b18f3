import { connect } from "node:net";

/** An answer as it came over the wire. */
export interface WireAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** The body without its framing. */
  readonly body: Buffer;
}

const DEADLINE_MS = 60_000;
const GO_ON = "HTTP/1.1 100 Continue\r\n\r\n";

/**
 * Sends `head` and `body` as they stand to the server of `url`, and reads one answer by its own framing: the connection may
 * be meant to stay open, as SDKs mean it. A head that expects to be told to go on is followed by its body when that is said.
 */
export function exchange(url: string, head: string, body: Uint8Array): Promise<WireAnswer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    let received: Buffer = Buffer.alloc(0);
    let isWaiting = /^Expect: 100-continue$/m.test(head.replaceAll("\r", ""));
    const socket = connect(Number(port), hostname, () => {
      socket.write(head);
      if (!isWaiting) socket.write(body);
    });
    const failure = (why: string) => new Error(`${why}: ${received.toString("latin1")}`);
    socket.setTimeout(DEADLINE_MS, () => socket.destroy(failure("no whole answer")));
    socket.on("error", reject);
    socket.on("close", () => reject(failure("closed before the answer was whole")));
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (isWaiting && received.toString("latin1").startsWith(GO_ON)) {
        isWaiting = false;
        received = received.subarray(GO_ON.length);
        socket.write(body);
      }
      const answer = answerIn(received);
      if (!answer) return;
      resolve(answer);
      socket.destroy();
    });
  });
}

/** The answer at the beginning of `received`; undefined while it isn't whole. */
function answerIn(received: Buffer): WireAnswer | undefined {
  const end = received.indexOf("\r\n\r\n");
  if (end === -1) return undefined;
  const [statusLine = "", ...lines] = received.toString("latin1", 0, end).split("\r\n");
  const headers = new Map(
    lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
    }),
  );
  const rest = received.subarray(end + 4);
  const isChunked = headers.get("transfer-encoding") === "chunked";
  const body = isChunked ? joinedChunks(rest) : counted(rest, Number(headers.get("content-length") ?? 0));
  return body && { status: Number(statusLine.split(" ")[1]), headers, body };
}

function counted(rest: Buffer, length: number): Buffer | undefined {
  return rest.length < length ? undefined : rest.subarray(0, length);
}

function joinedChunks(rest: Buffer): Buffer | undefined {
  const chunks: Buffer[] = [];
  for (let at = 0; ;) {
    const end = rest.indexOf("\r\n", at);
    if (end === -1) return undefined;
    const size = Number.parseInt(rest.toString("latin1", at, end), 16);
    if (rest.length < end + 2 + size + 2) return undefined;
    if (size === 0) return Buffer.concat(chunks);
    chunks.push(rest.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
}
