import type { Call, Change, Fault, HistoryEvent, Read } from "./nemesis-history.ts";
import { type Promises, World } from "./nemesis-world.ts";

/** A node learns once a second that it does not reach the database. */
const LOOK_MS = 1000;
/** What was fetched is saved until its lease ends. */
const SAVE_MS = 10_000;
/** A lease lives 10 s, of which a call is begun within the first 6: a shorter pause makes no call late. */
const LEAST_LATE_MS = 4000;
/** So soon after a pause a call is sent that was on its way. */
const LATE_MS = 1500;
/** What was asked of a node that did not answer may still be done for so long. */
const UNKNOWN_MS = 10_000;
/** What leaves an app without a token. */
const ENDS_TOKENS: readonly Change["kind"][] = ["clear", "replace", "secret"];
/** A node answers 503 when it does not know whether the database has done what it asked. */
const SETTLE_MS = 2000;

/**
 * What a run has shown that contradicts M1, M2 or M3, as sentences; none when all is well.
 *
 * Pure: the same history gives the same answer, in whichever order its events are.
 */
export function violationsOf(history: readonly HistoryEvent[], promises: Promises): string[] {
  const world = new World(history, promises);
  return [
    ...issuedOnly(world),
    ...oneFlight(world),
    ...neededCalls(world),
    ...forward(world),
    ...notOverNewer(world),
    ...endedValues(world),
    ...disabledApps(world),
    ...revokedKeys(world),
    ...formerSecrets(world),
    ...cutNodes(world),
    ...generations(world),
  ];
}

/** P2: a token that was handed out is one of the app's. */
function issuedOnly({ reads }: World): string[] {
  return reads
    .filter(({ token }) => token === -1)
    .map((read) => `node ${read.node} handed out for ${read.app} what WeChat has never issued${when(read)}`);
}

/** M1: calls for the same app never overlap, except one for each pause in which a lease ran out. */
function oneFlight(world: World): string[] {
  const late = new LateCalls(world);
  return perApp(world.calls).flatMap(([app, calls]) =>
    calls.flatMap((call, n) => {
      const other = calls.slice(0, n).find(({ to }) => to > call.from);
      if (!other || late.excuses(call) || late.excuses(other)) return [];
      return [
        `two calls for ${app} at once, by nodes ${other.node} and ${call.node}${when(other)}${when(call)}`,
      ];
    }),
  );
}

/** M1: a token is fetched again only where the last one was ended or could not be saved, or its lease was lost. */
function neededCalls(world: World): string[] {
  const late = new LateCalls(world);
  const isLost = ({ node, app, token, from, to }: Call) => {
    // Whoever has handed it out had it from the database.
    const seen = world.reads.find((read) => read.app === app && read.token === token && token !== undefined);
    const savedAt = Math.min(seen?.to ?? Infinity, to + SAVE_MS);
    return world.faultsOf(node).some((fault) => fault.from <= savedAt && world.overAt(fault) >= from);
  };
  return perApp(world.calls).flatMap(([app, calls]) =>
    calls.slice(1).flatMap((call, n) => {
      const last = calls[n]!;
      const isChanged = world.changes.some(
        (change) =>
          change.of === app &&
          ENDS_TOKENS.includes(change.kind) &&
          change.from <= call.from &&
          settledAt(world, change) >= last.from,
      );
      const isNeeded = last.token === undefined || isChanged || isLost(last);
      if (isNeeded || late.excuses(call) || late.excuses(last)) return [];
      return [
        `node ${call.node} has fetched the token of ${app} again without need${when(last)}${when(call)}`,
      ];
    }),
  );
}

/** Each pause of a node excuses one call for each app. */
class LateCalls {
  readonly #world: World;
  readonly #excused = new Map<string, Call>();

  constructor(world: World) {
    this.#world = world;
  }

  excuses(call: Call): boolean {
    return this.#world.faults.some((fault) => {
      if (fault.kind !== "stop" || fault.node !== call.node || fault.to - fault.from < LEAST_LATE_MS)
        return false;
      if (call.to < fault.from || call.from > fault.to + LATE_MS) return false;
      const key = `${fault.node} ${fault.from} ${call.app}`;
      const first = this.#excused.get(key) ?? call;
      this.#excused.set(key, first);
      return first === call;
    });
  }
}

/** Until when a change may still have been made. */
function settledAt(world: World, { node, from, to, code }: Change): number {
  if (code === undefined) {
    const ends = world
      .faultsOf(node)
      .filter((fault) => fault.from <= to && fault.to >= from)
      .map((fault) => fault.to);
    return Math.max(to, ...ends) + UNKNOWN_MS;
  }
  return code === 503 ? to + SETTLE_MS : to;
}

/** Per node: what is handed out is never older than what was handed out before. */
function forward({ reads }: World): string[] {
  const lanes = Map.groupBy(reads, ({ node, app }) => `${node} ${app}`);
  return [...lanes.values()].flatMap((lane) => {
    const answered = lane.toSorted((a, b) => a.to - b.to);
    let next = 0;
    let newest = -1;
    return lane.flatMap((read) => {
      for (; (answered[next]?.to ?? Infinity) <= read.from; next++)
        newest = Math.max(newest, answered[next]?.token ?? -1);
      if (read.token === undefined || read.token >= newest) return [];
      return [
        `node ${read.node} went back from token ${newest} of ${read.app} to ${read.token}${when(read)}`,
      ];
    });
  });
}

