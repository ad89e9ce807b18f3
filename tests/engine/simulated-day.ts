import { CLASSIC, createHarness, Node, STABLE, WECOM_APP } from "./node.ts";

const ENDPOINTS = {
  stable: "/cgi-bin/stable_token",
  classic: "/cgi-bin/token",
  wecom: "/cgi-bin/gettoken",
} as const;

/** What a day cost, and what was wrong in it. */
export interface SimulatedDay {
  /** Upstream token calls of one app in each mode. */
  readonly calls: Readonly<Record<keyof typeof ENDPOINTS, number>>;
  /** Tokens that were dead when they were handed out, and gets that waited for WeChat. */
  readonly faults: readonly string[];
}

/** A day of three apps, a second at a time, in which somebody asks for each token once a minute. */
export async function simulateDay(): Promise<SimulatedDay> {
  await using world = await createHarness();
  const node = Node.of(world);
  const apps = [STABLE, CLASSIC, WECOM_APP];
  for (const app of apps) await node.token(app);
  world.clock.advance(7_777);
  world.sandbox.resetCalls();
  node.forget();
  const faults: string[] = [];
  for (let second = 1; second <= 86_400; second++) {
    world.clock.advance(1000);
    await node.tick();
    if (second % 60 !== 0) continue;
    const before = world.sandbox.calls(undefined, "weixin");
    for (const app of apps) {
      const value = await node.token(app);
      if (!world.sandbox.accepts(value)) faults.push(`${app} dead at ${second}`);
    }
    if (world.sandbox.calls(undefined, "weixin") > before) faults.push(`waited at ${second}`);
    node.forget();
  }
  const callsOf = (mode: keyof typeof ENDPOINTS) => world.sandbox.calls(ENDPOINTS[mode]);
  return {
    calls: { stable: callsOf("stable"), classic: callsOf("classic"), wecom: callsOf("wecom") },
    faults,
  };
}
