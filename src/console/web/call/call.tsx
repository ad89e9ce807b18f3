import { useEffect, useState } from "preact/hooks";
import type { CallAnswer, CallPreview } from "../../../api/v1-call-schema.ts";
import { ApiError, post } from "../api.ts";
import { halfOf } from "../language.ts";
import { Button } from "../parts/button.tsx";
import { ask } from "../parts/dialog.tsx";
import { SelectField, TextAreaField, TextField, useInput } from "../parts/field.tsx";
import { Page } from "../parts/page.tsx";
import { Badge, type Tone } from "../parts/state-badge.tsx";
import { Banner, ErrorState } from "../parts/states.tsx";
import { useResource } from "../resource.ts";
import { href, route, setQuery } from "../router.ts";
import { me } from "../session.ts";
import { Answer } from "./answer.tsx";
import { lastCalls, noteCall } from "./last-calls.ts";
import { AppField, useAppNames } from "../tools/app-field.tsx";
import { ToolTabs } from "../tools/tool-tabs.tsx";
import { w } from "./words.ts";

const TONES: Record<CallPreview["effect"], Tone> = { reads: "ok", writes: "warn", messages: "bad" };
/** How long nothing must be typed until it is asked about. */
const PAUSE_MS = 250;

/** Calls WeChat through the gateway, and shows the whole answer: what is to be called stands in the address, but neither query nor body. */
export function GatewayCall() {
  const { query } = route.value;
  const given = (name: string) => query.get(name) ?? "";
  const [app, method, path] = [given("app"), given("method") || "GET", given("path")];
  const as = given("as");
  const names = useAppNames("api:call");
  useEffect(() => {
    if (app === "" && names[0] !== undefined) setQuery({ app: names[0] });
  }, [names[0]]);
  // It may have a user's code or phone number, so it is kept nowhere: not in the address, nor in the list of calls.
  const search = useInput("");
  const [body, setBody] = useState("");
  const [made, setMade] = useState<{ readonly answer?: CallAnswer; readonly error?: ApiError }>({});
  const [isBusy, setIsBusy] = useState(false);
  const { preview, refusal } = usePreview({ app, path, method, as });
  const fault = method === "POST" ? faultOf(body) : undefined;
  const isKnown = preview !== undefined && fault === undefined;
  const call = async (confirm?: string) => {
    setIsBusy(true);
    setMade({});
    const sent = {
      ...{ method, path },
      ...(search.value && { query: search.value }),
      ...(as && { as }),
      ...(method === "POST" ? { body } : {}),
      ...(confirm && { confirm }),
    };
    try {
      const answer = await post<CallAnswer>(`/v1/apps/${encodeURIComponent(app)}/call`, sent);
      setMade({ answer });
      noteCall({ app, method, path, as, status: answer.status, at: Date.now() });
    } catch (error) {
      if (error instanceof ApiError) setMade({ error });
    }
    setIsBusy(false);
  };
  const askFirst = ({ effect }: CallPreview) =>
    ask(() => ({
      title: w.confirmTitle,
      action: w.call,
      text: app,
      hint: (
        <>
          {effect === "messages" ? w.reachesUsers : w.mayChange}
          <br />
          <code>
            {method} {path}
          </code>
        </>
      ),
      onConfirm: () => call(app),
    }));
  const start = (event: Event) => {
    event.preventDefault();
    if (!isKnown || isBusy) return;
    if (preview.effect === "reads") void call();
    else askFirst(preview);
  };
  return (
    <Page title={w.title} subtitle={w.subtitle}>
      <ToolTabs current="call" />
      <div class="columns">
        <form class="fields framed" onSubmit={start} noValidate>
          <AppField app={app} names={names} />
          <div class="call-line">
            <SelectField
              label={w.method}
              value={method}
              onInput={(value) => setQuery({ method: value })}
              options={[
                ["GET", "GET"],
                ["POST", "POST"],
              ]}
            />
            <TextField
              label={w.path}
              isMono
              value={path}
              placeholder="/cgi-bin/user/get"
              onInput={(value) => setQuery({ path: value })}
              choices={preview?.known.map((known) => known.path) ?? []}
            />
          </div>
          {preview && <Verdict preview={preview} as={as} />}
          {refusal && <Refusal error={refusal} />}
          <TextField
            label={w.query}
            isOptional
            isMono
            {...search}
            placeholder="next_openid="
            hint={w.queryHint}
          />
          {method === "POST" && (
            <TextAreaField
              label={w.body}
              rows={8}
              value={body}
              error={fault && w.notJson(fault)}
              placeholder="{ }"
              onInput={setBody}
            />
          )}
          {me.value?.is_admin && <ClientField as={as} />}
          <div class="row">
            <Button type="submit" kind="primary" isDisabled={!isKnown || isBusy}>
              {isBusy ? w.calling : w.call}
            </Button>
            {method === "POST" && (
              <Button
                isDisabled={body.trim() === "" || fault !== undefined}
                onClick={() => setBody(pretty(body))}
              >
                {w.format}
              </Button>
            )}
          </div>
        </form>
        <div class="stack" aria-live="polite">
          {made.error && <Refusal error={made.error} />}
          {made.answer && (
            <Answer answer={made.answer} call={{ app, method, path, query: search.value, body }} />
          )}
          <LastCalls />
        </div>
      </div>
    </Page>
  );
}

