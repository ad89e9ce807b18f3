import { WX } from "../support/harness.ts";

/** Bytes that two readers could take for different requests, and how they end here. */
export interface SmugglingCase {
  readonly name: string;
  /** One byte a character. */
  readonly sent: string;
  /** The statuses of all answers; none when the connection is just closed. */
  readonly statuses: readonly number[];
  /** The routes that run, each as method and pattern; never the hidden request's. */
  readonly routes: readonly string[];
}

/** The request that is hidden in others; it would cost an upstream call. */
export const HIDDEN_ROUTE = "GET /AccessToken/getXcx";
const HIDDEN = `GET /AccessToken/getXcx?appid=${WX.appId} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
/** What follows an answer that leaves the connection open. */
export const TAIL = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const TAIL_ROUTE = "GET /livez";
const POST_ROUTE = "POST /JsSDK/getJsApiSign";
const POST = "POST /JsSDK/getJsApiSign HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
const GET = "GET / HTTP/1.1\r\nHost: localhost\r\n";
const EMPTY_CHUNKS = "0\r\n\r\n";
const HIDDEN_CHUNK = `${HIDDEN.length.toString(16)}\r\n${HIDDEN}\r\n`;

/** Refused at the head: nothing runs. */
const atHead = (name: string, head: string, body: string): SmugglingCase => ({
  name,
  sent: `${head}\r\n${body}`,
  statuses: [400],
  routes: [],
});

/** Seen only when the body is read: the route that was addressed runs, and fails. */
const inBody = (name: string, body: string, status = 400): SmugglingCase => ({
  name,
  sent: `${POST}Transfer-Encoding: chunked\r\n\r\n${body}`,
  statuses: [status],
  routes: [POST_ROUTE],
});

const twoLengths = `Content-Length: 2\r\nContent-Length: ${2 + HIDDEN.length}\r\n`;
const coded = (coding: string) => `${POST}Transfer-Encoding:${coding}\r\n`;

/** Every case; `{}` or empty chunks end the first reading's body, and what is hidden stands behind it. */
export const SMUGGLING: readonly SmugglingCase[] = [
  atHead(
    "CL.TE",
    `${POST}Content-Length: ${EMPTY_CHUNKS.length + HIDDEN.length}\r\nTransfer-Encoding: chunked\r\n`,
    `${EMPTY_CHUNKS}${HIDDEN}`,
  ),
  atHead(
    "TE.CL",
    `${POST}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n`,
    `${HIDDEN_CHUNK}${EMPTY_CHUNKS}`,
  ),
  atHead(
    "TE.TE, chunked and identity in two lines",
    `${coded(" chunked")}Transfer-Encoding: identity\r\n`,
    EMPTY_CHUNKS + HIDDEN,
  ),
  atHead(
    "TE.TE, chunked in two lines",
    `${coded(" chunked")}Transfer-Encoding: chunked\r\n`,
    EMPTY_CHUNKS + HIDDEN,
  ),
  atHead("TE.TE, chunked, identity in one line", coded(" chunked, identity"), EMPTY_CHUNKS + HIDDEN),
  atHead("a coding that is not known before chunked", coded(" gzip, chunked"), EMPTY_CHUNKS + HIDDEN),
  atHead("a coding of xchunked", coded(" xchunked"), EMPTY_CHUNKS + HIDDEN),
  atHead('a coding of "chunked" in quotes', coded(' "chunked"'), EMPTY_CHUNKS + HIDDEN),
  atHead("a coding of chunked behind a vertical tab", coded(" \x0bchunked"), EMPTY_CHUNKS + HIDDEN),
  atHead("a coding of chunked on a folded line", coded("\r\n chunked"), EMPTY_CHUNKS + HIDDEN),
  atHead("an empty coding", coded(" "), EMPTY_CHUNKS + HIDDEN),
  atHead(
    "an identity coding with a length",
    `${coded(" identity")}Content-Length: 5\r\n`,
    EMPTY_CHUNKS + HIDDEN,
  ),
  atHead(
    "a blank before the colon of Transfer-Encoding",
    `${POST}Transfer-Encoding : chunked\r\nContent-Length: 5\r\n`,
    EMPTY_CHUNKS + HIDDEN,
  ),
  atHead(
    "a NUL in the name of Transfer-Encoding",
    `${POST}Transfer-Encoding\0: chunked\r\nContent-Length: 5\r\n`,
    EMPTY_CHUNKS + HIDDEN,
  ),
  atHead(
    "Transfer-Encoding behind a bare LF",
    `${POST}X-A: 1\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n`,
    EMPTY_CHUNKS + HIDDEN,
  ),
  atHead(
    "Transfer-Encoding behind a bare CR",
    `${POST}X-A: 1\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n`,
    EMPTY_CHUNKS + HIDDEN,
  ),
  atHead("chunks in HTTP/1.0", coded(" chunked").replace("HTTP/1.1", "HTTP/1.0"), EMPTY_CHUNKS + HIDDEN),
  atHead("two lengths that differ", `${POST}${twoLengths}`, `{}${HIDDEN}`),
  atHead(
    "a list of lengths that differ",
    `${POST}Content-Length: 2, ${2 + HIDDEN.length}\r\n`,
    `{}${HIDDEN}`,
  ),
  ...["2, 2", "-1", "+2", "0x2", "2.0", "2e0", "2 2", "2a", "", "18446744073709551618", "9".repeat(30)].map(
    (length) => atHead(`a length of "${length}"`, `${POST}Content-Length: ${length}\r\n`, `{}${HIDDEN}`),
  ),
  atHead("headers that end in two bare LF", `${GET}X-A: 1\n`, `\n${HIDDEN}`),
  ...["0x2", "-2", "+2", "zz", "", "2 ", "10000000000000002", "ffffffffffffffff"].map((size) =>
    inBody(`a chunk of size "${size}"`, `${size}\r\n{}\r\n${EMPTY_CHUNKS}${HIDDEN}`),
  ),
  inBody("chunks with bare LF", `2\n{}\n0\n\n${HIDDEN}`),
  inBody("a chunk extension that ends in a bare LF", `2;a\n{}\r\n${EMPTY_CHUNKS}${HIDDEN}`),
  inBody("a chunk without its line's end", `2\r\n{}xx${EMPTY_CHUNKS}${HIDDEN}`),
  inBody("a chunk longer than it says", `2\r\n{}}\r\n${EMPTY_CHUNKS}${HIDDEN}`),
  inBody("a chunk extension of 20,000 characters", `2;${"a".repeat(20_000)}\r\n{}\r\n${EMPTY_CHUNKS}`, 413),
  {
    name: "trailing garbage behind the last chunk",
    sent: `${POST}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n${EMPTY_CHUNKS}garbage\r\n\r\n`,
    statuses: [200, 400],
    routes: [POST_ROUTE],
  },
  {
    name: "a request in the place of the trailers",
    sent: `${POST}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n${HIDDEN}`,
    statuses: [200, 400],
    routes: [POST_ROUTE],
  },
  {
    name: "a request in a body of that length",
    sent: `${POST}Content-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`,
    statuses: [200, 200],
    routes: [POST_ROUTE, TAIL_ROUTE],
  },
  {
    name: "a request in a chunk",
    sent: `${POST}Transfer-Encoding: chunked\r\n\r\n${HIDDEN_CHUNK}${EMPTY_CHUNKS}`,
    statuses: [200, 200],
    routes: [POST_ROUTE, TAIL_ROUTE],
  },
  {
    name: "a request in the body of a GET",
    sent: `${GET}Content-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`,
    statuses: [200, 200],
    routes: ["GET /", TAIL_ROUTE],
  },
  {
    name: "a request in the body of a path that is not there",
    sent: `POST /nope HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`,
    statuses: [200, 200],
    routes: ["POST (none)", TAIL_ROUTE],
  },
  {
    name: "a request in the body of a bad Host",
    sent: `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`,
    statuses: [400, 200],
    routes: [TAIL_ROUTE],
  },
  {
    name: "a request in the body of a path with dots",
    // It is what it resolves to, where there is no POST.
    sent: `POST /x/../livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`,
    statuses: [405, 200],
    routes: ["POST (none)", TAIL_ROUTE],
  },
  {
    name: "a length in the place of the trailers",
    sent: `${POST}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n${HIDDEN}`,
    statuses: [200, 400],
    routes: [POST_ROUTE],
  },
  {
    name: "a request behind a length of 4 GiB and two bytes",
    sent: `${POST}Content-Length: 4294967298\r\nConnection: close\r\n\r\n{}${HIDDEN}`,
    statuses: [200],
    routes: [POST_ROUTE],
  },
];
