import { duration, now } from "../format.ts";
import { type State, STATES } from "./state-badge.tsx";
import { common as w } from "./words.ts";

/**
 * How much of a credential's life is left, with a mark where it is renewed: runs down by itself. Instants are epoch
 * milliseconds; without an expiry it is empty.
 */
export function LifeBar(props: {
  readonly state: State;
  readonly issuedAt?: number | undefined;
  readonly expiresAt?: number | undefined;
  readonly renewAt?: number | undefined;
}) {
  const { state, issuedAt, expiresAt, renewAt } = props;
  if (issuedAt === undefined || expiresAt === undefined) {
    return (
      <span class="life">
        <span class="life-track" />
        <span class="life-left muted">–</span>
      </span>
    );
  }
  const whole = Math.max(1, expiresAt - issuedAt);
  const rest = Math.max(0, expiresAt - now.value);
  const left = rest === 0 ? w.expired : w.left(duration(rest));
  const isMarked = renewAt !== undefined && renewAt > issuedAt && renewAt < expiresAt;
  const isAhead = isMarked && renewAt > now.value;
  return (
    <span class="life" title={isAhead ? w.lifeOf(left, duration(renewAt - now.value)) : left}>
      <span class="life-track">
        <span
          class={`life-fill ${rest === 0 ? "idle" : STATES[state].tone}`}
          style={{ width: `${Math.min(100, (100 * rest) / whole)}%` }}
        />
        {isMarked && <span class="life-mark" style={{ left: `${(100 * (expiresAt - renewAt)) / whole}%` }} />}
      </span>
      <span class="life-left">{rest === 0 ? w.expired : duration(rest)}</span>
    </span>
  );
}
