import type { ComponentChildren } from "preact";
import type { ApiError } from "../api.ts";
import { duration } from "../format.ts";
import { halfOf } from "../language.ts";
import type { Resource } from "../resource.ts";
import { me } from "../session.ts";
import { Button } from "./button.tsx";
import { Id } from "./copy.tsx";
import { Icon, type IconName } from "./icons.tsx";
import { common as w } from "./words.ts";

/** Nothing to show, and what to do first: `<Empty title={w.noApps} hint={w.addFirst} action={<Button …/>} />`. */
export function Empty(props: {
  readonly title: string;
  readonly hint?: ComponentChildren;
  readonly icon?: IconName;
  readonly action?: ComponentChildren;
}) {
  return (
    <div class="empty">
      <Icon name={props.icon ?? "circle"} />
      <h2>{props.title}</h2>
      {props.hint && <p>{props.hint}</p>}
      {props.action}
    </div>
  );
}

/** A failure in the place of what should be shown: what it is, its trace id, and a way to try again. */
export function ErrorState({ error, onRetry }: { readonly error: ApiError; readonly onRetry?: () => void }) {
  if (error.status === 403) {
    return <Empty icon="ban" title={w.forbidden} hint={w.forbiddenHint(me.value?.client ?? "")} />;
  }
  const isOffline = error.status === 0;
  return (
    <div class="empty" role="alert">
      <Icon name="alert" />
      <h2>{isOffline ? w.offline : w.wentWrong}</h2>
      <p>{isOffline ? w.offlineHint : halfOf(error.message)}</p>
      {error.hint !== undefined && <p>{halfOf(error.hint)}</p>}
      {error.retryAfter !== undefined && <p>{w.retryIn(duration(error.retryAfter * 1000))}</p>}
      {error.traceId !== undefined && (
        <p class="muted">
          {w.traceId} <Id text={error.traceId} />
        </p>
      )}
      {onRetry && (
        <Button icon="refresh" onClick={onRetry}>
          {w.retry}
        </Button>
      )}
    </div>
  );
}

/** Grey lines in the place of what is on its way, `rows` of 36 px, so that nothing jumps. */
export function Skeleton({ rows = 8 }: { readonly rows?: number }) {
  return (
    <div class="skeleton" role="status" aria-label={w.loading}>
      {Array.from({ length: rows }, (_, n) => (
        <span key={n} />
      ))}
    </div>
  );
}

/** A message above what is shown. */
export function Banner(props: {
  readonly tone: "info" | "warn" | "bad";
  readonly children: ComponentChildren;
  readonly action?: ComponentChildren;
}) {
  return (
    <div class={`banner ${props.tone}`} role="status">
      <Icon name={props.tone === "info" ? "info" : "alert"} />
      <div>{props.children}</div>
      {props.action}
    </div>
  );
}

/**
 * A resource in whichever state it is: a skeleton before the first answer, the error where there is none, else
 * `children(data)`, below a banner while the last update has failed.
 */
export function Loaded<T>(props: {
  readonly resource: Resource<T>;
  readonly skeleton?: ComponentChildren;
  readonly children: (data: T) => ComponentChildren;
}) {
  const { data, error, reload } = props.resource;
  if (data === undefined) {
    return error ? <ErrorState error={error} onRetry={reload} /> : <>{props.skeleton ?? <Skeleton />}</>;
  }
  return (
    <>
      {error && (
        <Banner
          tone="warn"
          action={
            <Button isSmall onClick={reload}>
              {w.retry}
            </Button>
          }
        >
          {w.stale}
        </Banner>
      )}
      {props.children(data)}
    </>
  );
}
