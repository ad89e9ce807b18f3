import { type CheckResult, type Checks, exitCodeOf, runChecks } from "../ops/doctor.ts";
import { VERSION } from "../version.ts";
import type { Language } from "../config.ts";
import type { Arguments } from "./arguments.ts";
import { CONFIG_CHECKS } from "./doctor/config-checks.ts";
import { DATABASE_CHECKS } from "./doctor/database-checks.ts";
import { FILE_CHECKS } from "./doctor/file-checks.ts";
import { OPERATION_CHECKS } from "./doctor/operation-checks.ts";
import { Setup } from "./doctor/setup.ts";
import { UPSTREAM_CHECKS } from "./doctor/upstream-checks.ts";
import { type ExitCode, jsonText, stopSignal } from "./exit.ts";
import { readApiKey } from "./file-arguments.ts";
import { halfOf, plainText, type Terminal, textPairs } from "./terminal.ts";

const CHECKS: Checks<Setup> = {
  ...CONFIG_CHECKS,
  ...FILE_CHECKS,
  ...DATABASE_CHECKS,
  ...UPSTREAM_CHECKS,
  ...OPERATION_CHECKS,
};

/** `accesstoken doctor`: looks at everything that can be wrong, and says what to do. */
export async function runDoctor(args: Arguments, terminal: Terminal): Promise<ExitCode> {
  const apiKey = await readApiKey(args, terminal);
  const setup = new Setup({ isOffline: args.isSet("offline"), apiKey, clock: terminal.clock });
  try {
    const results = await Promise.race([runChecks(CHECKS, setup, { clock: terminal.clock }), stopSignal()]);
    // What was opened is closed in order, or the files beside the database would stay.
    if (typeof results === "string") return 1;
    await terminal.print(args.isSet("json") ? jsonText(asData(results)) : asText(results, terminal));
    return exitCodeOf(results);
  } finally {
    setup.close();
  }
}

function asData(results: readonly CheckResult[]) {
  const both = (texts: readonly string[]) => ({ zh: joined(texts, "zh"), en: joined(texts, "en") });
  return {
    version: VERSION,
    checks: results.map(({ messages, remedies, ...result }) => ({
      ...result,
      message: both(messages),
      remedy: remedies.length === 0 ? null : both(remedies),
    })),
  };
}

function joined(texts: readonly string[], language: Language): string {
  return texts.map((text) => plainText(halfOf(text, language))).join(language === "zh" ? "；" : "; ");
}

/** A line for each check, and another with what to do. */
function asText(results: readonly CheckResult[], { language }: Pick<Terminal, "language">): string {
  const lines = results.flatMap(({ id, name, state, messages, remedies }) => {
    const head = `${String(id).padStart(2)} ${name}`;
    const told = [head, `${state.padEnd(7)}  ${joined(messages, language)}`] as const;
    const todo = remedies.map((remedy) => ["", `→ ${joined([remedy], language)}`] as const);
    return [told, ...todo];
  });
  const count = (state: CheckResult["state"]) => results.filter((each) => each.state === state).length;
  const [failed, warned] = [count("fail"), count("warn")];
  const sum = {
    en: `${failed} failed, ${warned} to look after.`,
    zh: `${failed}项失败，${warned}项需关注。`,
  };
  return `${textPairs(lines)}\n${sum[language]}\n`;
}
