import type { Static } from "@sinclair/typebox";
import type { appStatus } from "../../../api/v1-apps-schema.ts";
import { Icon } from "../parts/icons.tsx";
import { STATES } from "../parts/state-badge.tsx";
import { w } from "./words.ts";

/** An app as the service shows it. */
export type AppStatus = Static<typeof appStatus>;

/** One credential of it. */
export type CredentialStatus = NonNullable<AppStatus["credentials"]["access_token"]>;

/** What kind of app it is, in words. */
export function typeOf({ platform, mode, login_only, role, authorized_to }: AppStatus): string {
  const kind = login_only
    ? w.loginOnly
    : role
      ? w[role]
      : authorized_to !== undefined
        ? w.authorized
        : mode && w[mode];
  return [w[platform], kind].filter(Boolean).join(" · ");
}

/** The state of each credential as an icon, with its name and its word on hover. */
export function Dots({ app }: { readonly app: AppStatus }) {
  return (
    <span class="dots">
      {Object.entries(app.credentials).map(([kind, { state }]) => {
        const said = `${kind}: ${w[state]}`;
        return (
          <span key={kind} class={`dot ${STATES[state].tone}`} title={said}>
            <Icon name={STATES[state].icon} />
            <span class="hidden">{said}</span>
          </span>
        );
      })}
    </span>
  );
}
