import type { CallCounter } from "../audit/call-counts.ts";
import type { Addresses } from "./addresses.ts";
import type { Clock } from "../clock.ts";
import { type Platform, ServiceError } from "../errors.ts";
import { type EventBus, reportCall } from "../events.ts";
import { Secret } from "../secret.ts";
import { classifyErrcode, hintFor, unreachable, UPSTREAM_NAMES } from "./errcodes.ts";
import { readCapped } from "./target-client.ts";

/** How long one request may take, from its first byte to the last byte of its answer. */
const ATTEMPT_MS = 5000;

/** Where the two upstreams are: origins without a path. */
export type BaseUrls = Readonly<Record<Platform, string>> & {
  /** By CorpID, where a corp has a WeCom of its own. */
  readonly corps?: ReadonlyMap<string, string>;
};

/** The origin for an app of a platform: for WeCom, its corp's own one before the common one. */
export function originFor({ corps, ...common }: BaseUrls, platform: Platform, appId: string): string {
  return (platform === "wecom" ? corps?.get(appId) : undefined) ?? common[platform];
}

/** Where the two upstreams are, and how they are reached. */
export interface HttpClientOptions {
  readonly baseUrls: BaseUrls;
  /** WeChat's other hosts, in the order in which they are tried. */
  readonly weixinFallbackUrls?: readonly string[];
  /** The only proxy that is used; the process's own proxy variables are ignored. */
  readonly proxyUrl: string | undefined;
  /** Without a proxy, the only addresses that are used; else any. */
  readonly addresses?: Addresses | undefined;
  readonly clock: Clock;
  readonly events: EventBus;
  /** Counts each request against the quotas. */
  readonly calls: Pick<CallCounter, "count">;
  /** Overrides the 5 s of an attempt. */
  readonly attemptMs?: number;
}

/** One request to WeChat or WeCom. */
export interface UpstreamRequest {
  readonly platform: Platform;
  /** For whom; the call is counted against its quota. */
  readonly appId: string;
  /** The path, which also names the endpoint in events. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Sent as JSON by POST; without it the request is a GET. */
  readonly body?: object;
  /** Whether the endpoint takes the app's secret or an access token; decides what 40001 means. */
  readonly takes: "takes_secret" | "takes_token";
  /**
   * Whether the same request may reach the upstream twice. When not, it goes over a connection of its own, because
   * a request on a kept connection that turns out to be closed is sent again silently.
   */
  readonly repeatable: boolean;
  /** Whether another of WeChat's hosts may be asked when no connection to the first comes about. */
  readonly mayFallBack?: boolean;
  /** How long it may take where 5 s are not enough; milliseconds. */
  readonly attemptMs?: number;
  readonly signal?: AbortSignal;
}

/** What the upstream answered, once its errcode is absent or 0. */
export interface UpstreamAnswer {
  readonly answer: Record<string, unknown>;
  /** The JSON text that it was read from: the bytes that came, as UTF-8. */
  readonly text: Secret;
}

/**
 * Asks WeChat and WeCom, and believes nothing: time, size and shape of every answer are bounded.
 *
 * An answer is JSON whatever its content type says, because theirs are `text/plain` and `encoding=utf-8`.
 */
export class HttpClient {
  readonly #options: HttpClientOptions;

  constructor(options: HttpClientOptions) {
    this.#options = options;
  }

  /** The JSON object of `exchange`, for callers that read its fields. Throws as that does. */
  async call(request: UpstreamRequest): Promise<Record<string, unknown>> {
    return (await this.exchange(request)).answer;
  }

  /**
   * What the upstream answered, as an object and as it came, once its errcode is absent or 0.
   *
   * @throws {ServiceError} `upstream_rejected` with WeChat's errcode; `upstream_invalid` for an answer that can't be
   *   one; `upstream_unreachable` when nothing was sent, for want of a connection or of time; `upstream_timeout`.
   */
  async exchange(request: UpstreamRequest): Promise<UpstreamAnswer> {
    const { clock, events, calls } = this.#options;
    const startedAt = clock.monotonic();
    const report = (outcome: "ok" | "errcode" | ServiceError["code"], errcode?: number) => {
      calls.count(request.platform, request.appId, request.path);
      reportCall(events, "upstream.called", {
        platform: request.platform,
        appId: request.appId,
        endpoint: request.path,
        durationMs: Math.round(clock.monotonic() - startedAt),
        outcome,
        ...(errcode === undefined ? {} : { errcode }),
      });
    };
    try {
      const text = readText(request.platform, await this.#send(request));
      const answer = refuseErrcode(request, parseAnswer(request.platform, text));
      report("ok");
      return { answer, text: new Secret(text) };
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      report(error.upstream ? "errcode" : error.code, error.upstream?.errcode);
      throw error;
    }
  }

  /** Sends to the first host, and to the next ones only while nothing has been sent for want of a connection. */
  async #send(request: UpstreamRequest): Promise<Uint8Array> {
    const { baseUrls, weixinFallbackUrls = [] } = this.#options;
    const others = request.mayFallBack && request.platform === "weixin" ? weixinFallbackUrls : [];
    const bases = [originFor(baseUrls, request.platform, request.appId), ...others];
    for (const [index, base] of bases.entries()) {
      try {
        return await this.#attempt(request, base);
      } catch (error) {
        const isLast = index === bases.length - 1;
        if (isLast || !(error instanceof ServiceError) || error.code !== "upstream_unreachable") throw error;
      }
    }
    throw unusableAnswer(request.platform);
  }