/** M1: where a newer token was handed out by any node, an older one stands nowhere. */
function notOverNewer(world: World): string[] {
  return perApp(world.reads).flatMap(([app, reads]) => {
    const firstAt = new Map<number, number>();
    for (const { token, to } of reads)
      if (token !== undefined) firstAt.set(token, Math.min(to, firstAt.get(token) ?? Infinity));
    const isOver = (read: Read) => (newer: number, at: number) =>
      newer > (read.token ?? newer) && read.from >= at && read.from >= world.knownAt(read.node, at);
    return reads.flatMap((read) => {
      const newer = [...firstAt].find(([token, at]) => isOver(read)(token, at))?.[0];
      if (newer === undefined) return [];
      return [`node ${read.node} handed out token ${read.token} of ${app} after ${newer}${when(read)}`];
    });
  });
}

/** M3: what was cleared or replaced is handed out no more. */
function endedValues(world: World): string[] {
  return world.changes.filter(isDone).flatMap((change) =>
    world.reads.flatMap((read) => {
      const isEnded = read.app === change.of && read.token !== undefined && read.token <= change.ends;
      if (!isEnded || !mustKnow(world, read, change)) return [];
      return [
        `node ${read.node} handed out token ${read.token} of ${read.app}${when(read)} after ${change.kind}${when(change)}`,
      ];
    }),
  );
}

/** M3: no token of an app that is disabled is handed out. */
function disabledApps(world: World): string[] {
  return world.changes
    .filter((change) => isDone(change) && change.kind === "disable")
    .flatMap((change) => {
      const enabled = world.changes.find(
        ({ kind, of, from }) => kind === "enable" && of === change.of && from >= change.to,
      );
      const until = enabled?.from ?? Infinity;
      return world.reads.flatMap((read) => {
        const isOf = read.app === change.of && read.token !== undefined && read.to <= until;
        if (!isOf || !mustKnow(world, read, change)) return [];
        return [`node ${read.node} handed out a token of ${read.app}${when(read)}, disabled${when(change)}`];
      });
    });
}

/** M3: a key that was revoked opens nothing. */
function revokedKeys(world: World): string[] {
  return world.changes
    .filter((change) => isDone(change) && change.kind === "revoke")
    .flatMap((change) =>
      world.reads.flatMap((read) => {
        const isOpen = read.key === change.of && read.token !== undefined;
        if (!isOpen || !mustKnow(world, read, change)) return [];
        return [`node ${read.node} took key ${change.of}${when(read)}, revoked${when(change)}`];
      }),
    );
}

/** M2: WeChat is asked with the secret that was set last. */
function formerSecrets(world: World): string[] {
  return world.changes.filter(isDone).flatMap((change) =>
    world.calls.flatMap((call) => {
      const isFormer = call.app === change.of && call.secret < (change.secret ?? 0);
      if (!isFormer || !mustKnow(world, call, change)) return [];
      return [`node ${call.node} sent a former secret of ${call.app}${when(call)}, changed${when(change)}`];
    }),
  );
}

/** M3, M5: a node that does not reach the database changes nothing, says so, and hands out nothing after a while. */
function cutNodes(world: World): string[] {
  const { cutOffMs, notReadyMs } = world.promises;
  const isLine = ({ kind }: Fault) => kind !== "kill" && kind !== "stop" && kind !== "skew";
  return world.faults.filter(isLine).flatMap((fault) => {
    const during = <T extends { readonly node: number; readonly from: number; readonly to: number }>(
      events: readonly T[],
      afterMs: number,
    ) => {
      const isOf = ({ node }: T) => node === (fault.node ?? node);
      const since = fault.from + afterMs;
      return events.filter(
        (each) =>
          isOf(each) && each.to <= fault.to && each.from >= since + world.stalledMs(fault.from, each.from),
      );
    };
    const changed = during(world.changes, 0).filter((change) => isDone(change) && change.kind !== "replace");
    const ready = during(world.probes, notReadyMs).filter(({ isReady }) => isReady);
    const read = during(world.reads, cutOffMs + LOOK_MS).filter(({ token }) => token !== undefined);
    return [
      ...changed.map((each) => `node ${each.node} changed ${each.of}${when(each)} while cut${when(fault)}`),
      ...ready.map((each) => `node ${each.node} was ready${when(each)} while cut${when(fault)}`),
      ...read.map((each) => `node ${each.node} handed out ${each.app}${when(each)} while cut${when(fault)}`),
    ];
  });
}

/** M1: generations only rise, and under none of them are two results saved. */
function generations({ saved }: World): string[] {
  const newest = new Map<string, number>();
  const owners = new Map<string, number>();
  return saved.flatMap(({ node, app, generation }) => {
    const before = newest.get(`${node} ${app}`) ?? -Infinity;
    newest.set(`${node} ${app}`, Math.max(before, generation));
    const owner = owners.get(`${app} ${generation}`);
    owners.set(`${app} ${generation}`, node);
    if (generation > before && owner === undefined) return [];
    return [
      `node ${node} has saved generation ${generation} of ${app} after ${before}; node ${owner ?? "none"} had it`,
    ];
  });
}

function mustKnow(world: World, { node, from }: { node: number; from: number }, change: Change): boolean {
  return from >= change.to && from >= world.knownAt(node, change.to);
}

function isDone({ code }: Change): boolean {
  return code === 0;
}

function perApp<T extends { readonly app: string }>(events: readonly T[]): [string, T[]][] {
  return [...Map.groupBy(events, ({ app }) => app)];
}

function when({ from, to }: { readonly from: number; readonly to: number }): string {
  return ` at ${Math.round(from)}–${Math.round(to)} ms`;
}
