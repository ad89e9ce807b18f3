/**
 * One of several processes that raise alarms on one database. Each line that it reads is JSON of what time it is and whether an
 * app is blocked; it makes one round then and prints a line. Arguments: the database's path, and its key's.
 */
import { Networks } from "../../src/access/networks.ts";
import { type Clock, systemClock } from "../../src/clock.ts";
import { EventBus } from "../../src/events.ts";
import { Alarms } from "../../src/ops/alarms.ts";
import { ChannelDirectory } from "../../src/ops/channels.ts";
import { KeyAddresses } from "../../src/ops/key-addresses.ts";
import { Notifier } from "../../src/ops/notifier.ts";
import { ProcessWatch } from "../../src/ops/process-watch.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { HttpChannelSender } from "../../src/upstream/channel-sender.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { nothingWrong } from "./alarm-harness.ts";

const [path = "", masterKeyFile = ""] = process.argv.slice(2);
let now = 0;
/** Time stands but between two rounds: nothing is late because the machine is slow. */
const clock: Clock = {
  now: () => now,
  monotonic: () => now,
  sleep: (ms) => systemClock.sleep(Math.min(ms, 10)),
};
const store = await openSqliteStore({
  path,
  masterKey: undefined,
  masterKeyFile,
  newDatabase: false,
  clock,
  onKeyCreated: () => undefined,
});
const events = new EventBus();
const channels = new ChannelDirectory(store.channels, store.changes);
await channels.refresh();
const node = String(process.pid);
const sender = new HttpChannelSender({ clock, proxyUrl: undefined, networks: new Networks("127.0.0.0/8") });
const notifier = new Notifier({
  ...{ queue: store.notifications, channels, sender, changes: store.changes, clock, events, node },
  consoleUrl: undefined,
});
const nothing = nothingWrong(new ManualClock());
let isBlocked = false;
const alarms = new Alarms({
  ...{ store: store.alarms, milestones: store.milestones, channels, clock, events },
  addresses: new KeyAddresses(store.alarms, channels, clock),
  watch: new ProcessWatch({
    ...{ host: node, isFirst: true, channels, clock, events },
    notReady: async () => [],
    freeBytes: async () => undefined,
    sendDirectly: (channel, content) => notifier.sendDirectly(channel, content),
  }),
  findings: {
    ...nothing,
    index: { ...nothing.index, page: async () => ({ names: isBlocked ? ["wx1"] : [], next: undefined }) },
    ...{ settings: channels, audit: store.audit, milestones: store.milestones, clock },
  },
});
for await (const line of console) {
  ({ now, isBlocked } = JSON.parse(line) as { now: number; isBlocked: boolean });
  await alarms.tick();
  await notifier.tick();
  process.stdout.write("round\n");
}
