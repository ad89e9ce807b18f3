import { useEffect, useState } from "preact/hooks";
import type { EntryData, VerdictData } from "../../../api/v1-audit-schema.ts";
import { ApiError, get } from "../api.ts";
import { number } from "../format.ts";
import { halfOf } from "../language.ts";
import { Button } from "../parts/button.tsx";
import { Code } from "../parts/code.tsx";
import { Dialog, FormError, useSubmit } from "../parts/dialog.tsx";
import { TextField } from "../parts/field.tsx";
import { Badge, type Tone } from "../parts/state-badge.tsx";
import { ErrorState, Skeleton } from "../parts/states.tsx";
import { navigate } from "../router.ts";
import { w } from "./words.ts";

/** How many entries behind the first that does not fit are shown with it. */
const NEIGHBOURS = 3;

/** Verifies the chain, and compares it with an anchor that was kept elsewhere. */
export function VerifyDialog({ onClose }: { readonly onClose: () => void }) {
  const [verdict, setVerdict] = useState<VerdictData | undefined>(undefined);
  const [error, setError] = useState<ApiError | undefined>(undefined);
  useEffect(() => {
    const mine = new AbortController();
    get<VerdictData>("/v1/audit/verify", { signal: mine.signal }).then(setVerdict, (failure: unknown) => {
      if (failure instanceof ApiError) setError(failure);
    });
    return () => mine.abort();
  }, []);
  return (
    <Dialog title={w.verify} onClose={onClose} isWide>
      <div class="fields">
        <p class="muted">{w.verifyHint}</p>
        {error && <ErrorState error={error} />}
        {!verdict && !error && <Verifying />}
        {verdict && <Result verdict={verdict} onClose={onClose} />}
      </div>
      <footer />
    </Dialog>
  );
}

function Verifying() {
  return (
    <>
      <p role="status">{w.verifying}</p>
      <Skeleton rows={3} />
    </>
  );
}

function Result(props: { readonly verdict: VerdictData; readonly onClose: () => void }) {
  const { intact, entries, fault, last } = props.verdict;
  const anchor = last && `${last.id} ${last.hash}`;
  const showNeighbours = () => {
    props.onClose();
    navigate("/audit", { after: (fault?.id ?? 0) + NEIGHBOURS + 1 });
  };
  return (
    <>
      <p class="row" role="status">
        <Badge tone={intact ? "ok" : "bad"} icon={intact ? "check" : "alert"}>
          {intact ? w.intact : w.broken}
        </Badge>
        {intact ? w.intactText(number(entries)) : w.brokenText(String(fault?.id))}
      </p>
      {fault && (
        <div class="row">
          <span class="bad-text">{halfOf(fault.message)}</span>
          <Button isSmall onClick={showNeighbours}>
            {w.neighbours}
          </Button>
        </div>
      )}
      {anchor && (
        <div>
          <Code label={w.anchor} text={anchor} />
          <p class="hint">{w.anchorHint}</p>
        </div>
      )}
      <Compare last={last?.id ?? 0} />
    </>
  );
}

type Comparison = readonly [tone: Tone, text: string];

/** Whether an entry that was noted earlier is still what it was. */
function Compare({ last }: { readonly last: number }) {
  const [text, setText] = useState("");
  const [found, setFound] = useState<Comparison | undefined>(undefined);
  const { submit, error, isBusy } = useSubmit(async () => setFound(await compare(text, last)));
  return (
    <form onSubmit={submit} noValidate>
      <TextField
        label={w.compare}
        hint={w.compareHint}
        value={text}
        isMono
        placeholder="1042 9c1e6f0f…"
        onInput={(value) => {
          setText(value);
          setFound(undefined);
        }}
      />
      <FormError error={error} />
      {found && (
        <p role="status">
          <Badge tone={found[0]} icon={found[0] === "ok" ? "check" : "alert"}>
            {found[1]}
          </Badge>
        </p>
      )}
      <div>
        <Button type="submit" isDisabled={isBusy || text.trim() === ""}>
          {w.compareAction}
        </Button>
      </div>
    </form>
  );
}

async function compare(text: string, last: number): Promise<Comparison> {
  const [, digits = "", hash = ""] = /^\s*(\d{1,15})\s+([0-9a-f]{64})\s*$/i.exec(text) ?? [];
  const id = Number(digits);
  if (id === 0) return ["warn", w.notAnchor];
  if (id > last) return ["bad", w.isAhead];
  const page = await get<{ entries: EntryData[] }>(`/v1/audit?before=${id + 1}&limit=1`);
  const [entry] = page.entries;
  if (entry?.id !== id) return ["warn", w.isGone];
  return entry.hash === hash.toLowerCase() ? ["ok", w.isThere] : ["bad", w.isOther];
}
