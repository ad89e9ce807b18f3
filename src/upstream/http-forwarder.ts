import { type Platform, ServiceError } from "../errors.ts";
import {
  type BodyStream,
  type ForwardAnswer,
  type Forwarder,
  type ForwardRequest,
  isStream,
} from "../gateway/forwarder.ts";
import type { Address, Addresses } from "./addresses.ts";
import { answerStream, Deadline, isSmall, streamOf, uploadStream } from "./forward-streams.ts";
import { Semaphore } from "../access/semaphore.ts";
import { UPSTREAM_NAMES } from "./errcodes.ts";
import { type BaseUrls, originFor } from "./http-client.ts";

/** How long the forwarder waits, in milliseconds. */
export interface ForwardTimes {
  /** For the head of an ordinary answer, from the last byte that went up; default 10 s. */
  readonly headMs: number;
  /** The same where a file goes up or comes down: for each part of it, and for the head; default 30 s. */
  readonly uploadMs: number;
  /** For the next bytes of an answer's body, while the reader waits; default 30 s. */
  readonly bodyMs: number;
  /** For the turn of a request with a streamed body; default 2 min. Others wait for `headMs`. */
  readonly turnMs: number;
}

/** Where the two upstreams are, and how they are reached. */
export interface HttpForwarderOptions {
  readonly baseUrls: BaseUrls;
  /** The only proxy that is used; the process's own proxy variables are ignored. */
  readonly proxyUrl: string | undefined;
  /** As of the HTTP client. */
  readonly addresses?: Addresses | undefined;
  readonly times?: Partial<ForwardTimes>;
  /**
   * How many requests are under way at once, default 128, and how many that stream a body, default 16. The others wait,
   * each in the order in which they came.
   */
  readonly maxConcurrent?: number;
  readonly maxUploads?: number;
}

const TIMES: ForwardTimes = { headMs: 10_000, uploadMs: 30_000, bodyMs: 30_000, turnMs: 120_000 };
/** Bun runs 256 requests at once in the whole process: the rest is for uploads, pushes to targets, and fetching tokens. */
const MAX_CONCURRENT = 128;
/** Each takes about 2 MB while it is sent, because a part of its body is on its way while Bun reads ahead. */
const MAX_UPLOADS = 16;
/** Shorter than what servers commonly allow: a request that meets a closing connection fails, or is sent again. */
const IDLE_SECONDS = 15;
const LARGE_BYTES = 64 * 1024;
/** Below and beyond there is no status of an answer, and no `Response` can have it. */
const MIN_STATUS = 200;
const MAX_STATUS = 599;
/** What WeChat and WeCom answer with a file, which they may have to make first. */
const DOWNLOADS =
  /\/(media\/get(\/jssdk)?|get_material|getwxacode(unlimit)?|createwxaqrcode|file_download)\/?$/;
/** What `fetch` sends as it is named; of another method it makes a GET without a word. */
const METHODS = /^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$/;
/** The statuses that have no body. */
const BARE = new Set([204, 205, 304]);
/** What is made again for each connection; and no `Expect`, because the body goes up unasked. */
const OWN_HEADERS = ["host", "content-length", "accept-encoding", "expect"];

/**
 * Sends a request to WeChat or WeCom as it is and returns the answer as it comes.
 *
 * Neither a request nor an answer is held in memory: the slower side sets the pace. A redirect is an answer like others.
 */
export class HttpForwarder implements Forwarder {
  readonly #session: Bun.FetchSession;
  readonly #baseUrls: BaseUrls;
  readonly #addresses: Addresses | undefined;
  readonly #times: ForwardTimes;
  readonly #requests: Semaphore;
  readonly #uploads: Semaphore;

