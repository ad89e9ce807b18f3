import { useState } from "preact/hooks";
import type { CallAnswer } from "../../../api/v1-call-schema.ts";
import { bytes, number } from "../format.ts";
import { Code } from "../parts/code.tsx";
import { Id } from "../parts/copy.tsx";
import { FilterChips } from "../parts/filter-chips.tsx";
import { Facts, Section } from "../parts/page.tsx";
import { Badge, type Tone } from "../parts/state-badge.tsx";
import { Banner } from "../parts/states.tsx";
import { Tree } from "./json-tree.tsx";
import { w } from "./words.ts";

/** What was called, as the command that does the same needs it. */
interface Called {
  readonly app: string;
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly body: string;
}

type View = "tree" | "text" | "headers" | "curl";

/** The whole answer to a call. */
export function Answer({ answer, call }: { readonly answer: CallAnswer; readonly call: Called }) {
  const [view, setView] = useState<View>("tree");
  const { status, headers, body, healing } = answer;
  const read = readJson(body);
  const { tone, word } = outcomeOf(status, errcodeOf(read));
  const views = (["tree", "text", "headers", "curl"] as const).filter((each) => each !== "tree" || read);
  const shown = views.includes(view) ? view : "text";
  return (
    <Section
      title={w.answer}
      actions={
        <Badge tone={tone} icon={tone === "ok" ? "check" : "alert"}>
          {word}
        </Badge>
      }
    >
      <Facts
        items={[
          [w.took, `${number(answer.duration_ms)} ms`],
          [w.healing, healing === "none" ? undefined : w[healing]],
          [w.size, bytes(answer.bytes)],
          [w.family, <code>{answer.family}</code>],
          [w.traceId, headers["trace-id"] && <Id text={headers["trace-id"]} />],
        ]}
      />
      {answer.truncated && <Banner tone="info">{w.truncated}</Banner>}
      <FilterChips
        label={w.view}
        value={shown}
        onChange={(value) => setView((value || shown) as View)}
        chips={views.map((value) => ({ value, title: w[value] }))}
      />
      {shown === "tree" && read && <Tree value={read.value} />}
      {shown === "text" && <Code label={w.text} text={body ?? w.noText(headers["content-type"] ?? "")} />}
      {shown === "headers" && (
        <Code
          label={w.headers}
          text={Object.entries(headers)
            .map(([name, value]) => `${name}: ${value}`)
            .join("\n")}
        />
      )}
      {shown === "curl" && <Code label="curl" text={curlOf(call)} />}
    </Section>
  );
}

function readJson(body: string | null): { readonly value: unknown } | undefined {
  try {
    return body === null ? undefined : { value: JSON.parse(body) as unknown };
  } catch {
    return undefined;
  }
}

function errcodeOf(read: { readonly value: unknown } | undefined): number {
  const value = read?.value;
  const code = typeof value === "object" && value !== null && "errcode" in value ? value.errcode : 0;
  return Number(code) || 0;
}

function outcomeOf(status: number, errcode: number): { readonly tone: Tone; readonly word: string } {
  if (errcode !== 0) return { tone: "bad", word: `errcode ${errcode}` };
  return { tone: status < 400 ? "ok" : "bad", word: `HTTP ${status}` };
}

/** The same call by hand, with a placeholder for the key. */
function curlOf({ app, method, path, query, body }: Called): string {
  const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
  const url = `${location.origin}/gateway/${app}${path}${query ? `?${query}` : ""}`;
  const lines = [`curl ${quoted(url)}`, '-H "Authorization: Bearer $ATS_KEY"'];
  if (method === "POST") lines.push("-H 'Content-Type: application/json'", `-d ${quoted(body)}`);
  return lines.join(" \\\n  ");
}
