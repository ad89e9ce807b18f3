import { componentControls, killComponent } from "../platforms/component-kills.ts";
import { killSuite } from "../platforms/suite-kills.ts";
import type { FaultCase, FaultOptions } from "./fault-case.ts";

/** So many kills share a folder. */
const KILLS_PER_CASE = 50;

/** Kill -9 while third-party platforms are authorized and their tokens refreshed; for a suite a fifth as often as for a component. */
export function platformCases({ cycles, program }: FaultOptions): FaultCase[] {
  const parts = (what: string, run: typeof killComponent, all: number) =>
    Array.from({ length: Math.ceil(all / KILLS_PER_CASE) }, (_, n): FaultCase => {
      const from = n * KILLS_PER_CASE;
      const kills = Math.min(KILLS_PER_CASE, all - from);
      return {
        name: `kill: ${what}, kills ${from + 1} to ${from + kills}`,
        run: async () => ({ figures: await run({ kills, seed: from, program }) }),
      };
    });
  const controls = async () => ({ figures: await componentControls(program) });
  return [
    { name: "kill: platform, controls", run: controls },
    ...parts("platform, component", killComponent, cycles),
    ...parts("platform, suite", killSuite, Math.ceil(cycles / 5)),
  ];
}
