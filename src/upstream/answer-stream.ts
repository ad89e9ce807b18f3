/** Up to this announced length a body is handed on in one piece, which lets the server below announce it as well. */
const WHOLE_BYTES_MOST = 64 * 1024;

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
  return length !== null && Number(length) <= WHOLE_BYTES_MOST;
}
