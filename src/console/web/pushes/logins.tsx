import { useState } from "preact/hooks";
import type { RedirectOriginsData, VerifyFilesData } from "../../../api/v1-oauth-schema.ts";
import { put, remove } from "../api.ts";
import { Button } from "../parts/button.tsx";
import { Code } from "../parts/code.tsx";
import { Id } from "../parts/copy.tsx";
import { ConfirmDialog, FormDialog } from "../parts/dialog.tsx";
import { TextAreaField, TextField } from "../parts/field.tsx";
import { Facts, Section } from "../parts/page.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { Empty, Loaded } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { useResource } from "../resource.ts";
import { may, me } from "../session.ts";
import { ifMatch } from "./reception.tsx";
import { w } from "./words.ts";

type Owner = RedirectOriginsData["environments"][number];
const FILES = "/v1/verify-files";

/** Where an app's web logins may return to, and the link with which each environment begins one. */
export function Logins({ app }: { readonly app: string }) {
  const path = `/v1/apps/${encodeURIComponent(app)}/redirect-origins`;
  const origins = useResource<RedirectOriginsData>(path, { topics: ["environment", "app"] });
  const [edited, setEdited] = useState<Owner | "new" | undefined>(undefined);
  const add = (
    <Button icon="plus" onClick={() => setEdited("new")}>
      {w.addOrigins}
    </Button>
  );
  return (
    <>
      <Loaded resource={origins}>
        {({ return_url: returnUrl, environments }) => (
          <>
            <Section title={w.redirectOrigins} isBare actions={environments.length > 0 && add}>
              {environments.length === 0 ? (
                <Empty title={w.noOrigins} hint={w.noOriginsHint} action={add} />
              ) : (
                <Table
                  caption={w.redirectOrigins}
                  rows={environments}
                  keyOf={({ environment }) => environment}
                  columns={columns(setEdited)}
                />
              )}
            </Section>
            <Section title={w.loginLink}>
              <Facts
                items={[
                  [
                    w.loginDomain,
                    returnUrl === undefined ? (
                      <span class="bad-text">{w.noPublicUrl}</span>
                    ) : (
                      <Id text={new URL(returnUrl).host} />
                    ),
                  ],
                ]}
              />
              <p class="muted">{w.loginLinkHint}</p>
              {returnUrl !== undefined && (
                <Code
                  label={w.loginLink}
                  text={linkOf(app, new URL(returnUrl).origin, environments[0]?.redirect_origins[0])}
                />
              )}
            </Section>
          </>
        )}
      </Loaded>
      {(me.value?.is_admin || may("oauth:manage", "*")) && <VerifyFiles />}
      {edited && (
        <OriginsDialog
          path={path}
          owner={edited === "new" ? undefined : edited}
          reload={origins.reload}
          onClose={() => setEdited(undefined)}
        />
      )}
    </>
  );
}

function columns(edit: (owner: Owner) => void): Column<Owner>[] {
  return [
    { key: "environment", title: w.environment, cell: ({ environment }) => <strong>{environment}</strong> },
    {
      key: "origins",
      title: w.redirectOrigins,
      isFlexible: true,
      cell: (row) => (
        <ul class="plain">
          {row.redirect_origins.map((origin) => (
            <li key={origin}>
              <code>{origin}</code>
            </li>
          ))}
        </ul>
      ),
    },
    {
      key: "codes",
      title: w.codes,
      cell: ({ codes }) => (
        <Badge tone={codes === "raw" ? "info" : "idle"}>{codes === "raw" ? w.rawCodes : w.relayCodes}</Badge>
      ),
    },
    {
      key: "actions",
      title: "",
      isEnd: true,
      cell: (row) => (
        <Button isSmall onClick={() => edit(row)}>
          {w.edit}
        </Button>
      ),
    },
  ];
}

