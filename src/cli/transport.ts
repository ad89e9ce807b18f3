/** One request to `/v1`, wherever it is answered. */
export interface ApiRequest {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  /** With its query; begins with `/v1/`. */
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** The ETag that must still stand. */
  readonly ifMatch?: string;
  /** How long the first byte of the answer may take; default 30 s. */
  readonly timeoutMs?: number;
}

/** Takes requests to a service: in this process or over the network. */
export interface Transport {
  /**
   * The answer, as it comes.
   *
   * @throws {ServiceError} `unavailable` or `store_unusable` when there is nobody who answers.
   */
  send(request: ApiRequest): Promise<Response>;
  /** Gives back what it holds. Idempotent. */
  close(): Promise<void>;
}

/** The headers of a request, but for who asks. */
export function requestHeaders({ body, ifMatch }: ApiRequest): Record<string, string> {
  return {
    ...(body === undefined ? {} : { "content-type": "application/json" }),
    ...(ifMatch === undefined ? {} : { "if-match": ifMatch }),
  };
}
