import type { ForwardAnswer, ForwardRequest } from "../../src/gateway/forwarder.ts";
import { HttpForwarder, type HttpForwarderOptions } from "../../src/upstream/http-forwarder.ts";
import { AnsweringServer, type Responder } from "../support/answering-server.ts";

/** What a request may leave out: a GET to WeChat without a body. */
export type PartialRequest = Partial<Omit<ForwardRequest, "headers">> & {
  headers?: ConstructorParameters<typeof Headers>[0];
};

/** A forwarder whose two upstreams are one server that answers as `respond` says. */
export async function forwarderHarness(
  respond: Responder | string | Uint8Array,
  options: Partial<HttpForwarderOptions> = {},
) {
  const server = await AnsweringServer.start(
    typeof respond === "function" ? respond : ({ socket }) => void socket.write(Buffer.from(respond)),
  );
  const forwarder = new HttpForwarder({
    baseUrls: { weixin: server.url, wecom: server.url },
    proxyUrl: undefined,
    ...options,
  });
  const forward = ({ headers, ...request }: PartialRequest = {}) =>
    forwarder.forward({
      platform: "weixin",
      appId: "wx1",
      method: "GET",
      path: "/cgi-bin/user/get",
      query: "access_token=t",
      headers: new Headers(headers),
      body: undefined,
      signal: new AbortController().signal,
      ...request,
    });
  /** Everything that arrived, one character a byte. */
  const arrived = () => server.requests.map((request) => request.text).join("");
  return { server, forward, arrived, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

/** A body that comes in these parts, each in a turn of its own, and then ends, fails or stays open. */
export function bodyOf(
  parts: readonly string[],
  length: number,
  end: "closes" | "fails" | "stays open" = "closes",
) {
  const left = [...parts];
  const seen = { isCancelled: false, taken: 0 };
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        await new Promise(setImmediate);
        const part = left.shift();
        seen.taken += 1;
        if (part !== undefined) return controller.enqueue(Buffer.from(part));
        if (end === "closes") return controller.close();
        if (end === "fails") return controller.error(new Error("the caller is gone"));
        return new Promise<void>(() => undefined);
      },
      cancel() {
        seen.isCancelled = true;
      },
    },
    { highWaterMark: 0 },
  );
  return { stream, length, seen };
}

/** A body as text, one character a byte. */
export async function textOf(body: ForwardAnswer["body"]): Promise<string> {
  const bytes = body instanceof Uint8Array ? body : await new Response(body).bytes();
  return Buffer.from(bytes).toString("latin1");
}

/** Gives an answer's body up. */
export async function cancelled({ body }: ForwardAnswer): Promise<void> {
  if (body instanceof ReadableStream) await body.cancel();
}
