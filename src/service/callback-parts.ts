import type { AppDirectory } from "../apps/app-directory.ts";
import type { AuditTrail } from "../audit/audit-trail.ts";
import { CallbackDirectory } from "../callbacks/callback-directory.ts";
import { Deliveries } from "../callbacks/deliveries.ts";
import { type PlatformCommands, PlatformPushes } from "../callbacks/platform-pushes.ts";
import { PulledDeliveries } from "../callbacks/pulled-deliveries.ts";
import { PushReceiver } from "../callbacks/push-receiver.ts";
import { CallbackFace } from "../api/callbacks.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { EventBus } from "../events.ts";
import type { Store } from "../store/store.ts";
import { TargetAddresses } from "../upstream/target-addresses.ts";
import { TargetClient } from "../upstream/target-client.ts";

/** What pushes are received and delivered with. */
export interface CallbackSideOptions {
  readonly config: Pick<Config, "callbackNetworks">;
  readonly store: Pick<Store, "callbackSettings" | "deliveries" | "changes">;
  readonly directory: AppDirectory;
  readonly audit: Pick<AuditTrail, "countUsage">;
  readonly clock: Clock;
  readonly events: EventBus;
  /** What third-party platforms are told. */
  readonly commands: PlatformCommands;
  /** In the place of the 4.5 s that a primary has, in milliseconds. */
  readonly answerMs?: number | undefined;
}

/** Wires what receives pushes and delivers them. */
export function buildCallbacks({
  config,
  store,
  directory,
  audit,
  clock,
  events,
  commands,
  answerMs,
}: CallbackSideOptions) {
  const { callbackSettings: settings, deliveries: queue } = store;
  const callbacks = new CallbackDirectory(settings, store.changes);
  const pulled = new PulledDeliveries(queue, clock);
  const deliveries = new Deliveries({
    ...{ store: queue, callbacks, directory, clock, events },
    sender: new TargetClient(new TargetAddresses(config.callbackNetworks)),
    onDelivered: ({ app, target, environment, type, event }) => {
      const kind = [type, event].filter((each) => /^[\w.-]{1,64}$/.test(each)).join(":");
      audit.countUsage({ client: `(target ${target})`, environment }, `push ${kind}`, app);
    },
  });
  const platforms = new PlatformPushes({ directory, callbacks, commands });
  const receiver = new PushReceiver({
    ...{ store: queue, settings, callbacks, directory, platforms, deliveries, pulled },
    ...{ clock, events, answerMs },
  });
  return {
    ...{ callbacks, queue, pulled },
    face: new CallbackFace(receiver, { directory, events, clock }),
    background: [callbacks, deliveries, receiver],
  };
}