  constructor(options: HttpForwarderOptions) {
    const { baseUrls, proxyUrl, times } = options;
    this.#session = new Bun.FetchSession({
      proxy: proxyUrl === undefined ? false : { url: proxyUrl, respectNoProxy: false },
      keepAlive: { idleTimeout: IDLE_SECONDS },
    });
    this.#baseUrls = baseUrls;
    this.#addresses = options.addresses;
    this.#times = { ...TIMES, ...times };
    this.#requests = new Semaphore(options.maxConcurrent ?? MAX_CONCURRENT);
    this.#uploads = new Semaphore(options.maxUploads ?? MAX_UPLOADS);
  }

  /**
   * The answer's head, once it is there; its body comes while it is read and must be read or cancelled.
   *
   * What fails after the request went out has `mayHaveRun`, its body's errors included.
   *
   * @throws {ServiceError} `upstream_unreachable` when nothing was sent; `upstream_timeout`, also when the caller's
   *   signal ends it; `upstream_invalid` for what broke, and for a status that there is none of; `invalid_parameter` for
   *   a body that a GET or HEAD carries, or that isn't as long as announced; `internal` for a path or method that would
   *   not be sent as it is.
   */
  async forward(request: ForwardRequest): Promise<ForwardAnswer> {
    const { platform, appId, method, path, query, signal } = request;
    const origin = originFor(this.#baseUrls, platform, appId);
    const url = exactUrl(origin, path, query);
    refuseUnsendable(request);
    const deadline = new Deadline(platform, signal);
    try {
      const [permits, waitMs] = isStream(request.body)
        ? [this.#uploads, this.#times.turnMs]
        : [this.#requests, this.#times.headMs];
      deadline.arm(waitMs, () => tooBusy(platform));
      await permits.acquire(deadline.signal);
      deadline.onClose(() => permits.release());
      const response = await this.#send(url, origin, request, deadline);
      if (response.status < MIN_STATUS || response.status > MAX_STATUS) throw noSuchStatus(platform);
      const headers = endToEndHeaders(response.headers);
      const isBare = method === "HEAD" || BARE.has(response.status);
      const body = isBare ? null : await this.#bodyOf(response, deadline);
      if (body === null) deadline.close();
      return { status: response.status, headers, body };
    } catch (error) {
      this.#addresses?.forget(origin);
      throw deadline.failFor(error);
    }
  }

  async #send(url: string, origin: string, request: ForwardRequest, deadline: Deadline): Promise<Response> {
    const { method, path } = request;
    const headers = endToEndHeaders(request.headers, OWN_HEADERS);
    headers.set("accept-encoding", "identity");
    const isLarge = sizeOf(request.body) > LARGE_BYTES || isMultipart(headers);
    const isSlow = isLarge || DOWNLOADS.test(path);
    const quietMs = isSlow ? this.#times.uploadMs : this.#times.headMs;
    let isAnswered = false;
    const body = bodyToSend(request, isLarge);
    if (body && !(body instanceof Uint8Array)) headers.set("content-length", String(body.length));
    deadline.arm(quietMs);
    const at: Address = this.#addresses ? await this.#addresses.of(origin, deadline.signal) : { origin };
    if (at.host !== undefined) headers.set("host", at.host);
    deadline.sent();
    const response = await fetch(at.origin + url.slice(origin.length), {
      method,
      headers,
      ...(body === undefined
        ? {}
        : { body: asUpload(body, deadline, () => isAnswered || deadline.arm(quietMs)) }),
      session: this.#session,
      ...(at.tls === undefined ? {} : { tls: at.tls }),
      redirect: "manual",
      decompress: false,
      keepalive: !isSentAgain(method, path, body),
      signal: deadline.signal,
    });
    isAnswered = true;
    deadline.disarm();
    return response;
  }

  async #bodyOf(response: Response, deadline: Deadline): Promise<ForwardAnswer["body"]> {
    if (response.body === null) return null;
    const { bodyMs } = this.#times;
    if (isSmall(response.headers)) {
      deadline.arm(bodyMs);
      const bytes = await response.bytes();
      deadline.close();
      return bytes;
    }
    return answerStream(response.body, {
      onWait: () => deadline.arm(bodyMs),
      onBytes: () => deadline.disarm(),
      onEnd: () => deadline.close(),
      onBroken: (cause) => deadline.failFor(cause),
      onCancel: () => deadline.fail(unwanted()),
    });
  }
}

/** What goes up as a stream: what came as one, and what is large, so that its progress is seen; the rest as bytes. */
function bodyToSend({ method, body }: ForwardRequest, isLarge: boolean): Uint8Array | BodyStream | undefined {
  if (body === undefined || sizeOf(body) === 0) return undefined;
  if (!(body instanceof Uint8Array)) return body;
  return isLarge || !NEVER_SENT_AGAIN.test(method) ? streamOf(body) : body;
}

