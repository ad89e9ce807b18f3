import type { Envelope } from "../envelope.ts";
import { type ErrorCode, ServiceError } from "../errors.ts";

/** One request to `/v1`, wherever it is answered. */
export interface ApiRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** With its query; begins with `/v1/`. */
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** The ETag that must still be current. */
  readonly ifMatch?: string;
  /** For whom it is asked, where a proxy of the service's would say so. */
  readonly forwardedFor?: string;
  /** How long the first byte of the answer may take; default 30 s. */
  readonly timeoutMs?: number;
  /** Gives the request up. */
  readonly signal?: AbortSignal;
}

/** Takes requests to a service: in this process or over the network. */
export interface Transport {
  /**
   * The answer, as it comes.
   *
   * @throws {ServiceError} `unavailable` or `store_unusable` when no service answers.
   */
  send(request: ApiRequest): Promise<Response>;
  /** Gives back what it holds. Idempotent. */
  close(): Promise<void>;
}

/** The headers of a request, without authentication. */
export function requestHeaders({ body, ifMatch, forwardedFor }: ApiRequest): Record<string, string> {
  return {
    ...(body === undefined ? {} : { "content-type": "application/json" }),
    ...(ifMatch === undefined ? {} : { "if-match": ifMatch }),
    ...(forwardedFor === undefined ? {} : { "x-forwarded-for": forwardedFor }),
  };
}

/** A success of `/v1`. */
export interface ApiAnswer<Data> {
  /** 201 where something was made. */
  readonly status: number;
  /** Of what the answer shows; undefined where it has none. */
  readonly etag: string | undefined;
  readonly data: Data;
}

/** A page of a list: the entries under the list's own name, and where the next page begins. */
type Page<Name extends string, Entry> = Readonly<Record<Name, readonly Entry[]>> & {
  readonly next?: string | number;
};

const PAGE = 200;

/** `/v1` said no. `envelope` is its whole answer. */
export class ApiRefusal extends ServiceError {
  readonly status: number;
  readonly envelope: Envelope;

  constructor(status: number, envelope: Envelope, hint = envelope.hint) {
    super(codeOf(status), envelope.msg, hint === undefined ? {} : { hint });
    this.status = status;
    this.envelope = envelope;
  }

  /** The same refusal with what a person at the command line should do. The answer stays as it came. */
  hinted(hint: string): ApiRefusal {
    return new ApiRefusal(this.status, this.envelope, hint);
  }
}

/** `/v1` as commands use it: data in, data out, a refusal thrown. */
export class Api {
  readonly #transport: Transport;
  readonly #onHint: (hint: string) => void;

  /** `onHint` is called with what the person should look at although the request succeeded. */
  constructor(transport: Transport, onHint: (hint: string) => void = () => undefined) {
    this.#transport = transport;
    this.#onHint = onHint;
  }

  /** @throws {ServiceError} an `ApiRefusal`, or what `Transport` throws. */
  async send<Data>(request: ApiRequest): Promise<ApiAnswer<Data>> {
    const response = await this.#transport.send(request);
    const envelope = readEnvelope(await response.text());
    if (!envelope) throw notOurs(response.status);
    if (!response.ok || envelope.code !== 0) throw new ApiRefusal(response.status, envelope);
    if (envelope.hint !== undefined) this.#onHint(envelope.hint);
    return {
      status: response.status,
      etag: response.headers.get("etag") ?? undefined,
      data: envelope.data as Data,
    };
  }

  /** The data of a GET. */
  async get<Data>(path: string): Promise<Data> {
    return (await this.send<Data>({ method: "GET", path })).data;
  }

  /** The same; undefined where there is none. */
  async find<Data>(path: string): Promise<Data | undefined> {
    try {
      return await this.get<Data>(path);
    } catch (error) {
      if (error instanceof ApiRefusal && error.status === 404) return undefined;
      throw error;
    }
  }

  /**
   * The first `limit` entries of a list, page after page; `next` is where more begin.
   *
   * `cursor` is the parameter that takes the `next` of the page before.
   */
  async list<Name extends string, Entry>(
    list: { readonly path: string; readonly name: Name; readonly cursor: "after" | "before" },
    query: Readonly<Record<string, string>> = {},
    limit = Number.POSITIVE_INFINITY,
  ): Promise<Page<Name, Entry>> {
    const entries: Entry[] = [];
    let next: string | number | undefined;
    do {
      const search = new URLSearchParams({ ...query, limit: String(Math.min(PAGE, limit - entries.length)) });
      if (next !== undefined) search.set(list.cursor, String(next));
      const page = await this.get<Page<Name, Entry>>(`${list.path}?${search.toString()}`);
      entries.push(...page[list.name]);
      if (page.next === next) break;
      next = page.next;
    } while (next !== undefined && entries.length < limit);
    return { [list.name]: entries, ...(next === undefined ? {} : { next }) } as Page<Name, Entry>;
  }

  /** The body of an answer that is no envelope. */
  async stream(request: ApiRequest): Promise<ReadableStream<Uint8Array>> {
    const response = await this.#transport.send(request);
    if (response.ok && response.body) return response.body;
    const envelope = readEnvelope(await response.text());
    throw envelope ? new ApiRefusal(response.status, envelope) : notOurs(response.status);
  }
}

/** `path` with its parts encoded: `` apiPath`/v1/apps/${app}` ``. */
export function apiPath(texts: TemplateStringsArray, ...parts: readonly string[]): string {
  return String.raw({ raw: texts }, ...parts.map((part) => encodeURIComponent(part)));
}

function readEnvelope(text: string): Envelope | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isEnvelope =
      typeof value === "object" && value !== null && "code" in value && "msg" in value && "data" in value;
    return isEnvelope && typeof value.code === "number" ? (value as Envelope) : undefined;
  } catch {
    return undefined;
  }
}

/** A proxy in between, or another program. */
function notOurs(status: number): ServiceError {
  const isGateway = [502, 503, 504].includes(status);
  return new ServiceError(
    isGateway ? "unavailable" : "upstream_invalid",
    `应答不是本服务的格式，HTTP状态码${status} (the answer is not this service's; HTTP status ${status})`,
    { hint: "请检查 --url (check --url)" },
  );
}

/** As far as commands tell refusals apart. */
function codeOf(status: number): ErrorCode {
  if (status === 503) return "unavailable";
  if (status === 404) return "not_found";
  if (status === 412) return "precondition_failed";
  return "forbidden";
}