function ClientField({ as }: { readonly as: string }) {
  const clients = useResource<{ readonly clients: readonly { readonly client: string }[] }>(
    "/v1/clients?limit=200",
  );
  return (
    <TextField
      label={w.as}
      isOptional
      hint={w.asHint}
      value={as}
      onInput={(value) => setQuery({ as: value })}
      choices={clients.data?.clients.map(({ client }) => client) ?? []}
    />
  );
}

/** What such a call would do, asked for once nothing is typed for a moment; nothing while that is not known. */
function usePreview(asked: Record<"app" | "path" | "method" | "as", string>): {
  readonly preview?: CallPreview | undefined;
  readonly refusal?: ApiError | undefined;
} {
  const { app, path, method, as } = asked;
  const isWhole = app !== "" && /^\/[\w.~/-]*$/.test(path);
  const search = new URLSearchParams({ path, method, ...(as && { as }) }).toString();
  const wanted = isWhole ? `/v1/apps/${encodeURIComponent(app)}/call?${search}` : undefined;
  const [settled, setSettled] = useState(wanted);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(wanted), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [wanted]);
  const { data, error, isStale } = useResource<CallPreview>(settled);
  if (settled !== wanted || wanted === undefined) return {};
  return error ? { refusal: error } : { preview: isStale ? undefined : data };
}

function Verdict({ preview, as }: { readonly preview: CallPreview; readonly as: string }) {
  const { effect, allowed, policy, reason } = preview;
  return (
    <div class="call-verdict">
      <div class="row">
        <Badge tone={TONES[effect]} icon={effect === "reads" ? "check" : "alert"}>
          {w[effect]}
        </Badge>
        <Badge tone={allowed ? "ok" : "bad"} icon={allowed ? "check" : "ban"}>
          {allowed ? w.allowed : w.notAllowed}
        </Badge>
        <span class="muted">{w.policyOf(as || (me.value?.client ?? ""), policy)}</span>
      </div>
      {reason !== undefined && <p class="muted small">{halfOf(reason)}</p>}
    </div>
  );
}

function Refusal({ error }: { readonly error: ApiError }) {
  if (error.status === 0 || error.status >= 500) return <ErrorState error={error} />;
  return (
    <Banner tone="bad">
      {halfOf(error.message)}
      {error.hint !== undefined && ` ${halfOf(error.hint)}`}
    </Banner>
  );
}

function LastCalls() {
  if (lastCalls.value.length === 0) return null;
  return (
    <section class="section framed">
      <header>
        <h2>{w.lastCalls}</h2>
      </header>
      <ul class="plain last-calls">
        {lastCalls.value.map(({ app, method, path, as, status, at }) => (
          <li key={at}>
            <a href={href("/tools/call", { app, method, path, as })}>
              <code>
                {method} {path}
              </code>
            </a>
            <span class="muted small">
              {app}
              {as && ` · ${as}`} · {status}
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Why a body is no JSON; undefined for one that is, and for an empty one. */
function faultOf(body: string): string | undefined {
  if (body.trim() === "") return undefined;
  try {
    JSON.parse(body);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : "";
  }
}

/** JSON with indents, numbers as they were: those that a double can't hold make it stay as it is. */
function pretty(body: string): string {
  const read: unknown = JSON.parse(body);
  return /\d{16}/.test(body) ? body : JSON.stringify(read, null, 2);
}
