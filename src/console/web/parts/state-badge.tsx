import type { ComponentChildren } from "preact";
import { Icon, type IconName } from "./icons.tsx";
import { common as w } from "./words.ts";

/** Colours of health; `idle` for what is neither well nor ill. */
export type Tone = "ok" | "info" | "warn" | "bad" | "idle";

/** The states of a credential, and of an app by its worst one. */
export type State = "fresh" | "refreshing" | "expiring" | "failing" | "blocked" | "none" | "disabled";

/** The states of an app, the worst first. */
export const APP_STATES = ["blocked", "failing", "expiring", "fresh", "none", "disabled"] as const;

/** How each state looks. */
export const STATES: Record<State, { readonly tone: Tone; readonly icon: IconName }> = {
  fresh: { tone: "ok", icon: "check" },
  refreshing: { tone: "info", icon: "refresh" },
  expiring: { tone: "warn", icon: "clock" },
  failing: { tone: "bad", icon: "alert" },
  blocked: { tone: "bad", icon: "ban" },
  none: { tone: "idle", icon: "circle" },
  disabled: { tone: "idle", icon: "pause" },
};

/** A word with a colour and an icon, as for an outcome: `<Badge tone="ok" icon="check">{w.delivered}</Badge>`. */
export function Badge(props: {
  readonly tone: Tone;
  readonly icon?: IconName;
  readonly title?: string | undefined;
  readonly children: ComponentChildren;
}) {
  return (
    <span class={`badge ${props.tone}`} title={props.title}>
      {props.icon && <Icon name={props.icon} />}
      {props.children}
    </span>
  );
}

/** The state of a credential or an app; `reason` is told on hover. */
export function StateBadge({
  state,
  reason,
}: {
  readonly state: State;
  readonly reason?: string | undefined;
}) {
  const { tone, icon } = STATES[state];
  return (
    <Badge tone={tone} icon={icon} title={reason}>
      {w[state]}
    </Badge>
  );
}
