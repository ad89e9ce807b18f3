import { useEffect, useRef, useState } from "preact/hooks";
import type { ApiPreset } from "../../../access/api-policy.ts";
import type { CallAnswer } from "../../../api/v1-clients-schema.ts";
import { post } from "../api.ts";
import { halfOf } from "../language.ts";
import { SelectField, TextField } from "../parts/field.tsx";
import { Section } from "../parts/page.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { errorText } from "../parts/toast.tsx";
import { route, setQuery } from "../router.ts";
import { AppField, LinesField } from "./choices.tsx";
import type { Edited } from "./draft.ts";
import { ANY_APP } from "./grants.ts";
import { presetWords, w } from "./words.ts";

const PRESETS = Object.keys(presetWords) as ApiPreset[];
/** To begin with; any other may be typed. */
const PATHS = [
  "/cgi-bin/message/mass/send",
  "/cgi-bin/message/custom/send",
  "/cgi-bin/message/template/send",
  "/cgi-bin/user/info",
  "/cgi-bin/user/get",
  "/cgi-bin/menu/create",
  "/cgi-bin/menu/delete",
  "/cgi-bin/media/upload",
  "/cgi-bin/token",
  "/wxa/getwxacodeunlimit",
  "/wxa/msg_sec_check",
];

/** What a client may call through the gateway, and a tester of it. */
export function Policy({ edited }: { readonly edited: Edited }) {
  const { client, set } = edited;
  const { preset, allow, deny, test_openids: openids = [] } = client.policy;
  const change = (more: {
    preset?: string;
    allow?: readonly string[];
    deny?: readonly string[];
    openids?: readonly string[];
  }) => {
    const wanted = { preset, allow, deny, openids, ...more };
    const users = wanted.openids.length > 0 ? { test_openids: [...wanted.openids] } : {};
    const lists = { allow: [...wanted.allow], deny: [...wanted.deny] };
    set({ policy: { preset: wanted.preset as ApiPreset, ...lists, ...users } });
  };
  return (
    <div class="columns">
      <Section title={w.policy}>
        <div class="fields">
          <SelectField
            label={w.preset}
            value={preset}
            options={PRESETS.map((each) => [each, presetWords[each]])}
            onInput={(value) => change({ preset: value })}
          />
          <LinesField
            label={w.allow}
            hint={w.patternsHint}
            placeholder="/wxa/msg_sec_check"
            value={allow}
            onInput={(lines) => change({ allow: lines })}
          />
          <LinesField
            label={w.deny}
            hint={w.patternsHint}
            placeholder="/cgi-bin/message/**"
            value={deny}
            onInput={(lines) => change({ deny: lines })}
          />
          <LinesField
            label={w.testOpenids}
            hint={w.testOpenidsHint}
            value={openids}
            onInput={(lines) => change({ openids: lines })}
          />
          <SelectField
            label={w.delivery}
            hint={w.deliveryHint}
            value={client.delivery}
            options={[
              ["virtual", w.virtual],
              ["real", w.real],
            ]}
            onInput={(value) => set({ delivery: value === "real" ? "real" : "virtual" })}
          />
        </div>
      </Section>
      <Tester edited={edited} />
    </div>
  );
}

const PAUSE_MS = 250;

/** Whether the client may make a call, as it would be with what is not saved yet. */
function Tester({ edited: { client, change, isChanged } }: { readonly edited: Edited }) {
  const { query } = route.value;
  const first = client.grants.flatMap(({ apps }) => apps).find((app) => app !== ANY_APP) ?? "";
  const app = query.get("app") ?? first;
  const method = query.get("method") === "GET" ? "GET" : "POST";
  const path = query.get("path") ?? "";
  const [answer, setAnswer] = useState<CallAnswer | undefined>(undefined);
  const [error, setError] = useState<unknown>(undefined);
  const last = useRef("");
  const asked = JSON.stringify({ app: app.trim(), method, path, ...(isChanged ? { change } : {}) });
  useEffect(() => {
    setError(undefined);
    if (app.trim() === "" || !path.startsWith("/")) return setAnswer(undefined);
    const mine = new AbortController();
    // Asked again as the client has changed: nobody needs to sit here.
    const isBackground = last.current === asked;
    last.current = asked;
    const ask = () =>
      post<CallAnswer>(`/v1/clients/${encodeURIComponent(client.client)}/check`, JSON.parse(asked), {
        ...{ signal: mine.signal, isBackground },
      }).then(setAnswer, (failure: unknown) => {
        if (mine.signal.aborted) return;
        setAnswer(undefined);
        setError(failure);
      });
    const timer = setTimeout(() => void ask(), PAUSE_MS);
    return () => {
      clearTimeout(timer);
      mine.abort();
    };
  }, [asked, client.version]);
  return (
    <Section title={w.tester}>
      <div class="fields">
        <p class="muted">{w.testerHint}</p>
        <AppField label={w.app} value={app} onInput={(value) => setQuery({ app: value })} />
        <SelectField
          label={w.method}
          value={method}
          options={["POST", "GET"].map((each) => [each, each])}
          onInput={(value) => setQuery({ method: value === "POST" ? undefined : value })}
        />
        <TextField
          label={w.path}
          value={path}
          placeholder="/cgi-bin/message/mass/send"
          choices={PATHS}
          isMono
          onInput={(value) => setQuery({ path: pathIn(value) })}
        />
        <div role="status" class="tester">
          {error !== undefined && <p class="bad-text">{errorText(error)}</p>}
          {answer && <Verdict answer={answer} isDraft={isChanged} />}
          {answer && client.delivery === "real" && <p class="muted">{w.realTokens}</p>}
        </div>
      </div>
    </Section>
  );
}

function Verdict({ answer, isDraft }: { readonly answer: CallAnswer; readonly isDraft: boolean }) {
  const { allowed, action, answered_by: by, recipients, family, reason, hint } = answer;
  const facts = allowed
    ? [
        by === "service" ? w.byService : w.byUpstream,
        action && w.byAction(action),
        recipients && w.recipients(recipients.join(", ")),
        by === "upstream" && w.counted(family),
      ]
    : [reason && halfOf(reason), hint && halfOf(hint)];
  return (
    <>
      <p class="row">
        <Badge tone={allowed ? "ok" : "bad"} icon={allowed ? "check" : "ban"}>
          {allowed ? w.allowed : w.refused}
        </Badge>
        {isDraft && <span class="muted">{w.withDraft}</span>}
      </p>
      <p>{facts.filter(Boolean).join(" · ")}</p>
    </>
  );
}

/** The path in what was pasted: a token in its query is not kept. */
function pathIn(text: string): string {
  const [path = ""] = text.trim().split(/[?#]/);
  return path.replace(/^https?:\/\/[^/]*/, "");
}
