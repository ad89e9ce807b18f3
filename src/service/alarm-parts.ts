import { statfs } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import type { ClientDirectory } from "../access/client-directory.ts";
import type { PublicSide } from "../apps/public-side.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import { appName } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { AppIndex } from "../credentials/app-index.ts";
import type { Pacing } from "../credentials/pacing.ts";
import type { CredentialStates } from "../credentials/status.ts";
import type { EventBus } from "../events.ts";
import { Alarms } from "../ops/alarms.ts";
import { ChannelAdministration } from "../ops/channel-administration.ts";
import { ChannelDirectory } from "../ops/channels.ts";
import { KeyAddresses } from "../ops/key-addresses.ts";
import type { ChannelSender } from "../ops/notifications.ts";
import { Notifier } from "../ops/notifier.ts";
import { platformStates } from "../ops/platform-states.ts";
import { ProcessWatch } from "../ops/process-watch.ts";
import type { Readiness } from "../ops/readiness.ts";
import type { Store } from "../store/store.ts";
import { HttpChannelSender } from "../upstream/channel-sender.ts";

/** What alarms are raised and told with. */
export interface AlarmSideOptions {
  readonly config: Pick<
    Config,
    | "backups"
    | "callbackNetworks"
    | "upstreamProxy"
    | "databasePath"
    | "publicSide"
    | "allowedHosts"
    | "hasConsole"
  >;
  readonly store: Store;
  readonly directory: AppDirectory;
  readonly publicSide: PublicSide;
  readonly clients: ClientDirectory;
  readonly index: AppIndex;
  readonly states: CredentialStates;
  readonly pacing: Pacing;
  readonly readiness: Readiness;
  readonly clock: Clock;
  readonly events: EventBus;
  /** Whether it is the first of several processes of this machine. */
  readonly isFirst: boolean;
  /** In the place of the real one. */
  readonly sender?: ChannelSender | undefined;
}

/** Wires what raises alarms and tells channels of them. */
export function buildAlarms(options: AlarmSideOptions) {
  const { config, store, directory, states, clock, events, isFirst } = options;
  const host = hostname();
  const channels = new ChannelDirectory(store.channels, store.changes);
  const { callbackNetworks: networks, upstreamProxy: proxyUrl, databasePath } = config;
  const notifier = new Notifier({
    ...{ queue: store.notifications, channels, changes: store.changes, clock, events, node: host },
    sender: options.sender ?? new HttpChannelSender({ clock, proxyUrl, networks }),
    consoleUrl: consoleUrlOf(config),
  });
  const watch = new ProcessWatch({
    ...{ host, isFirst, channels, clock, events },
    notReady: () => options.readiness.reasons(),
    freeBytes: async () => {
      if (databasePath === undefined) return undefined;
      const { bavail, bsize } = await statfs(dirname(databasePath));
      return bavail * bsize;
    },
    sendDirectly: (channel, content) => notifier.sendDirectly(channel, content),
  });
  const addresses = new KeyAddresses(store.alarms, channels, clock);
  options.clients.onUsed = addresses.note;
  const alarms = new Alarms({
    ...{ store: store.alarms, milestones: store.milestones, channels, watch, addresses, clock, events },
    findings: {
      ...{ index: options.index, pacing: options.pacing, clients: options.clients, clock },
      ...{ directory, platforms: () => platformStates(directory, store, clock.now()) },
      ...{ audit: store.audit, milestones: store.milestones, settings: channels },
      statusesOf: async (names) => {
        const slots = names.flatMap((name) => directory.findSlot(name) ?? []);
        return new Map((await states.ofApps(slots)).map((status) => [appName(status.slot), status]));
      },
      listNodes: () => store.nodes.list(),
      backupsEveryMs: config.backups?.everyMs,
      startedAt: clock.now(),
    },
  });
  return {
    parts: {
      ...{ alarmStore: store.alarms, notifications: store.notifications, channels, notifier },
      channelAdministration: new ChannelAdministration(store.channels, channels),
    },
    background: [alarms, notifier],
  };
}

/** Where messages say that the console is: where callers of the API come, over https. Nothing but what is public is under PUBLIC_URL. */
function consoleUrlOf({
  hasConsole,
  publicSide: { url, servesAll },
  allowedHosts,
}: Pick<Config, "hasConsole" | "publicSide" | "allowedHosts">): string | undefined {
  if (!hasConsole) return undefined;
  if (servesAll && url !== undefined) return `${url}/console`;
  const host = allowedHosts.find((each) => url === undefined || each !== new URL(url).hostname);
  return host === undefined ? undefined : `https://${host}/console`;
}
