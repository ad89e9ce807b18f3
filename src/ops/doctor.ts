import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";

/** How a check ended: all is well; to be looked after; broken; or not looked at, and the message says why. */
type CheckState = "ok" | "warn" | "fail" | "skipped";

/** One thing that a check has found. Its texts have both languages, `中文 (English)`, or are good in both. */
export interface Finding {
  readonly state: CheckState;
  readonly message: string;
  /** What to do; of those that warn or fail. */
  readonly remedy?: string;
}

const AREAS = {
  config: ["configuration", "host_names", "apps", "trusted_networks", "address", "runtime"],
  files: ["permissions", "key_place", "disk_space", "file_system", "disk_speed", "foreign_log"],
  database: ["integrity", "schema", "sealed_rows", "audit", "size", "clock", "postgres"],
  upstream: ["hosts", "proxy", "outgoing_address", "app_failures", "quotas"],
  operations: [
    "admin_keys",
    "keys",
    "backup",
    "key_export",
    "limits",
    "versions",
    "notifications",
    "public_url",
    "platforms",
  ],
} as const;

/** What a check is about. */
export type Area = keyof typeof AREAS;
/** The name of a check. */
export type CheckName = (typeof AREAS)[Area][number];

/** Every check, in the order in which they are done; their numbers count up from 1 and never change. */
export const CHECKS: readonly { readonly id: number; readonly name: CheckName; readonly area: Area }[] =
  Object.entries(AREAS)
    .flatMap(([area, names]) => names.map((name: CheckName) => ({ name, area: area as Area })))
    .map((check, n) => ({ id: n + 1, ...check }));

/** What a check has come to. */
export interface CheckResult {
  readonly id: number;
  readonly name: CheckName;
  readonly area: Area;
  readonly state: CheckState;
  /** What it has found, and what to do about each. */
  readonly messages: readonly string[];
  readonly remedies: readonly string[];
}

/** The checks by their names. They look at `subject`, change nothing, and throw a `Skipped` when it can't be looked at. */
export type Checks<Subject> = Readonly<
  Record<CheckName, (subject: Subject) => Finding[] | Promise<Finding[]>>
>;

/** That something can't be looked at, as another check explains; its message has both languages. */
export class Skipped extends Error {}

/** How long one check may take, in milliseconds. */
const DEADLINE_MS = 60_000;

/** Does every check, one after the other, and goes on when one throws, or does not end within `deadlineMs`. */
export async function runChecks<Subject>(
  checks: Checks<Subject>,
  subject: Subject,
  { clock, deadlineMs = DEADLINE_MS }: { readonly clock: Clock; readonly deadlineMs?: number },
): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const check of CHECKS) {
    const late = clock.sleep(deadlineMs).then(() => [unfinished(deadlineMs)]);
    const found = await Promise.race([attempt(async () => checks[check.name](subject)), late]);
    results.push({ ...check, ...joined(found) });
  }
  return results;
}

/** The exit code: 0 when all is well, 1 when anything is broken, 4 when there are warnings alone. */
export function exitCodeOf(results: readonly Pick<Finding, "state">[]): 0 | 1 | 4 {
  if (results.some(({ state }) => state === "fail")) return 1;
  return results.some(({ state }) => state === "warn") ? 4 : 0;
}

/** That all is well. */
export function fine(message: string): Finding {
  return { state: "ok", message };
}

/** That something is to be looked after, and what to do. */
export function warning(message: string, remedy: string): Finding {
  return { state: "warn", message, remedy };
}

/** That something is broken, and what to do. */
export function failure(message: string, remedy: string): Finding {
  return { state: "fail", message, remedy };
}

async function attempt(check: () => Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await check();
  } catch (error) {
    if (error instanceof Skipped) return [{ state: "skipped", message: error.message }];
    // What any other error says may quote what it was about.
    const what = error instanceof ServiceError ? error.message : nameOf(error);
    return [failure(`检查本身出错 (the check itself failed)：${what}`, RETRY)];
  }
}

const RETRY = "请先处理其他各项；仍出现时请反馈 (see to the other checks first; report it if it stays)";

function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  return "code" in error ? String(error.code) : error.name;
}

function unfinished(ms: number): Finding {
  return failure(
    `${ms / 1000}秒内没有完成 (it did not end within ${ms / 1000} s)`,
    "请检查磁盘、网络和数据库是否有响应 (see whether disk, network and database answer)",
  );
}

const ORDER: readonly CheckState[] = ["fail", "warn", "ok", "skipped"];

/** All that a check has found as one: the worst of it, and what to do about each; what is well is not told beside it. */
function joined(found: readonly Finding[]): Pick<CheckResult, "state" | "messages" | "remedies"> {
  const state = ORDER.find((each) => found.some((finding) => finding.state === each)) ?? "ok";
  const isTrouble = state === "fail" || state === "warn";
  const told = found.filter((each) => (isTrouble ? each.remedy !== undefined : each.state === state));
  const remedies = new Set(told.flatMap(({ remedy }) => remedy ?? []));
  return { state, messages: told.map(({ message }) => message), remedies: [...remedies] };
}
