import { readFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { envelopeResponse, newTraceId } from "../api/answer.ts";
import { failureEnvelope } from "../envelope.ts";
import { ServiceError } from "../errors.ts";
import { UPSTREAM_HOSTS } from "../upstream/addresses.ts";
import { type HttpServer, listen, type Serve } from "./server.ts";

/** Where the proxy listens, and the folder of `accesstoken proxy-ca` with the certificate that it shows. */
export interface ConnectProxyOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly folder: string;
  /** How long a head may take, in milliseconds; default 10,000. */
  readonly headMs?: number;
}

const LOOPBACK = "127.0.0.1";
const HEAD_MS = 10_000;
const MAX_HEAD_BYTES = 8192;
/** More than any answer takes. A TLS handshake that stalls is cut off by Bun, after some twelve seconds. */
const IDLE_MS = 300_000;
/** Each takes three descriptors. */
const MAX_CONNECTIONS = 400;
const MAX_OF_ADDRESS = 200;
/** How long connections may take to close when all is answered. */
const LINGER_MS = 1000;
const TARGET = /^CONNECT ([A-Za-z0-9.-]{1,253}):443 HTTP\/1\.[01]$/;

const ESTABLISHED = "HTTP/1.1 200 Connection Established\r\n\r\n";
const REFUSALS = {
  405: "这是CONNECT代理，只用于HTTPS (this is a CONNECT proxy, for HTTPS alone)",
  403: "该代理只转发微信与企业微信接口域名的443端口 (this proxy leads to port 443 of WeChat's and WeCom's API hosts alone)",
  431: "请求头过大 (the request head is too large)",
} as const;

/**
 * A proxy for SDKs whose host can't be changed: a program that has it as `HTTPS_PROXY` reaches this service in the place of
 * WeChat.
 *
 * What follows a CONNECT goes to a TLS server of this process on loopback. That takes connections of the proxy alone, by
 * their ports, and tells `serve` the address of whoever sent the CONNECT.
 */
export class ConnectProxy {
  readonly #serve: Serve;
  readonly #options: ConnectProxyOptions;
  readonly #server = createServer({ noDelay: true }, (outer) => this.#greet(outer));
  readonly #connections = new Map<Socket, string>();
  /** The addresses of those that sent a CONNECT, by the local port of the connection to the TLS server. */
  readonly #peers = new Map<number, string>();
  #inner: HttpServer | undefined;
  /** 0 while it does not listen. */
  #port = 0;
  #isStopping = false;

  constructor(serve: Serve, options: ConnectProxyOptions) {
    this.#serve = serve;
    this.#options = options;
  }

  /** Where it listens, as `HTTPS_PROXY` takes it; empty while it does not. */
  get url(): string {
    const { host } = this.#options;
    return this.#port === 0 ? "" : `http://${host.includes(":") ? `[${host}]` : host}:${this.#port}`;
  }

