import { createServer, type Server } from "node:tls";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AddressInfo } from "node:net";
import type { FaultEffect } from "../../src/sandbox/fault.ts";
import { AnsweringServer, httpAnswer, type Responder } from "../support/answering-server.ts";
import type { FaultHarness } from "./fault-harness.ts";

const TOKEN = "/cgi-bin/stable_token";

/** A WeChat that fails in one way, while it is mounted. */
interface Mounted extends AsyncDisposable {
  /** Instead of the sandbox; undefined when it is the sandbox itself that fails. */
  readonly url: string | undefined;
  /** How many requests have reached it; undefined where none can. */
  readonly attempts: () => number | undefined;
}

/** One way in which WeChat can fail. */
export interface UpstreamFault {
  readonly name: string;
  readonly mount: (world: FaultHarness) => Promise<Mounted>;
}

/** What the sandbox itself can do wrong. */
function bySandbox(name: string, effect: FaultEffect): UpstreamFault {
  return {
    name,
    mount: async ({ sandbox }) => {
      const before = sandbox.calls(TOKEN);
      sandbox.inject({ ...effect, endpoint: TOKEN, times: Number.POSITIVE_INFINITY });
      return {
        url: undefined,
        attempts: () => sandbox.calls(TOKEN) - before,
        [Symbol.asyncDispose]: async () => sandbox.clearFaults(),
      };
    },
  };
}

