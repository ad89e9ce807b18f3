/**
 * The service, with what happens every second happening every hour: it does the same work as the service for each
 * request, and writes none of its counts down while it is measured.
 */
const HOUR_MS = 3_600_000;
const { setInterval: every, setTimeout: after } = globalThis;

globalThis.setInterval = slowed(every);
globalThis.setTimeout = slowed(after);
void import("../../src/main.ts");

function slowed<T extends typeof setInterval | typeof setTimeout>(start: T): T {
  const slow = (run: () => void, ms?: number, ...rest: unknown[]) =>
    start(run, ms === 1000 ? HOUR_MS : ms, ...rest);
  return slow as unknown as T;
}
