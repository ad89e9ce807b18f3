import { useEffect, useState } from "preact/hooks";
import { get, post, remove } from "../api.ts";
import { number } from "../format.ts";
import { halfOf } from "../language.ts";
import { Button } from "../parts/button.tsx";
import { Id } from "../parts/copy.tsx";
import { ask } from "../parts/dialog.tsx";
import { LifeBar } from "../parts/life-bar.tsx";
import { Facts } from "../parts/page.tsx";
import { StateBadge } from "../parts/state-badge.tsx";
import { Empty } from "../parts/states.tsx";
import { Time } from "../parts/time.tsx";
import { attempt } from "../parts/toast.tsx";
import { may } from "../session.ts";
import type { AppStatus, CredentialStatus } from "./app-status.tsx";
import { w } from "./words.ts";

/** So long a value is shown. */
const SHOWN_MS = 30_000;

/** Every credential of an app with its life, what went wrong, and what may be done with it. */
export function Credentials({ app, onDone }: { readonly app: AppStatus; readonly onDone: () => void }) {
  const credentials = Object.entries(app.credentials);
  if (credentials.length === 0) return <Empty title={w.noCredentials} hint={w.noCredentialsHint} />;
  return (
    <>
      {credentials.map(([kind, credential]) => (
        <Credential key={kind} app={app} kind={kind} credential={credential} onDone={onDone} />
      ))}
    </>
  );
}

function Credential(props: {
  readonly app: AppStatus;
  readonly kind: string;
  readonly credential: CredentialStatus;
  readonly onDone: () => void;
}) {
  const { app, kind, credential, onDone } = props;
  const { state, issued_at, expires_at, next_attempt_at: next, last_failure: failure } = credential;
  return (
    <section class="section framed" aria-label={kind}>
      <header>
        <div class="row">
          <h2>
            <code>{kind}</code>
          </h2>
          <StateBadge state={state} />
          <LifeBar state={state} issuedAt={issued_at} expiresAt={expires_at} renewAt={next} />
        </div>
        <CredentialActions app={app} kind={kind} hasValue={expires_at !== undefined} onDone={onDone} />
      </header>
      {failure && (
        <p class="form-error">
          {halfOf(failure.msg)}
          {failure.hint !== undefined && ` · ${halfOf(failure.hint)}`}
          {` · ${w.inRow(failure.count)}`}
        </p>
      )}
      <div class="facts-across">
        <Facts
          items={[
            [w.issued, issued_at === undefined ? undefined : <Time at={issued_at} />],
            [w.expires, expires_at === undefined ? undefined : <Time at={expires_at} />],
            [w.nextAttempt, next === undefined ? undefined : <Time at={next} />],
            [
              w.lastUsed,
              credential.last_used_at === undefined ? undefined : <Time at={credential.last_used_at} />,
            ],
            [w.generation, credential.generation === 0 ? undefined : String(credential.generation)],
            [
              w.revokedEarly,
              credential.revoked_early && (
                <>
                  <Time at={credential.revoked_early.at} />
                  {` · ${w.earlyBy(Math.round(credential.revoked_early.early / 60))}`}
                </>
              ),
            ],
          ]}
        />
      </div>
    </section>
  );
}

function CredentialActions(props: {
  readonly app: AppStatus;
  readonly kind: string;
  readonly hasValue: boolean;
  readonly onDone: () => void;
}) {
  const { app, kind, hasValue, onDone } = props;
  const path = `/v1/apps/${encodeURIComponent(app.app)}/credentials/${kind}`;
  const refresh = async (isForced: boolean) => {
    await post(`${path}/refresh`, isForced ? { force: true } : {});
    onDone();
  };
  const forced = app.forced_refreshes_today;
  const left = Math.max(0, (forced?.limit ?? 0) - (forced?.calls ?? 0));
  const isToken = kind.endsWith("access_token");
  const isPushed = /verify_ticket|suite_ticket/.test(kind);
  const canForce = app.mode === "stable" && isToken;
  const force = () =>
    ask(() => ({
      title: w.forceAsk,
      action: w.forceNow,
      hint: w.forceHint(number(left)),
      onConfirm: () => refresh(true),
    }));
  const clear = () =>
    ask(() => ({
      title: w.clearAsk(kind),
      action: w.clear,
      hint: w.clearHint,
      onConfirm: async () => {
        await remove(path);
        onDone();
      },
    }));
  return (
    <div class="row">
      {hasValue && !isPushed && may(isToken ? "token:read" : "ticket:read", app.app) && (
        <Reveal path={path} />
      )}
      {may("token:refresh", app.app) && app.state !== "disabled" && !isPushed && (
        <>
          <Button
            isSmall
            icon="refresh"
            onClick={async () =>
              void (await attempt(
                () => refresh(false),
                () => w.refreshed(kind),
              ))
            }
          >
            {w.refresh}
          </Button>
          {canForce && (
            <Button isSmall isDisabled={left === 0} title={w.forceTitle} onClick={force}>
              {w.force(number(left))}
            </Button>
          )}
        </>
      )}
      {hasValue && may("token:clear", app.app) && (
        <Button isSmall icon="trash" label={w.clear} onClick={clear} />
      )}
    </div>
  );
}

/** Shows the value on a click, for half a minute; the service counts it as a use by whoever is signed in. */
function Reveal({ path }: { readonly path: string }) {
  const [value, setValue] = useState<string | undefined>(undefined);
  useEffect(() => {
    if (value === undefined) return undefined;
    const timer = setTimeout(() => setValue(undefined), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [value]);
  const show = async () => {
    await attempt(async () => setValue((await get<{ value: string }>(path)).value));
  };
  if (value === undefined)
    return (
      <Button isSmall icon="key" title={w.revealHint} onClick={show}>
        {w.reveal}
      </Button>
    );
  return (
    <span class="revealed">
      <Id text={value} label={w.copyValue} />
      <Button isSmall kind="quiet" icon="close" label={w.hide} onClick={() => setValue(undefined)} />
    </span>
  );
}