  async #attempt(request: UpstreamRequest, base: string): Promise<Uint8Array> {
    const { proxyUrl, addresses, attemptMs = ATTEMPT_MS } = this.#options;
    const limits = [
      AbortSignal.timeout(Math.max(attemptMs, request.attemptMs ?? 0)),
      ...(request.signal ? [request.signal] : []),
    ];
    const signal = AbortSignal.any(limits);
    if (signal.aborted) throw neverSent(request.platform);
    try {
      const { origin, host, tls } = (await addresses?.of(base, signal)) ?? { origin: base };
      const url = new URL(origin);
      url.pathname = request.path;
      for (const [name, value] of Object.entries(request.query ?? {})) url.searchParams.set(name, value);
      const response = await fetch(url, {
        method: request.body ? "POST" : "GET",
        headers: {
          accept: "application/json",
          // An answer of a few hundred bytes needs no compression, and an inflated one has no bound.
          "accept-encoding": "identity",
          ...(request.body ? { "content-type": "application/json" } : {}),
          ...(host === undefined ? {} : { host }),
        },
        ...(tls === undefined ? {} : { tls }),
        ...(request.body ? { body: JSON.stringify(request.body) } : {}),
        redirect: "error",
        decompress: false,
        keepalive: request.repeatable,
        proxy: proxyUrl ?? false,
        signal,
      } as BunFetchRequestInit);
      if (response.status === 200) return await readCapped(response);
      await response.body?.cancel();
    } catch (error) {
      addresses?.forget(base);
      throw transportError(request.platform, error, signal.aborted);
    }
    throw unusableAnswer(request.platform);
  }
}

function readText(platform: Platform, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw unusableAnswer(platform);
  }
}

function parseAnswer(platform: Platform, text: string): Record<string, unknown> {
  try {
    const answer: unknown = JSON.parse(text);
    if (typeof answer === "object" && answer !== null && !Array.isArray(answer)) {
      return answer as Record<string, unknown>;
    }
  } catch {
    // A parser's message quotes what it read, which could be a token: the error below says enough.
  }
  throw unusableAnswer(platform);
}

function refuseErrcode(request: UpstreamRequest, answer: Record<string, unknown>): Record<string, unknown> {
  const { platform, takes } = request;
  const raw = answer["errcode"] ?? 0;
  const errcode = typeof raw === "string" && /^-?\d{1,10}$/.test(raw) ? Number(raw) : raw;
  if (errcode === 0) return answer;
  if (typeof errcode !== "number" || !Number.isSafeInteger(errcode)) throw unusableAnswer(platform);
  const errmsg =
    typeof answer["errmsg"] === "string" ? withoutSecrets(request, answer["errmsg"]).slice(0, 512) : "";
  throw new ServiceError("upstream_rejected", `${UPSTREAM_NAMES[platform].join("/")}: errcode ${errcode}`, {
    upstream: { platform, errcode, errmsg, class: classifyErrcode(platform, errcode, takes) },
    ...hintFor(errcode, errmsg),
  });
}

/** Names of parameters that carry secrets. */
const SECRET_NAME = /token|secret|ticket|code$/;

/** `errmsg`, as callers and the store get it, without any secret that was sent. */
function withoutSecrets({ query, body }: UpstreamRequest, errmsg: string): string {
  let text = errmsg;
  for (const [name, value] of Object.entries<unknown>({ ...query, ...body }))
    if (SECRET_NAME.test(name) && typeof value === "string" && value !== "")
      text = text.replaceAll(value, "***");
  return text;
}

/** The error for an answer that is not what the endpoint promises. It quotes nothing of the answer. */
export function unusableAnswer(platform: Platform): ServiceError {
  const [chinese, english] = UPSTREAM_NAMES[platform];
  return new ServiceError(
    "upstream_invalid",
    `${chinese}返回了无法识别的应答，请稍后重试 (${english}'s answer can't be used; try again later)`,
  );
}

function neverSent(platform: Platform): ServiceError {
  const [chinese, english] = UPSTREAM_NAMES[platform];
  return new ServiceError(
    "upstream_unreachable",
    `${chinese}的请求尚未发出就已超时，请稍后重试 (the time was up before ${english} was asked; try again later)`,
  );
}

function transportError(platform: Platform, error: unknown, aborted: boolean): ServiceError {
  const never = unreachable(platform, error);
  if (never || !aborted) return never ?? unusableAnswer(platform);
  const [chinese, english] = UPSTREAM_NAMES[platform];
  return new ServiceError(
    "upstream_timeout",
    `${chinese}服务器未在规定时间内应答，请稍后重试 (${english} did not answer in time; try again later)`,
  );
}
