import type { Secret } from "../secret.ts";
import type { ReadAnswer } from "./answer-text.ts";

/** How an answer is handed on. */
export interface HandingOn {
  /** The token that was sent up. */
  readonly real: Secret;
  /** What the caller calls it; undefined for whoever came with a key alone. */
  readonly given: Secret | undefined;
  /** Called once the body has been sent, has broken off or is wanted no more; at once where it is no stream. */
  readonly onEnd?: (() => void) | undefined;
}

/**
 * The platform's answer as the caller gets it: status, headers and body as they came.
 *
 * As the real token was put in on the way up, it is taken out on the way down, should a header or a small text quote it.
 */
export function handedOn({ answer, bytes }: ReadAnswer, { real, given, onEnd }: HandingOn): Response {
  const { status, headers } = answer;
  const token = { real: real.reveal(), given: given?.reveal() ?? "ACCESS_TOKEN" };
  const said = token.real === token.given ? bytes : withoutToken(headers, bytes, token);
  const body = said ?? answer.body;
  const isStream = body instanceof ReadableStream;
  if (!isStream) onEnd?.();
  const sent = isStream && onEnd ? watched(body, onEnd) : body;
  return new Response(sent as typeof sent & Uint8Array<ArrayBuffer>, { status, headers });
}

/** Puts the caller's name of the token in the place of the real one wherever that stands; gives the body as it is then. */
function withoutToken(
  headers: Headers,
  bytes: Uint8Array | undefined,
  { real, given }: { readonly real: string; readonly given: string },
): Uint8Array | undefined {
  for (const [name, value] of [...headers]) {
    if (value.includes(real))
      headers.set(
        name,
        value.replaceAll(real, () => given),
      );
  }
  if (!bytes) return undefined;
  const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!body.includes(real)) return bytes;
  headers.delete("content-length");
  // One character a byte: what else is in it may be of any encoding, or of none.
  return Buffer.from(
    body.toString("latin1").replaceAll(real, () => given),
    "latin1",
  );
}

/** `body`, of which `onEnd` is told when it ends, in whatever way. */
function watched(body: ReadableStream<Uint8Array>, onEnd: () => void): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (!done) return controller.enqueue(value);
        } catch (error) {
          onEnd();
          throw error;
        }
        onEnd();
        controller.close();
      },
      async cancel(reason) {
        onEnd();
        await reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
}