function asUpload(body: Uint8Array | BodyStream, deadline: Deadline, onProgress: () => void) {
  if (body instanceof Uint8Array) return body as Uint8Array<ArrayBuffer>;
  return uploadStream(body, {
    onProgress,
    onBroken: (cause) => deadline.fail(brokenUpload(cause)),
  });
}

const NEVER_SENT_AGAIN = /^(POST|PATCH)$/;
/** The last part of a path that reads, as WeChat names them. */
const READS = /(get|list|info|query|search|check|count)[^/]*$/i;

/**
 * Whether Bun would send the request once more when it meets a kept connection that is closed, and what it does would then
 * be done twice. Such a request gets a connection of its own.
 */
function isSentAgain(method: string, path: string, body: Uint8Array | BodyStream | undefined): boolean {
  if (NEVER_SENT_AGAIN.test(method) || body !== undefined) return false;
  return !(/^(GET|HEAD|OPTIONS)$/.test(method) && READS.test(path));
}

function sizeOf(body: ForwardRequest["body"]): number {
  return body instanceof Uint8Array ? body.byteLength : (body?.length ?? 0);
}

function isMultipart(headers: Headers): boolean {
  return /^\s*multipart\//i.test(headers.get("content-type") ?? "");
}

function refuseUnsendable({ method, body }: ForwardRequest): void {
  if (!METHODS.test(method)) throw new ServiceError("internal", "a method that would not be sent as it is");
  if ((method === "GET" || method === "HEAD") && sizeOf(body) > 0) {
    throw new ServiceError("invalid_parameter", `${method}请求不能带请求体 (a ${method} can't carry a body)`);
  }
}

function brokenUpload(cause: unknown): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "请求体中断，或与声明的长度不符；未完整发出 (the body broke off or isn't as long as announced; it was not sent completely)",
    { cause },
  );
}

function noSuchStatus(platform: Platform): ServiceError {
  const [chinese, english] = UPSTREAM_NAMES[platform];
  return new ServiceError(
    "upstream_invalid",
    `${chinese}应答的状态码不正确；本次调用可能已经执行 (${english} answered with no such status; the call may have been carried out)`,
  );
}

function unwanted(): ServiceError {
  return new ServiceError("upstream_timeout", "应答不再需要 (the answer is wanted no more)");
}

function tooBusy(platform: Platform): ServiceError {
  const [chinese, english] = UPSTREAM_NAMES[platform];
  return new ServiceError(
    "upstream_unreachable",
    `转发到${chinese}的请求过多，本次调用未发出，请稍后重试 (too many requests are on their way to ${english}; this one was not sent, try again later)`,
  );
}

/**
 * The URL for `path` and `query` on `origin`, made by putting them one behind the other and resolving nothing.
 *
 * Whatever `fetch` would send otherwise than it is written has no such URL: dot segments, backslashes, characters that
 * must be encoded, two slashes at the beginning.
 *
 * @throws {ServiceError} `internal`: the caller has checked another path than would be sent.
 */
function exactUrl(origin: string, path: string, query: string): string {
  const search = query === "" ? "" : `?${query}`;
  const text = `${origin}${path}${search}`;
  const url = URL.parse(text);
  const isExact = path.startsWith("/") && !path.startsWith("//") && url?.href === text && url.hash === "";
  if (!isExact || url.pathname !== path || url.origin !== origin || text.endsWith("#")) {
    throw new ServiceError("internal", "a path or query that would not be sent as it is");
  }
  return text;
}

/** Headers that are about one connection (RFC 9110 7.6.1), whichever way they go. */
const HOP = [
  "connection",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-authentication-info",
];

/** A copy of `headers` without those that are about one connection only, and without the ones of these names. */
function endToEndHeaders(headers: Headers, without: readonly string[] = []): Headers {
  const copy = new Headers(headers);
  const named = headers.get("connection");
  if (named !== null) {
    // What is no header's name can't be the name of one that is there.
    for (const name of named.split(",")) if (TOKEN.test(name.trim())) copy.delete(name.trim());
  }
  for (const name of HOP) copy.delete(name);
  for (const name of without) copy.delete(name);
  return copy;
}

const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;
