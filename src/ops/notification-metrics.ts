import type { EventHandlers, MetricRegistry } from "./metrics.ts";
import { CHANNEL_KINDS } from "./notifications.ts";

/** Counts what channels were told, in this process. */
export function notificationHandlers(registry: MetricRegistry): EventHandlers {
  const notifications = registry.counter({
    name: "accesstoken_notifications_total",
    help: "Messages to notification channels, by kind of channel; failed: after the last attempt.",
    labelNames: ["kind", "outcome"],
  });
  for (const kind of CHANNEL_KINDS) notifications.show([kind], ["sent", "failed"]);
  return {
    "notification.sent": ({ kind }) => notifications.increase(kind, "sent"),
    "notification.failed": ({ kind }) => notifications.increase(kind, "failed"),
  };
}