  /** Listens. Throws `invalid_config` for a port that is taken, or a certificate that can't be read. */
  async start(): Promise<void> {
    const { host, port, folder } = this.#options;
    const addressOf = (local: number) => this.#peers.get(local);
    try {
      const [cert, key] = ["server.pem", "server.key"].map((name) =>
        readFileSync(join(folder, name), "utf8"),
      );
      const tls = { cert: cert ?? "", key: key ?? "" };
      this.#inner = listen((request, socket) => this.#answer(request, socket), {
        ...{ host: LOOPBACK, port: 0, tls, addressOf },
        // At the limit of descriptors a port that is open would take a whole core.
        onPaused: (isPaused) => (isPaused ? this.#server.close() : this.#server.listen(this.#port, host)),
      });
    } catch {
      throw new ServiceError(
        "invalid_config",
        `CONNECT_CERTIFICATES: 无法读取 ${folder} 中的 server.pem 和 server.key，请先执行 accesstoken proxy-ca (server.pem and server.key in ${folder} can't be read; run accesstoken proxy-ca first, as this user)`,
      );
    }
    await new Promise<void>((resolve, reject) => {
      this.#server.on("error", (error) => {
        const code = "code" in error ? String(error.code) : "unknown";
        const where = `CONNECT_PORT: 无法监听 ${host}:${port}`;
        reject(new ServiceError("invalid_config", `${where} (can't listen: ${code})`));
      });
      this.#server.listen(port, host, resolve);
    });
    const address = this.#server.address();
    if (address !== null && typeof address === "object") this.#port = address.port;
  }

  /** Accepts no connections any more, and waits for the answers under way. When it is called again, these are cut off. */
  async stop(): Promise<void> {
    this.#server.close();
    const isSecond = this.#isStopping;
    this.#isStopping = true;
    await (isSecond ? this.#inner?.close() : this.#inner?.drain());
    const sockets = [...this.#connections.keys()];
    // The last bytes are on their way still.
    const closed = Promise.all(
      sockets.map((socket) => new Promise((resolve) => socket.once("close", resolve))),
    );
    if (!isSecond) await Promise.race([closed, Bun.sleep(LINGER_MS)]);
    for (const socket of sockets) socket.destroy();
  }

  /** Nobody but this proxy may come over the loopback port. */
  #answer(...[request, socket]: Parameters<Serve>): ReturnType<Serve> {
    const address = socket.peer();
    if (address !== "") return this.#serve(request, { ...socket, peer: () => address });
    const failure = new ServiceError("forbidden", "禁止访问 (forbidden)");
    return envelopeResponse(failureEnvelope(failure, newTraceId()), 403, { connection: "close" });
  }

  /** Reads the head of a CONNECT. */
  #greet(outer: Socket): void {
    const address = outer.remoteAddress ?? "";
    const ofAddress = [...this.#connections.values()].filter((each) => each === address).length;
    if (address === "" || this.#connections.size >= MAX_CONNECTIONS || ofAddress >= MAX_OF_ADDRESS)
      return void outer.destroy();
    this.#connections.set(outer, address);
    outer.once("close", () => this.#connections.delete(outer));
    outer.on("error", () => outer.destroy());
    const timer = setTimeout(() => outer.destroy(), this.#options.headMs ?? HEAD_MS);
    outer.once("close", () => clearTimeout(timer));
    let head = "";
    const read = (chunk: Buffer) => {
      head += chunk.toString("latin1");
      const end = head.indexOf("\r\n\r\n");
      if (end === -1 && head.length <= MAX_HEAD_BYTES) return;
      outer.off("data", read).pause();
      if (end === -1 || end > MAX_HEAD_BYTES) return refuse(outer, 431);
      const [line = ""] = head.split("\r\n", 1);
      const host = TARGET.exec(line)?.[1]?.toLowerCase();
      if (!UPSTREAM_HOSTS.some((each) => each === host))
        return refuse(outer, line.startsWith("CONNECT ") ? 403 : 405);
      clearTimeout(timer);
      this.#tunnel(outer, address, Buffer.from(head.slice(end + 4), "latin1"));
    };
    outer.on("data", read);
  }

  /** Joins the connection to the TLS server; `sent` is what came behind the head already. */
  #tunnel(outer: Socket, address: string, sent: Buffer): void {
    const inner = connect({
      port: Number(new URL(this.#inner?.url ?? "").port),
      host: LOOPBACK,
      noDelay: true,
    });
    for (const [one, other] of [
      [outer, inner],
      [inner, outer],
    ] as const) {
      one.setTimeout(IDLE_MS, () => one.destroy());
      one.on("error", () => one.destroy());
      // What one end has sent before it closed is still delivered.
      one.once("close", () => (one.readableEnded ? other.end() : other.destroy()));
    }
    inner.once("connect", () => {
      const port = inner.localPort ?? 0;
      // Before the first byte of TLS, and until no byte can come any more.
      this.#peers.set(port, address);
      inner.once("close", () => this.#peers.delete(port));
      outer.write(ESTABLISHED);
      inner.write(sent);
      outer.pipe(inner).pipe(outer);
    });
  }
}

/** Answers in the place of a tunnel, and closes. */
function refuse(outer: Socket, status: keyof typeof REFUSALS): void {
  const text = `${REFUSALS[status]}\n`;
  const head = `HTTP/1.1 ${status} Refused\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n`;
  outer.end(head + text, () => outer.destroy());
}