/** The link with which a page begins a login, as an environment writes it. */
function linkOf(app: string, origin: string, redirect = "https://dev.example.com"): string {
  const [id = "", agent] = app.split("_");
  const back = encodeURIComponent(`${redirect.replace("*", "www").replace(/\/$/, "")}/login`);
  // Of an account it is the component that has it.
  const component = agent?.startsWith("wx") ? `&component_appid=${agent}` : "";
  return agent === undefined || component !== ""
    ? `${origin}/connect/oauth2/authorize?appid=${id}&redirect_uri=${back}&response_type=code&scope=snsapi_base&state=STATE${component}#wechat_redirect`
    : `${origin}/wwlogin/sso/login?login_type=CorpApp&appid=${id}&agentid=${agent}&redirect_uri=${back}&state=STATE`;
}

function OriginsDialog(props: {
  readonly path: string;
  readonly owner: Owner | undefined;
  readonly reload: () => void;
  readonly onClose: () => void;
}) {
  const [owner] = useState(props.owner);
  const [environment, setEnvironment] = useState(owner?.environment ?? "");
  const [text, setText] = useState(owner?.redirect_origins.join("\n") ?? "");
  const save = async () => {
    const list = text.split(/\s+/).filter(Boolean);
    const path = `${props.path}/${encodeURIComponent(environment)}`;
    await put(path, { redirect_origins: list }, ifMatch(owner?.version));
    props.reload();
  };
  return (
    <FormDialog
      title={w.redirectOrigins}
      action={w.save}
      isDisabled={environment === ""}
      onClose={props.onClose}
      onSubmit={save}
    >
      {!owner && (
        <TextField
          label={w.environment}
          value={environment}
          onInput={setEnvironment}
          choices={["prod", "pre", "st", "dev"]}
          hasFocus
        />
      )}
      <TextAreaField
        label={w.redirectOrigins}
        hint={w.originsHint}
        value={text}
        onInput={setText}
        placeholder={"https://dev.example.com\nhttps://h5.example.com/app"}
      />
    </FormDialog>
  );
}

function VerifyFiles() {
  const files = useResource<VerifyFilesData>(FILES);
  const [isAdding, setIsAdding] = useState(false);
  const [removed, setRemoved] = useState<string | undefined>(undefined);
  const [name, setName] = useState("");
  const [content, setContent] = useState("");
  return (
    <Section
      title={w.verifyFiles}
      actions={
        <Button icon="plus" onClick={() => setIsAdding(true)}>
          {w.addFile}
        </Button>
      }
    >
      <p class="muted">{w.verifyFilesHint}</p>
      <Loaded resource={files} skeleton={<p class="muted">…</p>}>
        {({ verify_files: names }) => (
          <ul class="plain">
            {names.map((each) => (
              <li key={each} class="row">
                <code>{each}</code>
                <Button
                  isSmall
                  kind="quiet"
                  icon="trash"
                  label={w.removeOf(each)}
                  onClick={() => setRemoved(each)}
                />
              </li>
            ))}
          </ul>
        )}
      </Loaded>
      {isAdding && (
        <FormDialog
          title={w.addFile}
          action={w.save}
          isDisabled={name === "" || content === ""}
          onClose={() => setIsAdding(false)}
          onSubmit={async () => {
            await put(`${FILES}/${encodeURIComponent(name)}`, { content: content.trim() });
            files.reload();
          }}
        >
          <TextField
            label={w.fileName}
            value={name}
            onInput={setName}
            isMono
            hasFocus
            placeholder="MP_verify_a1B2c3D4e5F6g7H8.txt"
          />
          <TextField
            label={w.fileContent}
            hint={w.fileContentHint}
            value={content}
            onInput={setContent}
            isMono
          />
        </FormDialog>
      )}
      {removed !== undefined && (
        <ConfirmDialog
          title={w.removeOf(removed)}
          action={w.remove}
          onClose={() => setRemoved(undefined)}
          onConfirm={async () => {
            await remove(`${FILES}/${encodeURIComponent(removed)}`);
            files.reload();
          }}
        >
          <p>{w.removeFileHint}</p>
        </ConfirmDialog>
      )}
    </Section>
  );
}
