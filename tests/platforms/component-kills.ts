import { cpSync, rmSync } from "node:fs";
import { must, mustFail, randomFrom } from "../faults/fault-case.ts";
import { AT_ONCE, ComponentRun } from "./component-run.ts";
import { kill, killAgainAndAgain, type KillPlan, look, settled } from "./kill-cycle.ts";
import { COMPONENT, PlatformProcesses } from "./platform-processes.ts";

const ACCOUNTS = 24;

/**
 * P3: kill -9 while authorizations of a component are given by push, by redirect and by both, changed and withdrawn, and
 * while tokens are refreshed whose refresh token each time is another. Throws `Violation`; resolves with figures.
 */
export async function killComponent(plan: KillPlan): Promise<string> {
  const { world, state } = await prepared(plan.program);
  await using _ = world;
  const run = new ComponentRun(world, state, randomFrom(plan.seed));
  const { hits } = await killAgainAndAgain(world, plan, run);
  return `${plan.kills} kills, ${hits} cut something off; ${await run.finish()}`;
}

/** A component that has a ticket, a link to authorize it, and no process that runs. */
async function prepared(program: readonly string[]) {
  const world = new PlatformProcesses(program, {
    accounts: ACCOUNTS,
    switches: { refreshTokens: "rotate" },
  });
  await world.makeAdmin();
  const { service, url } = await world.serve();
  await world.prepare(url);
  must((await world.component.pushTicket()).accepted, "the first ticket is not taken");
  const state = await world.linkState(url);
  await kill(service);
  return { world, state };
}

/**
 * A control: the data folder is put back to how it was before an acknowledged authorization, and before a refresh token was
 * replaced. Both have to be found.
 */
export async function componentControls(program: readonly string[]): Promise<string> {
  const { world, state } = await prepared(program);
  await using _ = world;
  const run = new ComponentRun(world, state, () => 0.2);
  const check = () => look(world, (store) => run.check(store, 0));
  const during = async (work: (url: string) => Promise<unknown>) => {
    const { service, url } = await world.serve();
    await work(url);
    await settled(world);
    await kill(service);
    await check();
  };
  const folder = `${world.folder}/data`;
  const putBackAfter = async (what: string, work: (url: string) => Promise<unknown>) => {
    cpSync(folder, `${folder}-${what}`, { recursive: true });
    await during(work);
    cpSync(folder, `${folder}-now`, { recursive: true, force: true });
    rmSync(folder, { recursive: true });
    cpSync(`${folder}-${what}`, folder, { recursive: true });
    const found = await mustFail(`${what} that is taken back`, check);
    rmSync(folder, { recursive: true });
    cpSync(`${folder}-now`, folder, { recursive: true });
    return found;
  };
  // All accounts at once, so that whichever the run picks next has a refresh token.
  const authorize = (url: string) =>
    Promise.all(Array.from({ length: ACCOUNTS / AT_ONCE }, () => run.begin(url)).flat());
  const refresh = (url: string) =>
    Promise.all(world.accounts.map((each) => world.token(url, `${each}_${COMPONENT}`)));
  const authorized = await putBackAfter("an authorization", authorize);
  await look(world, (store) => run.expireAll(store));
  return [authorized, await putBackAfter("a refresh token", refresh)].join("; ");
}
