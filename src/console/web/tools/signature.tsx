import { useEffect, useRef, useState } from "preact/hooks";
import type { DiagnosisData } from "../../../api/v1-diagnosis-schema.ts";
import { ApiError, post } from "../api.ts";
import { absolute, duration, now, number } from "../format.ts";
import { Button } from "../parts/button.tsx";
import { Code } from "../parts/code.tsx";
import { Id } from "../parts/copy.tsx";
import { SelectField, TextAreaField, TextField } from "../parts/field.tsx";
import { Icon } from "../parts/icons.tsx";
import { Facts, Page, Section } from "../parts/page.tsx";
import { Badge, type Tone } from "../parts/state-badge.tsx";
import { Banner, Empty, ErrorState } from "../parts/states.tsx";
import { route, setQuery } from "../router.ts";
import { AppField, useAppNames } from "./app-field.tsx";
import { Difference } from "./address-difference.tsx";
import { Explained } from "./explained.tsx";
import { ToolTabs } from "./tool-tabs.tsx";
import { w } from "./words.ts";

/** How long after the last key the service is asked: it answers ten times in a minute. */
const TYPED_MS = 1_000;
/** Less than this is nothing yet. */
const MIN_LENGTH = 8;

type Cause = DiagnosisData["causes"][number];
type CauseId = Cause["cause"];

/** What is looked at, in this order, and which causes belong to it. */
const STEPS = {
  app: ["other_app"],
  ticket: ["wrong_ticket", "old_ticket", "unknown_ticket", "no_match"],
  address: [
    ...["hash_included", "html_escaped", "encoding", "scheme", "url_form"],
    ...["added_parameters", "ios_landing_url", "other_page", "no_match"],
  ],
  fields: [
    ...["timestamp_form", "timestamp_type", "stale_timestamp", "nonce_name"],
    ...["signature_form", "string_form", "incomplete"],
  ],
  surroundings: ["url_domain", "agent_config_client", "permission_denied", "not_configured"],
} as const satisfies Record<string, readonly CauseId[] | readonly string[]>;
type Step = keyof typeof STEPS;

/** Finds out from anything that is pasted why a page's signature is refused. */
export function Signature() {
  const names = useAppNames("ticket:sign");
  const [text, setText] = useState("");
  const [more, setMore] = useState({ href: "", landing_url: "", platform: "" });
  const chosen = route.value.query.get("app");
  const app = chosen ?? appIn(text, names) ?? names[0] ?? "";
  const diagnosis = useDiagnosis(app, { text, ...more });
  return (
    <Page title={w.signature} subtitle={w.signatureHint}>
      <ToolTabs current="signature" />
      <div class="debugger">
        <form
          class="stack"
          onSubmit={(event) => {
            event.preventDefault();
            diagnosis.ask();
          }}
          onKeyDown={(event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) diagnosis.ask();
          }}
          onPaste={diagnosis.askSoon}
        >
          <AppField app={app} names={names} />
          <TextAreaField
            label={w.pasted}
            hint={w.pastedHint}
            rows={11}
            value={text}
            placeholder={w.pastedExample}
            onInput={setText}
          />
          <details>
            <summary>{w.sayMore}</summary>
            <div class="fields">
              <TextField
                label={w.href}
                hint={w.hrefHint}
                isMono
                value={more.href}
                onInput={(href) => setMore({ ...more, href })}
              />
              <TextField
                label={w.landing}
                hint={w.landingHint}
                isMono
                value={more.landing_url}
                onInput={(landing_url) => setMore({ ...more, landing_url })}
              />
              <SelectField
                label={w.platform}
                value={more.platform}
                options={[
                  ["", w.unknown],
                  ["ios", "iOS"],
                  ["android", "Android"],
                ]}
                onInput={(platform) => setMore({ ...more, platform })}
              />
            </div>
          </details>
          <div class="row">
            <Button type="submit" kind="primary" icon="search" isDisabled={app === ""}>
              {w.diagnose}
            </Button>
            {text === "" && <Button onClick={() => setText(exampleOf(app))}>{w.example}</Button>}
            {text !== "" && (
              <Button kind="quiet" onClick={() => setText("")}>
                {w.clear}
              </Button>
            )}
          </div>
        </form>
        <div class="stack" aria-live="polite" aria-busy={diagnosis.isAsking}>
          {diagnosis.limitedMs > 0 && <Banner tone="warn">{w.limited(duration(diagnosis.limitedMs))}</Banner>}
          {diagnosis.error && <ErrorState error={diagnosis.error} onRetry={diagnosis.ask} />}
          {diagnosis.data && <Result data={diagnosis.data} names={names} />}
          {!diagnosis.data && !diagnosis.error && <Empty icon="search" title={w.start} hint={w.startHint} />}
        </div>
      </div>
    </Page>
  );
}

