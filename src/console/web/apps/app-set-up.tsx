import { useState } from "preact/hooks";
import { Code } from "../parts/code.tsx";
import { SelectField } from "../parts/field.tsx";
import { Section } from "../parts/page.tsx";
import type { AppStatus } from "./app-status.tsx";
import { forApp, SHARED_HOSTS, SNIPPETS } from "./snippets.ts";
import { w } from "./words.ts";

/** What a program needs to use this app, to copy: a key, the `.env` lines, and the lines of its SDK. */
export function AppSetUp({ app }: { readonly app: AppStatus }) {
  const { origin } = location;
  const own = SNIPPETS.filter(({ platform }) => platform === app.platform);
  const [sdk, setSdk] = useState(own[0]?.sdk ?? "");
  const chosen = own.find((snippet) => snippet.sdk === sdk);
  const [id, secret] =
    app.platform === "wecom" ? ["WECOM_CORPID", "WECOM_SECRET"] : ["WECHAT_APPID", "WECHAT_SECRET"];
  return (
    <div class="stack">
      <Section title={w.makeKey}>
        <Code
          label={w.shell}
          text={`accesstoken clients add my-program --environment dev --apps ${app.app} --actions token:read,ticket:read,login,api:call
accesstoken keys create my-program`}
        />
      </Section>
      <Section title={w.envLines}>
        <p class="muted">{w.envHint}</p>
        <Code
          label=".env"
          text={`WECHAT_API_BASE=${origin}
${id}=${app.app_id}
${secret}=ats_yourApiKey`}
        />
        <Code
          label="curl"
          text={`curl '${origin}/v1/apps/${app.app}/credentials/access_token' -H 'Authorization: Bearer ats_yourApiKey'`}
        />
      </Section>
      <Section title={w.sdkLines}>
        <SelectField
          label="SDK"
          value={sdk}
          onInput={setSdk}
          options={own.map((snippet) => [snippet.sdk, snippet.sdk])}
        />
        {chosen?.needsHosts && <Code label={w.hostsOnce} text={SHARED_HOSTS} />}
        {chosen && <Code label={chosen.sdk} text={forApp(chosen.text, app, origin)} />}
      </Section>
    </div>
  );
}
