/** How this very program is started again: the binary alone, or Bun with the script. */
export function ownCommand(): string[] {
  return Bun.main.startsWith("/$bunfs/") ? [process.execPath] : [process.execPath, Bun.main];
}

/** How a command of this program has ended. */
export interface OwnResult {
  readonly exitCode: number;
  /** The JSON that it printed; undefined where that is none. */
  readonly answer: unknown;
  /** What it said beside that. */
  readonly told: string;
}

/**
 * Runs a command of this program in a process of its own, with the environment of this one or with `env`: what would keep the
 * event loop from everybody else, as copying a whole SQLite database. The audit names the service as who has done it.
 *
 * The process is killed when `signal` is aborted. Rejects when it can't be started.
 */
export async function runOwnCommand(
  args: readonly string[],
  { env, signal }: { readonly env?: Record<string, string>; readonly signal?: AbortSignal } = {},
): Promise<OwnResult> {
  await using child = Bun.spawn({
    cmd: [...ownCommand(), ...args],
    stdio: ["ignore", "pipe", "pipe"],
    // By this channel it knows that a process of this program has started it.
    ipc: () => undefined,
    ...(env ? { env } : {}),
    ...(signal ? { signal, killSignal: "SIGTERM" as const } : {}),
  });
  const [printed, told, exitCode] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { exitCode, answer: parsed(printed), told: told.trim() };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