/** Asks a second after the last change, at once on demand, and again by itself when there were too many. */
function useDiagnosis(app: string, given: Readonly<Record<string, string>>) {
  const [state, setState] = useState<{ data?: DiagnosisData; error?: ApiError; retryAt?: number }>({});
  const [isAsking, setIsAsking] = useState(false);
  const last = useRef(0);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const body = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== ""));
  const isEnough = app !== "" && Object.values(body).join("").length >= MIN_LENGTH;
  const later = (ms: number) => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => ask.current(), ms);
  };
  const ask = useRef(() => undefined as void);
  ask.current = () => {
    clearTimeout(timer.current);
    if (!isEnough) return;
    const mine = ++last.current;
    setIsAsking(true);
    post<DiagnosisData>(`/v1/apps/${encodeURIComponent(app)}/signatures/diagnose`, body)
      .then((data) => mine === last.current && setState({ data }))
      .catch((error: unknown) => {
        if (mine !== last.current || !(error instanceof ApiError)) return;
        const waitMs = (error.retryAfter ?? 0) * 1_000;
        if (error.status !== 429 || waitMs === 0) return setState({ error });
        setState((before) => ({ ...before, retryAt: now.peek() + waitMs }));
        later(waitMs);
      })
      .finally(() => mine === last.current && setIsAsking(false));
  };
  const key = JSON.stringify([app, body]);
  useEffect(() => {
    if (isEnough) later(TYPED_MS);
    else {
      last.current += 1;
      setState({});
      setIsAsking(false);
    }
    return () => clearTimeout(timer.current);
  }, [key]);
  return {
    ...{ data: state.data, error: state.error, isAsking },
    limitedMs: Math.max(0, (state.retryAt ?? 0) - now.value),
    ask: () => ask.current(),
    // The text is in the field only after the event.
    askSoon: () => setTimeout(() => ask.current(), 50),
  };
}

function Result({ data, names }: { readonly data: DiagnosisData; readonly names: readonly string[] }) {
  const { causes, match, tried, url, string, signature, config, timestamp, nonce_str } = data;
  const isProved = causes.some(({ certainty }) => certainty === "found");
  const isRight = causes.some(({ cause }) => cause === "correct");
  const headline = isRight ? w.isRight : isProved ? w.isFound : w.isOpen;
  return (
    <>
      <section class={`verdict ${isRight ? "ok" : isProved ? "bad" : "warn"}`}>
        <Icon name={isRight ? "check" : isProved ? "alert" : "info"} />
        <div>
          <h2>{headline}</h2>
          <p>
            {tried.signatures > 0
              ? w.tried(number(tried.signatures), number(tried.urls), number(tried.tickets))
              : w.notTried}
          </p>
        </div>
      </section>
      <ol class="steps">
        {(Object.keys(STEPS) as Step[]).map((step) => (
          <StepMark key={step} step={step} data={data} />
        ))}
      </ol>
      {groupsOf(causes).map((group) => (
        <CauseCard key={group[0].cause} causes={group} names={names} />
      ))}
      {match && !isRight && (
        <Section title={w.signed}>
          <Facts
            items={[
              [w.app, match.app],
              ["ticket", `${match.ticket}${match.previous ? ` · ${w.replaced}` : ""}`],
              [w.string, <code key="string">{match.string}</code>],
            ]}
          />
        </Section>
      )}
      {url !== undefined && config !== undefined && (
        <Section title={w.right}>
          <div class="stack">
            <Code label={data.call === "config" ? "wx.config" : "wx.agentConfig"} text={config} />
            <Code label={w.string} text={string ?? ""} />
            <Facts
              items={[
                ["url", <Id key="url" text={url} />],
                ["signature", <Id key="signature" text={signature ?? ""} />],
                ["timestamp · noncestr", <code key="rest">{`${timestamp} · ${nonce_str}`}</code>],
              ]}
            />
          </div>
        </Section>
      )}
      <Read data={data} />
    </>
  );
}