/** What needs a server that answers byte by byte. */
function byBytes(name: string, respond: Responder): UpstreamFault {
  return {
    name,
    mount: async () => {
      const server = await AnsweringServer.start(respond);
      return {
        url: server.url,
        attempts: () => server.requests.length,
        [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
      };
    },
  };
}

/** What fails before anybody is asked. */
function byAddress(name: string, url: string): UpstreamFault {
  return {
    name,
    mount: async () => ({ url, attempts: () => undefined, [Symbol.asyncDispose]: async () => {} }),
  };
}

const RIGHT = JSON.stringify({ access_token: "70_drip".padEnd(136, "x"), expires_in: 7200 });
const OF = { "Content-Type": "application/json" };
const raw = (name: string, body: string, contentType = "application/json", status?: number) =>
  bySandbox(name, { kind: "raw", body, contentType, ...(status === undefined ? {} : { status }) });
const errcode = (code: number | string, errmsg = "refused") =>
  bySandbox(`errcode ${typeof code === "string" ? `as text, "${code}"` : code}`, {
    kind: "error",
    errcode: code,
    errmsg,
  });
const field = (name: string, which: string, value?: unknown) =>
  bySandbox(name, { kind: "field", field: which, value });

/** A server that speaks no TLS where TLS is expected. */
const NO_TLS: UpstreamFault = {
  name: "TLS: the server speaks none",
  mount: async () => {
    const server = await AnsweringServer.start(({ socket }) =>
      socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"),
    );
    const url = server.url.replace("http:", "https:");
    return { url, attempts: () => undefined, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
  },
};

/** A certificate that nobody has signed. */
const SELF_SIGNED: UpstreamFault = {
  name: "TLS: a certificate that nobody signed",
  mount: async () => {
    const folder = mkdtempSync(join(tmpdir(), "accesstoken-tls-"));
    const [keyPath, certPath] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    const made = Bun.spawnSync(
      `openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout ${keyPath} -out ${certPath}`.split(
        " ",
      ),
    );
    if (made.exitCode !== 0) throw new Error("openssl is needed for this case");
    const options = { key: readFileSync(keyPath), cert: readFileSync(certPath) };
    rmSync(folder, { recursive: true });
    let requests = 0;
    const server: Server = createServer(options, (socket) => {
      socket.on("error", () => {});
      socket.on("data", () => {
        requests++;
        socket.end(httpAnswer(RIGHT));
      });
    });
    server.on("tlsClientError", () => {});
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return {
      url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
      // Not one may get through: the secret would have gone to whoever answers.
      attempts: () => (requests > 0 ? Number.POSITIVE_INFINITY : undefined),
      [Symbol.asyncDispose]: () =>
        new Promise<void>((resolve) => {
          server.close(() => resolve());
        }),
    };
  },
};

/** Every way in which WeChat is known, or feared, to fail. */
export const UPSTREAM_FAULTS: readonly UpstreamFault[] = [
  // Before an answer.
  byAddress("connection refused", "http://127.0.0.1:1"),
  byAddress("DNS: no such name", "https://no-such-host.invalid"),
  NO_TLS,
  SELF_SIGNED,
  byBytes("hang: no answer at all", () => {}),
  byBytes("hang: headers, and no body", ({ socket }) =>
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
  ),
  byBytes("drip: a byte every 200 ms", ({ socket }) => {
    const bytes = httpAnswer(RIGHT);
    let sent = 0;
    const timer = setInterval(() => socket.write(bytes.subarray(sent, ++sent)), 200);
    socket.on("close", () => clearInterval(timer));
  }),
  bySandbox("reset before the work", { kind: "reset_before" }),
  bySandbox("reset after the work", { kind: "reset_after" }),
  byBytes("not HTTP", ({ socket }) => socket.end("220 smtp.example.com ESMTP\r\n")),
  // Half an answer.
  bySandbox("truncated: half the JSON", { kind: "truncated_json" }),
  bySandbox("truncated: half the body, closed", { kind: "truncated_body" }),
  byBytes("truncated: less than Content-Length", ({ socket }) =>
    socket.end(Buffer.from(httpAnswer(RIGHT)).subarray(0, -20)),
  ),
  // Elsewhere.
  bySandbox("redirect to link-local", {
    kind: "redirect",
    location: "http://169.254.169.254/latest/meta-data/",
  }),
  bySandbox("redirect to itself", { kind: "redirect", location: TOKEN, status: 307 }),
  // HTTP says no.
  ...[400, 403, 404, 429, 500, 502, 503].map((status) =>
    bySandbox(`HTTP ${status}`, { kind: "http", status }),
  ),
  // No token in it.
  raw("HTML with 200", "<html><body>请登录网络 captive portal</body></html>", "text/html"),
  bySandbox("empty", { kind: "empty_body" }),
  raw("null", "null"),
  raw("an array", `[${RIGHT}]`),
  raw("an empty object", "{}"),
  byBytes("bad UTF-8", ({ socket }) =>
    socket.end(
      httpAnswer(
        Buffer.concat([
          Buffer.from('{"access_token":"70_'),
          Buffer.alloc(40, 0xff),
          Buffer.from('","expires_in":7200}'),
        ]),
        OF,
      ),
    ),
  ),
  bySandbox("5 MB", { kind: "oversized" }),
  bySandbox("gzip bomb", { kind: "gzip_bomb" }),
  // An errcode of each class.
  errcode("abc"),
  errcode("40125", "invalid appsecret"),
  errcode(-1, "system error"),
  errcode(-1000, "system error"),
  errcode(40001, "invalid credential"),
  errcode(40164, "invalid ip 203.0.113.7, not in whitelist"),
  errcode(42001, "access_token expired"),
  errcode(45009, "reach max api daily quota limit"),
  errcode(45011, "api minute-quota reach limit"),
  errcode(48001, "api unauthorized"),
  errcode(50007, "account frozen"),
  errcode(89503, "ask the administrator"),
  errcode(47001, "data format error"),
  // A token that can't be one.
  field("expires_in 0", "expires_in", 0),
  field("expires_in negative", "expires_in", -7200),
  field("expires_in as text", "expires_in", "7200"),
  field("expires_in huge", "expires_in", 1e15),
  field("expires_in missing", "expires_in"),
  field("access_token empty", "access_token", ""),
  field("access_token a number", "access_token", 1_234_567_890_123_456),
  field("access_token of 10 KB", "access_token", "x".repeat(10_240)),
];
