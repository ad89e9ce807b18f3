import type { BodyStream } from "../gateway/forwarder.ts";

/** Up to this announced length a body is handed on in one piece, which lets the server below announce it as well. */
const MAX_WHOLE_BYTES = 64 * 1024;

/** What becomes of an answer's body. */
export interface AnswerWatch {
  /** Somebody waits for the next bytes. */
  onWait(): void;
  /** Bytes are there, and nobody waits any more. */
  onBytes(): void;
  /** All of it was read. */
  onEnd(): void;
  /** It breaks off; gives the error for whoever reads it. */
  onBroken(cause: unknown): Error;
  /** Whoever reads it wants no more. */
  onCancel(): void;
}

/** `body` as it is handed on: one part is asked for when one is wanted, and how long that takes is watched. */
export function answerStream(
  body: ReadableStream<Uint8Array>,
  watch: AnswerWatch,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        watch.onWait();
        try {
          const { value, done } = await reader.read();
          watch.onBytes();
          if (!done) return controller.enqueue(value);
        } catch (error) {
          throw watch.onBroken(error);
        }
        watch.onEnd();
        controller.close();
      },
      cancel: async (reason) => {
        watch.onCancel();
        await reader.cancel(reason).catch(() => undefined);
      },
    },
    { highWaterMark: 0 },
  );
}

/** Whether the body of an answer with these headers is small enough to be read before it is handed on. */
export function isSmall(headers: Headers): boolean {
  const length = headers.get("content-length");
  return length !== null && Number(length) <= MAX_WHOLE_BYTES;
}

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
