import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createApiKey } from "../../src/access/api-key.ts";
import { runCommand } from "../../src/cli/command.ts";
import { failureEnvelope, failureStatus } from "../../src/envelope.ts";
import { type HandTerminalOptions, ManualTerminal } from "../support/manual-terminal.ts";

/** One request as it arrived. */
export interface Arrived {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: Headers;
  readonly body: unknown;
}

/** What is answered, at once or later: data, an error to be thrown, or a whole response. */
export type Answering = (request: Arrived) => unknown;

/**
 * A server that answers requests to `/v1` as a test says, and the command line that is pointed at it.
 *
 * Use it with `await using`.
 */
export class CliHarness {
  readonly arrived: Arrived[] = [];
  readonly folder = mkdtempSync(join(tmpdir(), "accesstoken-cli-"));
  readonly key = createApiKey().reveal();
  readonly #server: Bun.Server<undefined>;

  constructor(answering: Answering) {
    this.#server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: async (request) => {
        const text = await request.text();
        const { pathname, search } = new URL(request.url);
        const arrived = {
          method: request.method,
          path: pathname + search,
          headers: request.headers,
          body: text === "" ? undefined : (JSON.parse(text) as unknown),
        };
        this.arrived.push(arrived);
        return answer(answering, arrived);
      },
    });
    writeFileSync(this.path("key"), `${this.key}\n`, { mode: 0o600 });
  }

  get url(): string {
    return this.#server.url.origin;
  }

  /** A path in the world's own folder. */
  path(name: string): string {
    return join(this.folder, name);
  }

  /** Method and path of what arrived, in order. */
  get asked(): string[] {
    return this.arrived.map(({ method, path }) => `${method} ${path}`);
  }

  /** Runs a managing command against the server, with the key. */
  async run(args: readonly string[], options: HandTerminalOptions = {}) {
    const all = [...args, "--url", this.url, "--key-file", this.path("key")];
    return runAlone(all, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Runs a command line, and tells its exit code and what it wrote. */
export async function runAlone(args: readonly string[], options: HandTerminalOptions = {}) {
  const terminal = new ManualTerminal(options);
  const code: number = await runCommand(args, terminal);
  return { code, stdout: terminal.stdout, stderr: terminal.stderr, questions: terminal.questions };
}

/** `text` as it was before it was broken into lines. */
export function withoutBlanks(text: string): string {
  return text.replaceAll(/\s+/g, "");
}

/** Shell scripts that run their arguments with a standard output that can't be written to. */
export const FULL_DISK = `exec "$@" >/dev/full`;
export const CLOSED_PIPE = `mkfifo gone && { sleep 0 <gone & } && exec 3>gone && wait && rm gone && exec "$@" >&3 3>&-`;

/** A success with a status and an ETag. */
export function answered(data: object, { status = 200, etag = "" } = {}): Response {
  return Response.json(
    { code: 0, msg: "success", data, trace_id: "trace-1" },
    { status, headers: etag ? { etag } : {} },
  );
}

async function answer(answering: Answering, request: Arrived): Promise<Response> {
  try {
    const result = await answering(request);
    return result instanceof Response ? result : answered(result as object);
  } catch (error) {
    return Response.json(failureEnvelope(error, "trace-1"), { status: failureStatus(error) });
  }
}