/** How one of the steps went: by its causes, or by what was there to look at. */
function StepMark({ step, data }: { readonly step: Step; readonly data: DiagnosisData }) {
  const { causes, match, read } = data;
  const ids: readonly string[] = STEPS[step];
  const mine = causes.filter(({ cause }) => ids.includes(cause));
  const isComplete =
    read.signature !== undefined && read.timestamp !== undefined && read.nonce_str !== undefined;
  const isSeen = {
    app: read.app_id !== undefined || match !== undefined,
    ticket: match !== undefined,
    address: match !== undefined || (read.url !== undefined && read.href !== undefined),
    fields: isComplete,
    surroundings: false,
  }[step];
  const isBad = mine.some(({ certainty }) => certainty === "found");
  const tone: Tone = isBad ? "bad" : mine.length > 0 ? "warn" : isSeen ? "ok" : "idle";
  const icon = { bad: "close", warn: "alert", ok: "check", idle: "circle", info: "info" } as const;
  const said = { bad: w.wrong, warn: w.toCheck, ok: w.fine, idle: w.unseen, info: "" };
  return (
    <li class={tone}>
      <Icon name={icon[tone]} />
      <span>{w[step]}</span>
      <span class="muted">{said[tone]}</span>
    </li>
  );
}

/** Causes that the same values show, together. */
function groupsOf(causes: readonly Cause[]): [Cause, ...Cause[]][] {
  const groups: [Cause, ...Cause[]][] = [];
  for (const cause of causes) {
    const same = groups.find(([{ found, expected, certainty }]) => {
      const isSame = found === cause.found && expected === cause.expected;
      return isSame && found !== undefined && expected !== undefined && certainty === cause.certainty;
    });
    if (same) same.push(cause);
    else groups.push([cause]);
  }
  return groups;
}

function CauseCard(props: {
  readonly causes: readonly [Cause, ...Cause[]];
  readonly names: readonly string[];
}) {
  const [first] = props.causes;
  const { certainty, found, expected } = first;
  const isRight = first.cause === "correct";
  const tone: Tone = isRight ? "ok" : certainty === "found" ? "bad" : "warn";
  const other = first.cause === "other_app" ? appIn(found ?? "", props.names) : undefined;
  return (
    <section class="cause framed">
      {found !== undefined && expected !== undefined && <Difference found={found} expected={expected} />}
      {props.causes.map(({ cause, message, fix }, n) => (
        <Explained
          key={cause}
          message={message}
          fix={fix}
          detail={n === 0 && expected === undefined ? found : undefined}
          mark={
            n === 0 && (
              <Badge tone={tone} icon={isRight ? "check" : certainty === "found" ? "alert" : "info"}>
                {isRight ? w.fine : certainty === "found" ? w.proved : w.toCheck}
              </Badge>
            )
          }
        />
      ))}
      {other !== undefined && (
        <Button isSmall onClick={() => setQuery({ app: other })}>
          {w.tryApp(other)}
        </Button>
      )}
    </section>
  );
}

/** What was read of the paste: what is missing can then be added. */
function Read({ data: { read } }: { readonly data: DiagnosisData }) {
  const fields = [
    "url",
    "href",
    "landing_url",
    "app_id",
    "timestamp",
    "nonce_str",
    "signature",
    "error",
  ] as const;
  const missing = fields.filter((name) => read[name] === undefined && name !== "landing_url");
  return (
    <Section title={w.read}>
      <Facts
        items={[
          ...fields.map(
            (name) =>
              [
                name,
                read[name] && (
                  <span key={name}>
                    <code>{read[name]}</code>
                    {name === "timestamp" && instantOf(read[name])}
                  </span>
                ),
              ] as const,
          ),
          [w.platform, read.platform === "ios" ? "iOS" : read.platform && "Android"],
        ]}
      />
      {missing.length > 0 && <p class="hint">{w.missing(missing.join(", "))}</p>}
    </Section>
  );
}

function instantOf(timestamp: string | undefined) {
  const seconds = /^\d{10}/.exec(timestamp ?? "")?.[0];
  return seconds && <span class="muted"> {absolute(Number(seconds) * 1_000)}</span>;
}

/** The app of ours that a text names by its AppID or CorpID. */
function appIn(text: string, names: readonly string[]): string | undefined {
  const ids = text.match(/\bw[a-z][0-9a-z]{6,}/gi) ?? [];
  return names.find((name) => ids.some((id) => name === id || name.startsWith(`${id}_`)));
}

/** A page with a mistake that is often made. */
function exampleOf(app: string): string {
  const id = app.split("_")[0];
  return [
    `wx.config({ appId: "${id}", timestamp: ${Math.floor(now.peek() / 1000)}, noncestr: "Wm3WZYTPz0wzccnW",`,
    `  signature: "0f9de62fce790f9a083d5c99e95740ceb90c27ed", jsApiList: ["chooseImage"] });`,
    "url: https://shop.example.com/cart?id=1&amp;tab=2",
    "location.href: https://shop.example.com/cart?id=1&tab=2&from=singlemessage",
    "config:fail, invalid signature",
  ].join("\n");
}
