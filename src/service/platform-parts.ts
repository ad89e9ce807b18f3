import type { AppAdministration } from "../apps/app-administration.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import { type App, isAgency, type PlatformRole, roleOf, type Slot } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import type { CredentialRef } from "../credentials/credential.ts";
import { type CredentialKind, tokenKindOf } from "../credentials/kinds.ts";
import type { CredentialManager } from "../credentials/manager.ts";
import type { Pacing } from "../credentials/pacing.ts";
import type { CredentialSource } from "../credentials/source.ts";
import type { Platform } from "../errors.ts";
import type { EventBus } from "../events.ts";
import { Authorizations } from "../platforms/authorizations.ts";
import { AuthorizedApps } from "../platforms/authorized-apps.ts";
import { PlatformEvents } from "../platforms/platform-events.ts";
import type { PlatformProtocol } from "../platforms/platform-protocol.ts";
import { authorizerTokenSource, componentTokenSource, platformOf } from "../platforms/platform-sources.ts";
import { Reconciliation } from "../platforms/reconciliation.ts";
import { TicketWatch } from "../platforms/ticket-watch.ts";
import type { Store } from "../store/store.ts";
import { ComponentApi } from "../upstream/component-api.ts";
import type { HttpClient } from "../upstream/http-client.ts";
import {
  corpTokenSource,
  providerTokenSource,
  suiteProtocol,
  suiteTokenSource,
} from "../upstream/suite-api.ts";

/** What third-party platforms are served with. */
export interface PlatformSideOptions {
  readonly store: Pick<Store, "apps" | "authorizationCodes" | "credentials" | "milestones">;
  readonly directory: AppDirectory;
  readonly administration: Pick<AppAdministration, "refresh">;
  readonly credentials: CredentialManager;
  readonly pacing: Pick<Pacing, "admit">;
  /** As of `AppAdministration`. */
  readonly onCleared: (app: App) => void;
  readonly http: HttpClient;
  readonly clock: Clock;
  readonly events: EventBus;
}

/** Wires third-party platforms: their tokens, those of the accounts that they have, and how they come to have them. */
export function buildPlatforms(options: PlatformSideOptions) {
  const { store, directory, administration, credentials, pacing, onCleared, http, clock, events } = options;
  const component = new ComponentApi(http, credentials);
  const suite = suiteProtocol(http, credentials);
  const protocols: Readonly<Partial<Record<PlatformRole, PlatformProtocol>>> = { component, suite };
  const protocolOf = (platform: Slot) => {
    const role = roleOf(platform);
    return role && protocols[role];
  };
  const claim = (work: string, everyMs: number) => store.milestones.claim(work, everyMs);
  const refresh = () => administration.refresh();
  const apps = new AuthorizedApps({
    ...{ store: store.apps, credentials: store.credentials, directory, refresh, onCleared },
    ...{ protocolOf, clock, events },
  });
  const reconciliation = new Reconciliation({
    ...{ apps, directory, refresh, protocolOf, claim, clock, events },
  });
  const authorizations = new Authorizations({
    ...{ codes: store.authorizationCodes, apps, reconciliation, directory, protocolOf, credentials, pacing },
    ...{ claim, clock, events },
  });
  /** Without a ticket there is no platform's token, unless one is left, and without that none of an account. */
  const hasTicket = ({ slot }: CredentialRef) => {
    const kind = slot.platform === "weixin" ? "component_verify_ticket" : "suite_ticket";
    return credentials.get({ slot, kind });
  };
  const hasPlatformToken = async ({ slot: account }: CredentialRef) => {
    // An agency app's token is had by the corp's own secret.
    if (account.platform === "wecom" && isAgency(account.name)) return;
    const slot = platformOf(directory, account);
    const kind = tokenKindOf(slot);
    await hasTicket({ slot, kind }).catch(() => credentials.get({ slot, kind }));
  };
  const ofPlatforms: Readonly<Partial<Record<CredentialKind, CredentialSource>>> = {
    component_access_token: {
      ...componentTokenSource((...asked) => component.componentToken(...asked), credentials),
      ready: hasTicket,
    },
    suite_access_token: { ...suiteTokenSource(http, credentials), ready: hasTicket },
    provider_access_token: providerTokenSource(http),
  };
  const ofAccounts: Readonly<Partial<Record<Platform, CredentialSource>>> = {
    weixin: {
      ready: hasPlatformToken,
      ...authorizerTokenSource({
        ...{ directory, store: store.apps, clock },
        ask: (...asked) => component.authorizerToken(...asked),
        recover: (slot, signal) => apps.recover(platformOf(directory, slot), slot, signal),
        lose: (...lost) => apps.lose(...lost),
      }),
    },
    wecom: {
      ready: hasPlatformToken,
      ...corpTokenSource({
        ...{ http, tokens: credentials, directory, store: store.apps },
        confirmLost: (slot, signal) => apps.describe(platformOf(directory, slot), slot.appId, signal),
      }),
    },
  };
  const watch = new TicketWatch({
    ...{ store: store.credentials, directory, claim, clock, events },
    startPushing: (platform, signal) => component.startPushing(platform, signal),
  });
  return {
    /** What asks for a credential of a platform, or for a token of what it has; undefined for any other. */
    sourceOf: ({ slot, kind }: CredentialRef): CredentialSource | undefined => {
      const isTokenOfAccount = kind === "access_token" && slot.isAuthorized;
      return ofPlatforms[kind] ?? (isTokenOfAccount ? ofAccounts[slot.platform] : undefined);
    },
    parts: {
      authorizations,
      /** A code for one visit of WeChat's consent page. */
      preAuthCode: (platform: Slot, signal: AbortSignal) => component.preAuthCode(platform, signal),
      /** Has WeChat push tickets of a component again. */
      startPushing: (platform: Slot, signal: AbortSignal) => component.startPushing(platform, signal),
    },
    events: new PlatformEvents({ credentials, authorizations, directory }),
    watch,
    background: [authorizations, watch],
  };
}
