import { EventBus, type ServiceEvent } from "../../src/events.ts";
import { Alarms } from "../../src/ops/alarms.ts";
import { ChannelAdministration, type ChannelInput } from "../../src/ops/channel-administration.ts";
import { ChannelDirectory } from "../../src/ops/channels.ts";
import type { FindingParts } from "../../src/ops/findings.ts";
import { KeyAddresses } from "../../src/ops/key-addresses.ts";
import { Notifier } from "../../src/ops/notifier.ts";
import { ProcessWatch } from "../../src/ops/process-watch.ts";
import type { NotReadyReason } from "../../src/ops/readiness.ts";
import { Secret } from "../../src/secret.ts";
import type { Store } from "../../src/store/store.ts";
import { NotedSender } from "../support/alarm-records.ts";
import { newClient } from "../support/client-records.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { StoreFolder } from "../support/store-folder.ts";

/** What is wrong with a service in which all is well. */
export function nothingWrong(clock: ManualClock): Omit<FindingParts, "settings" | "audit" | "milestones"> {
  return {
    index: {
      page: async () => ({ names: [], next: undefined }),
      foreignRefreshes: async () => [],
      fullestQuotas: async () => [],
      endingTokens: async () => [],
      statesOf: async (names) => names.map(() => "fresh" as const),
      countUnreachable: async () => 0,
    },
    directory: { find: () => undefined },
    platforms: async () => [],
    statusesOf: async () => new Map(),
    pacing: { forcedOften: async () => [] },
    clients: { list: () => [newClient("shop")], keysOf: () => [] },
    listNodes: async () => [],
    backupsEveryMs: undefined,
    startedAt: clock.now(),
    clock,
  };
}

/** Who makes changes. */
export const ACTOR = { client: "admin", environment: "", address: "127.0.0.1", traceId: "t" };

/** What is wrong in one process; a test changes it. */
interface Wrong {
  reasons: readonly NotReadyReason[];
  freeBytes: number | undefined;
  /** Names of apps whose secret is damaged, which is found at once. */
  blocked: readonly string[];
}

/** One process of several on one database, with a sender that notes. */
export async function openProcess(
  store: Store,
  clock: ManualClock,
  {
    sender = new NotedSender(),
    host = "token-a",
    isFirst = true,
  }: { sender?: NotedSender; host?: string; isFirst?: boolean } = {},
  more: Partial<FindingParts> = {},
) {
  const events = new EventBus();
  const emitted: ServiceEvent[] = [];
  events.subscribe((event) => emitted.push(event));
  const wrong: Wrong = { reasons: [], freeBytes: undefined, blocked: [] };
  const channels = new ChannelDirectory(store.channels, store.changes);
  await channels.refresh();
  const notifier = new Notifier({
    ...{ queue: store.notifications, channels, sender, changes: store.changes, clock, events, node: host },
    consoleUrl: undefined,
  });
  const watch = new ProcessWatch({
    ...{ host, isFirst, channels, clock, events },
    notReady: async () => wrong.reasons,
    freeBytes: async () => wrong.freeBytes,
    sendDirectly: (channel, content) => notifier.sendDirectly(channel, content),
  });
  const nothing = nothingWrong(clock);
  const findings: FindingParts = {
    ...nothing,
    index: { ...nothing.index, page: async () => ({ names: [...wrong.blocked], next: undefined }) },
    ...{ settings: channels, audit: store.audit, milestones: store.milestones },
    ...more,
  };
  const addresses = new KeyAddresses(store.alarms, channels, clock);
  const alarms = new Alarms({
    ...{
      store: store.alarms,
      milestones: store.milestones,
      channels,
      findings,
      watch,
      addresses,
      clock,
      events,
    },
  });
  const administration = new ChannelAdministration(store.channels, channels);
  return { store, channels, alarms, notifier, sender, wrong, addresses, events, emitted, administration };
}

/** A database with that many processes on it, which look and send every ten seconds. */
export async function openProcesses(count = 1) {
  const clock = new ManualClock();
  const folder = new StoreFolder(clock);
  const sender = new NotedSender();
  const processes: Awaited<ReturnType<typeof openProcess>>[] = [];
  for (let n = 0; n < count; n++)
    processes.push(await openProcess(await folder.open(), clock, { sender, isFirst: n === 0 }));
  const [first] = processes;
  if (!first) throw new Error("no process");
  const catchUp = async () => {
    clock.advance(25);
    for (const { channels } of processes) await channels.refresh();
  };
  return {
    ...{ clock, folder, sender, processes, first },
    /** Passes so many seconds; every ten of them each process looks and sends. */
    pass: async (seconds: number) => {
      for (let at = 0; at < seconds; at += 10) {
        clock.advance(10_000);
        await Promise.all(processes.map(({ alarms }) => alarms.tick()));
        await Promise.all(processes.map(({ notifier }) => notifier.tick()));
      }
    },
    /** Makes a channel that every process knows. */
    channel: async (name = "ops", input: ChannelInput = {}) => {
      const url = new Secret(`https://example.com/${name}-0123456789`);
      await first.administration.create(name, "webhook", { url, ...input }, { actor: ACTOR });
      await catchUp();
    },
    choose: async (choices: Parameters<ChannelAdministration["choose"]>[0]) => {
      await first.administration.choose(choices, { actor: ACTOR });
      await catchUp();
    },
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  };
}
