import type { BodyStream } from "../gateway/forwarder.ts";

const SLICE_BYTES = 64 * 1024;

/** What becomes of a body on its way up. */
export interface UploadWatch {
  /** A part of it is taken to be sent, or nothing is left. */
  onProgress(): void;
  /** It is shorter or longer than announced, or breaks off, so that the request must not look complete. */
  onBroken(cause: unknown): void;
}

/**
 * `body` as it is given to `fetch`: exactly as long as announced, or an error.
 *
 * The last part is held back until the source has ended. Otherwise a body that goes on behind its announced length
 * would have arrived as a complete request before anybody could know.
 */
export function uploadStream({ stream, length }: BodyStream, watch: UploadWatch): ReadableStream<Uint8Array> {
  const reader = stream.getReader();
  let size = 0;
  let isWanted = true;
  const next = async () => {
    for (;;) {
      const { value, done } = await reader.read();
      if (done || value.byteLength > 0) return value;
    }
  };
  const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
    const chunk = size < length ? await next() : undefined;
    size += chunk?.byteLength ?? 0;
    if (size < length && chunk === undefined) throw new Error("the body is shorter than announced");
    if (size >= length && (size > length || (await next()) !== undefined)) {
      throw new Error("the body is longer than announced");
    }
    if (!isWanted) return;
    if (chunk) controller.enqueue(chunk);
    if (size === length) controller.close();
    watch.onProgress();
  };
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        try {
          await pull(controller);
        } catch (error) {
          // Who wants no more of it, say because the answer is there, ends the source: that is no fault of the source.
          if (!isWanted) return;
          watch.onBroken(error);
          reader.cancel(error).catch(() => undefined);
          throw error;
        }
      },
      cancel: (reason) => {
        isWanted = false;
        return reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
}

/** Bytes that are held already as a stream, so that how they go up can be watched. */
export function streamOf(bytes: Uint8Array): BodyStream {
  let sent = 0;
  const stream = new ReadableStream<Uint8Array>(
    {
      pull: (controller) => {
        if (sent < bytes.byteLength) controller.enqueue(bytes.subarray(sent, sent + SLICE_BYTES));
        sent += SLICE_BYTES;
        if (sent >= bytes.byteLength) controller.close();
      },
    },
    { highWaterMark: 0 },
  );
  return { stream, length: bytes.byteLength };
}
