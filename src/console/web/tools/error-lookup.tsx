import { useRef, useState } from "preact/hooks";
import type { CallAnswer } from "../../../api/v1-call-schema.ts";
import type { Explanation } from "../../../api/v1-errors-schema.ts";
import { ApiError, post } from "../api.ts";
import { duration, number, percent } from "../format.ts";
import { Button } from "../parts/button.tsx";
import { Code } from "../parts/code.tsx";
import { Id } from "../parts/copy.tsx";
import { FormError, useSubmit } from "../parts/dialog.tsx";
import { TextAreaField, TextField } from "../parts/field.tsx";
import { Facts, Page, Section } from "../parts/page.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { Empty } from "../parts/states.tsx";
import { Time } from "../parts/time.tsx";
import { route } from "../router.ts";
import { may } from "../session.ts";
import { AppField, useAppNames } from "./app-field.tsx";
import { Explained } from "./explained.tsx";
import { ToolTabs } from "./tool-tabs.tsx";
import { w } from "./words.ts";

/** What an error of WeChat's means, what WeChat keeps of the request, and what is left of an interface's quota. */
export function ErrorLookup() {
  const names = useAppNames("api:call");
  const app = route.value.query.get("app") ?? names.find((name) => name.startsWith("wx")) ?? names[0] ?? "";
  const [text, setText] = useState("");
  const [answer, setAnswer] = useState<Explanation>();
  const last = useRef(0);
  const explain = async (pasted: string, about?: string) => {
    const mine = ++last.current;
    const body = { text: pasted, ...(about === undefined ? {} : { app: about }) };
    const explained = await post<Explanation>("/v1/errors/explain", body);
    // What was typed since has an answer of its own.
    if (mine === last.current) setAnswer(explained);
  };
  const { submit, error } = useSubmit(() => explain(text));
  const asked = useSubmit(() => explain(text, app));
  const lookUp = (pasted: string) => {
    setText(pasted);
    last.current += 1;
    setAnswer(undefined);
    // At once: nobody but this service is asked.
    if (/\d{2}/.test(pasted)) void explain(pasted).catch(() => undefined);
  };
  return (
    <Page title={w.rid} subtitle={w.ridHint}>
      <ToolTabs current="rid" />
      <div class="debugger">
        <div class="stack">
          <form onSubmit={submit}>
            <AppField app={app} names={names} />
            <TextAreaField
              label={w.error}
              hint={w.errorHint}
              rows={5}
              value={text}
              placeholder={`{"errcode":40164,"errmsg":"invalid ip … rid: 6aac005a-01bfdbee-79769285"}`}
              onInput={lookUp}
            />
            <div class="row">
              <Button type="submit" kind="primary" icon="search" isDisabled={text.trim() === ""}>
                {w.lookUp}
              </Button>
              {answer?.rid !== undefined && (
                <Button isDisabled={asked.isBusy || !may("api:call", app)} onClick={asked.submit}>
                  {w.askWechat}
                </Button>
              )}
            </div>
            <FormError error={error ?? asked.error} />
          </form>
          <Quota app={app} />
        </div>
        <div class="stack" aria-live="polite">
          {answer ? (
            <Answer answer={answer} />
          ) : (
            <Empty icon="search" title={w.ridStart} hint={w.ridStartHint} />
          )}
        </div>
      </div>
    </Page>
  );
}

function Answer({ answer: { errors, unknown, rid, request } }: { readonly answer: Explanation }) {
  return (
    <>
      {errors.map(({ errcode, platform, errmsg, message, fix }) => (
        <section key={`${platform} ${errcode}`} class="cause framed">
          <Explained
            code={errcode}
            message={message}
            detail={errmsg}
            fix={fix}
            mark={<Badge tone="idle">{platform === "weixin" ? w.weixin : w.wecom}</Badge>}
          />
        </section>
      ))}
      {unknown.length > 0 && <p>{w.unknownErrcodes(unknown.join(", "))}</p>}
      {rid !== undefined && (
        <Section title={w.request}>
          {request ? (
            <div class="stack">
              <Facts
                items={[
                  ["rid", <Id key="rid" text={rid} />],
                  [w.when, <Time key="when" at={request.invoked_at} />],
                  [w.took, duration(request.duration_ms)],
                  [w.from, request.client_ip],
                  ["URL", <code key="url">{request.url}</code>],
                ]}
              />
              {request.request_body !== "" && <Code label={w.body} text={request.request_body} />}
              <Code label={w.answer} text={pretty(request.response_body)} />
            </div>
          ) : (
            <Facts
              items={[
                ["rid", <Id key="rid" text={rid} />],
                [
                  "",
                  <span key="hint" class="muted">
                    {w.notAsked}
                  </span>,
                ],
              ]}
            />
          )}
        </Section>
      )}
    </>
  );
}

/** What is left of an interface's calls today, by WeChat's own count. */
function Quota({ app }: { readonly app: string }) {
  const [path, setPath] = useState("/cgi-bin/message/template/send");
  const [quota, setQuota] = useState<{ daily_limit: number; used: number; remain: number }>();
  const { submit, error, isBusy } = useSubmit(async () => {
    setQuota(undefined);
    const { body } = await post<CallAnswer>(`/v1/apps/${encodeURIComponent(app)}/call`, {
      ...{ method: "POST", path: "/cgi-bin/openapi/quota/get", confirm: app },
      body: JSON.stringify({ cgi_path: path.trim() }),
    });
    const said = JSON.parse(body ?? "{}") as {
      errcode?: number;
      errmsg?: string;
      quota?: { daily_limit: number; used: number; remain: number };
    };
    const { errcode = 0, errmsg = "" } = said;
    if (!said.quota)
      throw new ApiError(`${errcode} ${errmsg}`, 200, errcode, undefined, undefined, undefined);
    setQuota(said.quota);
  });
  const fraction = quota && quota.daily_limit > 0 ? quota.used / quota.daily_limit : 0;
  const tone = fraction >= 0.95 ? "bad" : fraction >= 0.8 ? "warn" : "ok";
  return (
    <Section title={w.quota}>
      <form onSubmit={submit}>
        <TextField label={w.path} hint={w.pathHint} isMono value={path} onInput={setPath} />
        <div class="row">
          <Button
            type="submit"
            isDisabled={isBusy || app === "" || path.trim() === "" || !may("api:call", app)}
          >
            {w.showQuota}
          </Button>
        </div>
        <FormError error={error} />
        {quota && (
          <div class="quota">
            <span class="life-track">
              <span class={`life-fill ${tone}`} style={{ width: `${Math.min(100, 100 * fraction)}%` }} />
            </span>
            <span>{w.used(number(quota.used), number(quota.daily_limit), percent(fraction))}</span>
          </div>
        )}
      </form>
    </Section>
  );
}

function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), undefined, 2);
  } catch {
    return text;
  }
}
